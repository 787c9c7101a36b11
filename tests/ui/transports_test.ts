// run: kernel-queues
/** The dashboard on every transport: what its page receives, and what it can change. */
import { assert, assertEquals } from "@std/assert";
import { afterAll, beforeAll, describe, it } from "@std/testing/bdd";
import { readFileSync } from "node:fs";
import process from "node:process";
import { Bus } from "../../mod.ts";
import type { Provider } from "../../src/provider/provider.ts";
import { aws } from "../../src/providers/aws/provider.ts";
import { ipc } from "../../src/providers/ipc/provider.ts";
import { memory } from "../../src/providers/memory/provider.ts";
import { redis } from "../../src/providers/redis/provider.ts";
import { type Dashboard, openDashboard } from "../../ui/mod.ts";
import type { Action, Frame, Job, Page, QueueRow, Row } from "../../ui/protocol.ts";
import { FauxqsServer } from "../support/fauxqs_server.ts";
import { share } from "../support/share.ts";
import { RedisServer } from "../support/redis_server.ts";
import { until } from "../support/until.ts";

/** Milliseconds between samples. */
const INTERVAL = 100;
/** The dead letters of a retry that takes some time. */
const LETTERS = 3_000;

/** A viewer without a browser. */
class Viewer implements AsyncDisposable {
  readonly frames: Frame[] = [];
  readonly tables = new Map<string, Map<string, Row>>();
  readonly #reader: ReadableStreamDefaultReader<string>;

  private constructor(stream: ReadableStream<Uint8Array<ArrayBuffer>>) {
    this.#reader = stream.pipeThrough(new TextDecoderStream()).getReader();
    void this.#read();
  }

  static async open(url: string): Promise<Viewer> {
    return new Viewer((await fetch(`${url}live`)).body!);
  }

  async #read(): Promise<void> {
    let rest = "";
    for (let part; !(part = await this.#reader.read()).done;) {
      const events = (rest + part.value).split("\n\n");
      rest = events.pop()!;
      for (const event of events) this.#take(JSON.parse(event.slice(event.indexOf("{"))) as Frame);
    }
  }

  #take(frame: Frame): void {
    this.frames.push(frame);
    if (frame.type === "hello") {
      for (const [name, rows] of Object.entries(frame.tables)) {
        this.tables.set(name, new Map((rows as Row[]).map((row) => [row.id, row])));
      }
    } else if (frame.type === "sample") {
      for (const [name, { set, removed }] of Object.entries(frame.changes)) {
        for (const id of removed) this.tables.get(name)!.delete(id);
        for (const row of set) this.tables.get(name)!.set(row.id, row);
      }
    }
  }

  /** Waits for a row whose fields include these. */
  async row(table: string, id: string, fields: Readonly<Record<string, unknown>>): Promise<void> {
    let row: Row | undefined;
    await until(`${table} has ${id} with ${JSON.stringify(fields)}`, () => {
      row = this.tables.get(table)?.get(id);
      return row && Object.entries(fields).every(([name, value]) => (row as unknown as typeof fields)[name] === value);
    }).catch((error) => {
      throw new Error(`${error.message}; it is ${JSON.stringify(row)}`);
    });
  }

  /** Waits until a job has ended. */
  async ended(title: string): Promise<Job> {
    const found = await until(
      `"${title}" ends`,
      () =>
        this.frames.find((frame) => frame.type === "job" && frame.job.title === title && frame.job.state !== "running"),
    );
    return (found as { job: Job }).job;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#reader.cancel();
  }
}

interface World {
  readonly provider: Provider;
  stop?(): Promise<void>;
}

const WORLDS: Readonly<Record<string, () => Promise<World>>> = {
  memory: () => Promise.resolve({ provider: memory() }),
  redis: async () => {
    const server = await RedisServer.start();
    return { provider: redis({ url: server.url }), stop: () => server.stop() };
  },
  aws: async () => {
    const { endpoint, stop } = await fauxqs();
    const credentials = { accessKeyId: "test", secretAccessKey: "test" };
    return { provider: aws({ endpoint, region: "us-east-1", credentials }), stop };
  },
  ...process.platform === "linux" ? { ipc: () => Promise.resolve({ provider: ipc() }) } : {},
};

async function fauxqs(): Promise<{ endpoint: string; stop(): Promise<void> }> {
  const server = await FauxqsServer.start();
  return { endpoint: server.endpoint, stop: () => server.stop() };
}

// the other tests of the dashboard run on Redis under both runtimes
for (const [name, start] of share(Object.entries(WORLDS))) {
  describe(`the dashboard on ${name}`, () => {
    const namespace = `ui-${crypto.randomUUID()}`;
    let world: World;
    let bus: Bus;
    let dashboard: Dashboard;
    beforeAll(async () => {
      world = await start();
      bus = await Bus.open(world.provider, { namespace });
      bus.addEventListener("error", () => {}); // handlers throw
      dashboard = await openDashboard(world.provider, { namespace, interval: INTERVAL });
    });
    afterAll(async () => {
      await dashboard?.close();
      for (const queue of ["jobs", "jobs.dead"]) await bus?.queue(queue).free();
      await bus?.close();
      await world?.stop?.();
    });

    // the kernel lists its queues in a file system that a container may lack
    const lists = name !== "ipc" || /^mqueue /m.test(readFileSync("/proc/mounts", "utf8"));
    async function read(what: "items" | "letters"): Promise<Page> {
      return await (await fetch(`${dashboard.url}${what}?queue=jobs&offset=0&limit=10`)).json();
    }
    async function act(action: Action): Promise<void> {
      assertEquals(
        (await fetch(`${dashboard.url}actions`, { method: "POST", body: JSON.stringify(action) })).status,
        202,
      );
    }

    it("shows what the namespace contains while it changes", async () => {
      await using viewer = await Viewer.open(dashboard.url);
      const jobs = bus.queue("jobs");
      for (const id of [1, 2]) await jobs.put({ id }, { headers: { tenant: "acme" } });
      if (lists) await viewer.row("queues", "jobs", { waiting: 2 });
      await bus.expose("price", () => 1);
      await bus.subscribe("orders", () => {}).ready;
      await until("events are seen, and their rate", async () => {
        await bus.publish({ id: 1 }, "orders");
        const { seen } = (viewer.tables.get("topics")?.get("topic orders") ?? {}) as { seen?: number };
        return seen && viewer.frames.some((frame) => frame.type === "sample" && frame.totals.events > 0);
      });
      await until(
        "the function has a server",
        () => (viewer.tables.get("functions")?.get("price") as { servers: string[] } | undefined)?.servers.length === 1,
      );
      const { items, unsupported } = await read("items");
      if (world.provider.features.peek) {
        assertEquals(items.map(({ text, headers }) => [text, headers.tenant]), [['{"id":1}', "acme"], [
          '{"id":2}',
          "acme",
        ]]);
      } else {
        assert(unsupported, "it says that the transport cannot show items");
      }
    });

    it("shows items in and out a second, and the duration of handlers", async () => {
      await using viewer = await Viewer.open(dashboard.url);
      const busy = bus.queue("busy");
      const consumer = busy.consume(() => new Promise((resolve) => setTimeout(resolve, 20)));
      const putting = setInterval(() => void busy.put(1).catch(() => {}), 50);
      try {
        // a sample of a slow transport need not have all of them
        const seen = new Set<string>();
        await until("they are sent", () => {
          const row = viewer.tables.get("queues")?.get("busy") as QueueRow | undefined;
          const totals = viewer.frames.findLast((frame) => frame.type === "sample")?.totals;
          if (row?.in && totals?.in) seen.add("in");
          if (row?.out && totals?.out) seen.add("out");
          if (row?.p50 && row.p50 > 15) seen.add("p50");
          return seen.size === 3;
        }, 60_000);
      } finally {
        clearInterval(putting);
        await consumer.close();
        await busy.free();
      }
    });

    it("retries one dead letter, then all with progress, and purges", async () => {
      await using viewer = await Viewer.open(dashboard.url);
      const jobs = bus.queue("jobs");
      const consumer = jobs.consume(() => {
        throw new Error("out of paper");
      }, { maxAttempts: 1 });
      await until("both are dead letters", async () => await jobs.dead.size() === 2);
      await consumer.close();
      if (lists) await viewer.row("queues", "jobs", { dead: 2 });
      const { items } = await read("letters");
      if (world.provider.features.peek) {
        assertEquals(items.map(({ text, cause }) => [text, cause?.message]), [
          ['{"id":1}', "out of paper"],
          ['{"id":2}', "out of paper"],
        ]);
        await act({ action: "retry", queue: "jobs", key: items[1]!.key });
        assertEquals((await viewer.ended("Retry a dead letter of jobs")).done, 1);
        assertEquals((await jobs.get({ timeout: 10_000 }) as { id: number }).id, 2);
      }
      await act({ action: "retry", queue: "jobs" });
      assertEquals((await viewer.ended("Retry dead letters of jobs")).done, world.provider.features.peek ? 1 : 2);
      await act({ action: "purge", queue: "jobs" });
      assertEquals((await viewer.ended("Purge jobs")).state, "done");
      await until("the queue is empty", async () => await jobs.empty());
    });
  });
}

describe("the dashboard", () => {
  it("shows the progress of long work, also to a viewer that comes later", async () => {
    await using server = await RedisServer.start();
    await using dashboard = await openDashboard(redis({ url: server.url }), { interval: INTERVAL });
    const cause = { name: "Error", message: "out of paper" };
    const letters = Array.from({ length: LETTERS }, (_, item) => {
      return JSON.stringify({ queue: "jobs", item, attempts: 1, cause });
    });
    await server.run("lpush", "__eventbus:global:jobs.dead", ...letters);
    await using viewer = await Viewer.open(dashboard.url);
    await viewer.row("queues", "jobs", { waiting: 0, dead: LETTERS });
    await fetch(`${dashboard.url}actions`, { method: "POST", body: '{"action":"retry","queue":"jobs"}' });
    const running = () =>
      viewer.frames.flatMap((frame) => frame.type === "job" && frame.job.state === "running" ? [frame.job] : []);
    await until("progress is shown", () => running().some(({ done, total }) => done > 0 && total === LETTERS));
    await using later = await Viewer.open(dashboard.url);
    await until("it is greeted", () => later.frames[0]);
    const [hello] = later.frames;
    assert(hello?.type === "hello" && hello.jobs.length === 1, JSON.stringify(hello));
    assertEquals((await viewer.ended("Retry dead letters of jobs")).done, LETTERS);
    await viewer.row("queues", "jobs", { waiting: LETTERS, dead: 0 });
  });
});
