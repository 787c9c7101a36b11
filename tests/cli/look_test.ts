// run: kernel-queues, deadline 400
/** The commands that inspect a namespace, and retry or remove its items, on each transport. */
import { assert, assertEquals, assertMatch } from "@std/assert";
import { afterAll, beforeAll, describe, it } from "@std/testing/bdd";
import process from "node:process";
import { fileURLToPath } from "node:url";
import { Bus, type Provider } from "../../mod.ts";
import { aws } from "../../src/providers/aws/provider.ts";
import { ipc } from "../../src/providers/ipc/provider.ts";
import { redis } from "../../src/providers/redis/provider.ts";
import { isPrintable } from "../../src/internal/printable.ts";
import { FauxqsServer } from "../support/fauxqs_server.ts";
import { runsHere } from "../support/share.ts";
import { RedisServer } from "../support/redis_server.ts";
import { until } from "../support/until.ts";
import { type Outcome, Running, tsmq } from "./run.ts";

/** A transport of these tests. */
interface Ground {
  readonly url: string;
  readonly provider: Provider;
  stop(): Promise<unknown>;
}

// the URL of the command has no credentials
Object.assign(process.env, {
  AWS_ACCESS_KEY_ID: "test",
  AWS_SECRET_ACCESS_KEY: "test",
  AWS_EC2_METADATA_DISABLED: "true",
});

const GROUNDS: Record<string, () => Promise<Ground>> = {
  redis: async () => {
    const server = await RedisServer.start();
    const { url } = server;
    return { url, provider: redis({ url }), stop: () => server.stop() };
  },
  aws: async () => {
    const server = await FauxqsServer.start();
    const { endpoint } = server;
    const credentials = { accessKeyId: "test", secretAccessKey: "test" };
    return {
      url: `aws:us-east-1?endpoint=${endpoint}`,
      provider: aws({ region: "us-east-1", endpoint, credentials, poll: 1_000 }),
      stop: () => server.stop(),
    };
  },
};
if (process.platform === "linux") {
  GROUNDS.ipc = () => Promise.resolve({ url: "ipc:", provider: ipc(), stop: () => Promise.resolve() });
}

const SERVED = fileURLToPath(new URL("served.ts", import.meta.url));
const HOSTILE = "\x1b]52;c;ZXZpbA==\x07\n\u202etsmq: done";

for (const [name, start] of Object.entries(GROUNDS)) {
  describe(`tsmq looks into ${name}`, () => {
    const namespace = `n${crypto.randomUUID().slice(0, 8)}`;
    let ground: Ground;
    let bus: Bus;
    beforeAll(async () => {
      ground = await start();
      bus = await Bus.open(ground.provider, { namespace });
      bus.addEventListener("error", () => {}); // the handlers of these tests throw
    });
    afterAll(async () => {
      await bus.queue("jobs").free();
      await bus.queue("jobs.dead").free();
      await bus.close();
      await ground.stop();
    });

    async function run(...args: string[]): Promise<Outcome> {
      const words = /^(dead|groups)$/.test(args[0]!) ? 2 : 1;
      const all = [...args.slice(0, words), ground.url, ...args.slice(words), "-n", namespace];
      const outcome = await tsmq(all);
      for (const line of [...outcome.lines, ...outcome.errors]) assert(isPrintable(line), line);
      return outcome;
    }

    /** Runs a command that must succeed, and parses its lines. */
    async function json(...args: string[]): Promise<Record<string, unknown>[]> {
      const { code, lines, errors } = await run(...args);
      assertEquals([code, errors], [0, []], args.join(" "));
      return lines.filter((line) => line.startsWith("{")).map((line) => JSON.parse(line));
    }

    it("queues, peek, dead and purge show, retry and remove items", async () => {
      const queue = bus.queue<unknown>("jobs");
      await queue.put({ bad: HOSTILE });
      await queue.put({ bad: 2 });
      const failing = queue.consume(() => {
        throw new RangeError(HOSTILE);
      }, { maxAttempts: 1, concurrency: 1 });
      await until("both are dead letters", async () => await queue.dead.size() === 2);
      await failing.close();
      for (const item of [1, 2, 3]) await queue.put(item);
      await until("all wait", async () => await queue.qsize() === 3);

      const counts = { name: "jobs", waiting: 3, leased: 0, delayed: 0, dead: 2 };
      const [listed, tables, dead, asks, asksToo] = await Promise.all([
        json("queues", "--json", "-i", "0"),
        run("queues", "-i", "50"),
        json("dead", "list", "--json"),
        run("purge", "jobs"),
        run("dead", "purge", "jobs"),
      ]);
      const [peeked, letters, shown] = await Promise.all([
        run("peek", "jobs", "-c", "1", "-o", "1"),
        run("dead", "list", "jobs"),
        ground.provider.features.peek ? undefined : run("dead", "show", "jobs", "1"),
      ]);
      assertEquals(listed, [counts]);
      assertMatch(
        tables.lines.join("\n"),
        /^QUEUE +WAITING +LEASED +DELAYED +DEAD +IN\/S +OUT\/S +P50 MS\njobs +3 +0 +0 +2 +0 +0 +-$/,
      );
      assertEquals(dead, [{ queue: "jobs", dead: 2 }]);
      assertEquals([asks.code, asksToo.code], [2, 2]); // without a terminal and --yes
      if (ground.provider.features.peek) {
        assertEquals(peeked.lines, ['{"attempt":1,"item":2}']);
        assertEquals(letters.lines.length, 3);
        assertMatch(letters.lines[1]!, /^ *1 +1 +RangeError: \\u001b\]52/);
        assertMatch(
          (await run("dead", "show", "jobs", "1")).lines.join("\n"),
          /^attempts +1\ncause +RangeError: .*\nitem\n\{\n +"bad": "\\u001b\]52/,
        );
        const [first] = await json("dead", "list", "jobs", "--json");
        assertEquals(first!.item, { bad: HOSTILE });
        assertEquals((await json("dead", "show", "jobs", "1", "--json"))[0], first);
        assertEquals((await run("dead", "show", "jobs", "9")).code, 2);
      } else {
        assertEquals([peeked.code, letters.code, shown?.code], [9, 9, 9]);
      }
      assertEquals(await json("dead", "retry", "jobs", "-c", "1"), [{ retried: 1 }]);
      assertEquals(await json("dead", "purge", "jobs", "--yes"), [{ purged: 1 }]);
      await until("the item is back", async () => await queue.qsize() === 4);
      assertEquals(await json("purge", "jobs", "-y"), [{ purged: 4 }]);
      assertEquals([await queue.qsize(), await queue.dead.size()], [0, 0]);
    });

    it("queues and top show items in and out a second, and how long handlers take", async () => {
      const queue = bus.queue<number>("jobs");
      const consumer = queue.consume(() => new Promise((resolve) => setTimeout(resolve, 20)));
      const putting = setInterval(() => void queue.put(1).catch(() => {}), 25);
      try {
        const shows = ({ name, in: puts, out, p50 }: Record<string, unknown>) =>
          name === "jobs" && Number(puts) > 0 && Number(out) > 0 && Number(p50) > 15;
        const top = ["top", ground.url, "-n", namespace, "-i", "500", "--json"];
        await using running = new Running(top);
        await until("top shows them", () => running.lines.map((each) => JSON.parse(each)).some(shows));
        running.child.signal("SIGINT");
        await until("queues shows them", async () => (await json("queues", "--json", "-i", "1000")).some(shows));
      } finally {
        clearInterval(putting);
        await consumer.close();
        await queue.purge();
      }
    });

    it("who and groups list buses, functions, topics and groups; groups free ends one", async () => {
      await bus.expose("add", (a: number, b: number) => a + b);
      await bus.subscribe("news", () => {}).ready;
      const member = bus.subscribe("news", () => {}, { group: "billing" });
      await member.ready;
      const found = await json("who", "--json");
      const [own] = found.filter(({ kind }) => kind === "bus");
      assertEquals(own!.pid, process.pid);
      assertEquals(found.filter(({ kind }) => kind === "function"), [{
        kind: "function",
        name: "add",
        servers: [own!.id],
      }]);
      assertEquals(found.filter(({ kind }) => kind === "topic"), [
        { kind: "topic", name: "news", pattern: false, subscribers: 1 },
      ]);
      assertEquals(found.filter(({ kind }) => kind === "group").map(({ queue }) => queue), ["news@billing"]);
      const [tables, groups] = await Promise.all([run("who"), json("groups", "list", "--json")]);
      assertMatch(
        tables.lines.join("\n"),
        new RegExp(`^BUS +PROGRAM[^]*\\b${process.pid}\\b[^]*^FUNCTION[^]*^add `, "m"),
      );
      const counts = { waiting: 0, leased: 0, delayed: 0, dead: 0 };
      assertEquals(groups, [{ target: "news", pattern: false, group: "billing", ...counts }]);
      await member.unsubscribe();
      assertEquals(await run("groups", "free", "news", "billing"), { code: 0, lines: [], errors: [] });
      assertEquals(await json("groups", "list", "--json"), []);
    });

    it("put, get, sub, pub, serve and call work, and tell an empty queue and an absent function by their exit codes", async () => {
      await using serve = new Running(["serve", ground.url, SERVED, "-n", namespace]);
      await using sub = new Running(["sub", ground.url, "shop.*", "-p", "-c", "1", "-n", namespace]);
      assertEquals(await run("put", "basics", '{"id":1}'), { code: 0, lines: [], errors: [] });
      assertEquals((await run("get", "basics", "-t", "30000")).lines, ['{"id":1}']);
      const [empty, absent] = await Promise.all([run("get", "basics"), run("call", "absent"), serve.printed(1)]);
      assertEquals([empty.code, absent.code], [3, 7]);
      assertEquals((await run("call", "add", "1", "2")).lines, ["3"]);
      await until("it receives an event", async () => { // it does not print that it has subscribed
        await run("pub", "shop.orders", "7");
        return sub.child.exit;
      });
      assertEquals((await sub.ended()).lines, ['{"topic":"shop.orders","event":7}']);
      serve.child.signal("SIGTERM");
      assertEquals((await serve.ended()).code, 0);
      await bus.queue("basics").free();
    });

    it("bench measures events, items and calls, and leaves nothing behind", async () => {
      const { code, lines, errors } = await tsmq(["bench", ground.url, "-s", "0.5", "--json"], { own: true });
      assertEquals([code, errors], [0, []]);
      const results = lines.filter((line) => line.includes('"what"')).map((line) => JSON.parse(line));
      assertEquals(results.map(({ what }) => what), ["events", "items", "calls"]);
      for (const { rate, p50, p99 } of results) assert(rate > 0 && p50 <= p99, lines.join("\n"));
    });
  });
}

describe("tsmq looks into memory", () => {
  it("queues and who find nothing in a process of its own, and bench runs", async () => {
    // its load keeps two cores busy; one runtime waits for the progress that it prints each second
    const long = runsHere(0);
    await using running = new Running(["bench", "memory:", "-s", long ? "1.5" : "0.3"]);
    const [queues, who, bench] = await Promise.all([
      tsmq(["queues", "memory:", "--json"]),
      tsmq(["who", "memory:", "--json"]),
      running.ended(),
    ]);
    if (long) assertMatch(running.child.output, /^\{"progress":"bench events","done":1,"total":2\}$/m);
    const nothing = "tsmq: no buses, functions, topics or groups in namespace global (--namespace)";
    assertEquals([queues, who], [{ code: 0, lines: [], errors: [] }, { code: 0, lines: [], errors: [nothing] }]);
    assertEquals(bench.code, 0);
    assertMatch(bench.lines.join("\n"), /^LOAD +PER SECOND +P50 MS +P99 MS\nevents +\d/m);
  });
});
