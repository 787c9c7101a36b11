/** Runs a bus inside workers and child processes, each with its own module instance. */
import { assertEquals } from "@std/assert";
import { Bus, expose, init, queue, shutdown, stub } from "../../mod.ts";
import { here, Peer, there } from "../support/peer.ts";
import { itNeeds } from "../support/skip.ts";
import { missing } from "../support/tools.ts";
import { within } from "../support/until.ts";
import { fresh, type Ground } from "./grounds.ts";
import type { Place } from "./inside.ts";

/** Milliseconds: a worker inside a worker takes seconds to start on Deno. */
const PATIENCE = 30_000;

/** Returns the results of a bus in a worker that is nested `depth` levels deep. */
async function inWorker(place: Place): Promise<string[]> {
  const worker = new Worker(new URL("../support/workers/inside.ts", import.meta.url), { type: "module" });
  try {
    const { promise, resolve, reject } = Promise.withResolvers<string[]>();
    worker.onmessage = ({ data }) => {
      if (data === "listening") return worker.postMessage(place);
      if (data.error) reject(new Error(data.error));
      else resolve(data.seen);
    };
    return await within("the bus in the worker has lived", promise, PATIENCE);
  } finally {
    worker.terminate();
  }
}

async function inProcess(place: Place, runtime: "deno" | "bun"): Promise<string[]> {
  await using peer = Peer.start<string[]>(new URL("inside_peer.ts", import.meta.url), { runtime });
  const seen = await peer.ask(place, PATIENCE);
  peer.end();
  assertEquals(await peer.wait(), { code: 0, signal: null });
  return seen;
}

/** Runs while the default bus of this thread serves it, where they can meet. */
async function accompany(run: (accompanied: boolean) => Promise<string[]>, shared: boolean): Promise<string[]> {
  if (!shared) return await run(false);
  await expose("outside", (text: string) => `outside ${text}`);
  const running = run(true);
  running.catch(() => {});
  for (;;) {
    try {
      assertEquals(await stub("inside")("is called"), "inside is called");
      break;
    } catch (error) {
      if ((error as { code?: string }).code !== "no_such_remote") throw error; // it is not open yet
      await new Promise((resolve) => setTimeout(resolve, 20));
    }
  }
  await queue("done").put("done");
  return await running;
}

/** Tests a bus over this transport in all these places. */
export function nested({ name, it, server, provider }: Ground): void {
  const shared = name !== "memory";
  const place = (depth: number) => ({
    namespace: fresh(),
    url: { memory: () => undefined, redis: () => server().url, ipc: () => "ipc:" }[name](),
    depth,
    accompanied: false,
  });
  const alone = ["event true", "job", "inside calls itself"];
  const seen = shared ? [...alone, "outside is called"] : alone;

  for (const [where, depth] of [["a user's own worker", 0], ["a worker inside a worker", 1]] as const) {
    it(`lives inside ${where}`, async () => {
      assertEquals(await inWorker(place(depth)), alone);
    });

    it(`lives inside ${where} while this thread has its own`, async () => {
      const there = place(depth);
      await init(provider(), { namespace: there.namespace });
      try {
        assertEquals(await accompany((accompanied) => inWorker({ ...there, accompanied }), shared), seen);
      } finally {
        await shutdown();
      }
    });
  }

  for (const runtime of [here, there]) {
    const itRuns = runtime === here
      ? it
      : itNeeds(missing(runtime, ...name === "redis" ? ["redis-server" as const] : []));
    itRuns(`lives inside a child process on ${runtime === here ? "this" : "the other"} runtime`, async () => {
      assertEquals(await inProcess(place(0), runtime), alone);
    });

    itRuns(
      `lives inside a child process on ${runtime === here ? "this" : "the other"} runtime, beside its parent's`,
      async () => {
        const there = place(0);
        await init(provider(), { namespace: there.namespace });
        try {
          assertEquals(await accompany((accompanied) => inProcess({ ...there, accompanied }, runtime), shared), seen);
        } finally {
          await shutdown();
        }
      },
    );
  }

  it("works next to others of the same thread, in other namespaces and in its own", async () => {
    const { namespace } = place(0);
    const shared = provider();
    await using one = await Bus.open(shared, { namespace });
    await using two = await Bus.open(shared, { namespace });
    await using three = await Bus.open(shared, { namespace: fresh() });
    const got: string[] = [];
    await Promise.all(
      [one, two, three].map((bus, i) => bus.subscribe("t", (event) => got.push(`${i} ${event}`)).ready),
    );
    await one.expose("whose", () => "one's");
    assertEquals(await two.publish("x", "t"), 2);
    assertEquals(await two.stub("whose")(), "one's");
    assertEquals(await three.stub("whose", { multi: true })(), []);
    await two.queue("q").put(1);
    assertEquals([await three.queue("q").qsize(), await one.queue("q").get()], [0, 1]);
    await one.queue("q").free();
    await within(
      "both have it",
      (async () => {
        while (got.length < 2) await new Promise((resolve) => setTimeout(resolve, 5));
      })(),
    );
    assertEquals(got.sort(), ["0 x", "1 x"]);
    await two.close();
    assertEquals(await one.publish("y", "t"), 1);
  });
}
