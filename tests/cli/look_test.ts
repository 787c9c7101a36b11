// run: kernel-queues
/** Every command on each transport, with its JSON and its exit codes. Other files run the command line as a process. */
import { assert, assertEquals, assertMatch } from "@std/assert";
import { afterAll, beforeAll, describe, it } from "@std/testing/bdd";
import process from "node:process";
import { fileURLToPath } from "node:url";
import { Bus, type Provider } from "../../mod.ts";
import { providerFor } from "../../cli/url.ts";
import { aws } from "../../src/providers/aws/provider.ts";
import { ipc } from "../../src/providers/ipc/provider.ts";
import { redis } from "../../src/providers/redis/provider.ts";
import { printableLines } from "../../src/internal/printable.ts";
import { FauxqsServer } from "../support/fauxqs_server.ts";
import { runsHere, share } from "../support/share.ts";
import { RedisServer } from "../support/redis_server.ts";
import { until } from "../support/until.ts";
import type { Beside } from "./inside.ts";
import { type Outcome, Running, tsmq } from "./run.ts";

/** A transport of these tests. */
interface Ground {
  readonly url: string;
  readonly provider: Provider;
  stop?(): Promise<unknown>;
}

/** The line that a command on `memory:` writes to standard error: nobody else is there. */
const ALONE = "tsmq: memory: connects only buses of one process; use redis://, ipc: or aws: to reach other processes";

// the URL of the command has no credentials
Object.assign(process.env, {
  AWS_ACCESS_KEY_ID: "test",
  AWS_SECRET_ACCESS_KEY: "test",
  AWS_EC2_METADATA_DISABLED: "true",
});

const GROUNDS: Record<string, () => Promise<Ground>> = {
  memory: async () => ({ url: "memory:", provider: await providerFor("memory:") }),
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
  GROUNDS.ipc = () => Promise.resolve({ url: "ipc:", provider: ipc() });
}

const SERVED = fileURLToPath(new URL("served.ts", import.meta.url));
const HOSTILE = "\x1b]52;c;ZXZpbA==\x07\n\u202etsmq: done";

// what a command does hardly depends on the runtime; other files run commands on Redis and on memory under both
for (const [name, start] of share(Object.entries(GROUNDS))) {
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
      await ground.stop?.();
    });

    /** Runs a command in the namespace. */
    async function run(...args: string[]): Promise<Outcome> {
      return await during(undefined, ...args);
    }

    /** Runs a command until `beside` has resolved, and Ctrl-C. */
    async function during(beside: Beside | undefined, ...args: string[]): Promise<Outcome> {
      const words = /^(dead|groups)$/.test(args[0]!) ? 2 : 1;
      const all = [...args.slice(0, words), ground.url, ...args.slice(words), "-n", namespace];
      const outcome = await tsmq(all, { beside });
      for (const line of [...outcome.lines, ...outcome.errors]) assertEquals(line, printableLines(line));
      if (name === "memory" && args[0] !== "doctor") assertEquals(outcome.errors.shift(), ALONE);
      return outcome;
    }

    /** Runs a command that must succeed, and parses its lines. */
    async function json(...args: string[]): Promise<Record<string, unknown>[]> {
      const { code, lines, errors } = await run(...args);
      assertEquals([code, errors], [0, []], args.join(" "));
      return lines.map((line) => JSON.parse(line));
    }

    it("queues, peek, dead and purge show, retry and remove items", async () => {
      const started = Date.now();
      const queue = bus.queue<unknown>("jobs");
      await queue.put({ bad: HOSTILE }, { headers: { tenant: "acme" } });
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
      assertEquals(listed.map(({ consumers: _, ...items }) => items), [counts]);
      assertMatch(
        tables.lines.join("\n"),
        /^QUEUE +WAITING +LEASED +DELAYED +DEAD +IN\/S +OUT\/S +P50 MS +CONSUMERS\njobs +3 +0 +0 +2 +0 +0 +- +[0-]$/,
      );
      assertEquals(dead, [{ queue: "jobs", dead: 2 }]);
      assertEquals([asks.code, asksToo.code], [2, 2]); // without a terminal and --yes
      if (ground.provider.features.peek) {
        assertEquals(peeked.lines, ['{"attempt":1,"item":2}']);
        assertEquals(letters.lines.length, 3);
        assertMatch(letters.lines[1]!, /^1 +\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ +1 +RangeError: \\u001b\]52/);
        assertMatch(
          (await run("dead", "show", "jobs", "1")).lines.join("\n"),
          /^time +\d{4}-.*Z\nattempts +1\ncause +RangeError: .*\nheader +tenant: acme\nitem\n\{\n +"bad": "\\u001b\]52/,
        );
        const [first] = await json("dead", "list", "jobs", "--json");
        assertEquals([first!.item, first!.headers], [{ bad: HOSTILE }, { tenant: "acme" }]);
        assert(Number(first!.time) >= started && Number(first!.time) <= Date.now(), `${first!.time}`);
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
        const top = ["top", "-i", "500", "--json"];
        await during(
          (lines) => until("top shows them", () => lines().map((line) => JSON.parse(line)).some(shows)),
          ...top,
        );
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
      assertMatch((await run("groups", "list")).lines[1]!, /^news +billing +0 +0 +0 +0$/);
      const news = { kind: "queue", name: "news@billing", consumers: 1, concurrency: 1 };
      assertEquals(found.filter(({ kind }) => kind === "queue"), [news]);
      await using _one = bus.queue("idle").consume(() => {}, { concurrency: 8 });
      await using _other = bus.queue("idle").consume(() => {}, { concurrency: Infinity });
      const idle = { kind: "queue", name: "idle", consumers: 2, concurrency: null };
      assertEquals((await json("who", "--json")).filter(({ kind }) => kind === "queue"), [idle, news]);
      assertMatch(
        (await run("who")).lines.join("\n"),
        /^QUEUE +CONSUMERS +CONCURRENCY\nidle +2 +Infinity\nnews@billing +1 +1$/m,
      );
      const empty = { waiting: 0, leased: 0, delayed: 0, dead: 0 };
      const queues = await json("queues", "--json", "-i", "0");
      assertEquals(queues.find(({ name }) => name === "idle"), {
        name: "idle",
        ...empty,
        consumers: 2,
        concurrency: null,
      });
      await member.unsubscribe();
      const wrong = await run("groups", "free", "news", "billing", "-p");
      assertEquals([wrong.code, wrong.errors.length], [2, 1]);
      assertMatch(wrong.errors[0]!, /it is the group of a topic; run the command without --pattern$/);
      assertEquals(await run("groups", "free", "news", "billing"), { code: 0, lines: [], errors: [] });
      const none = await run("groups", "free", "news", "billing");
      const said = `tsmq: no group "billing" of the topic "news" in namespace ${namespace} (--namespace)`;
      assertEquals(none, { code: 0, lines: [], errors: [said] });
      const noGroups = `tsmq: no groups in namespace ${namespace} (--namespace)`;
      assertEquals(await run("groups", "list", "--json"), { code: 0, lines: [], errors: [noGroups] });
    });

    it("put, get, pub and sub pass items and events; an empty queue and a missing event have exit codes", async () => {
      const queue = bus.queue("basics");
      assertEquals(await run("put", "basics", '{"id":1}', "2"), { code: 0, lines: [], errors: [] });
      assertEquals((await run("get", "basics", "-t", "30000")).lines, ['{"id":1}']);
      assertEquals(await queue.get({ timeout: 30_000 }), 2);
      const empty = await run("get", "basics");
      assertEquals([empty.code, empty.errors.length], [3, 1]);
      await queue.free();

      const heard = Promise.withResolvers<unknown>();
      await bus.subscribe("shop.orders", heard.resolve).ready;
      const reached = ground.provider.features.counts ? { topic: "shop.orders", reached: 1 } : { topic: "shop.orders" };
      assertEquals(await json("pub", "shop.orders", "7"), [reached]);
      assertEquals(await heard.promise, 7);
      const publish = async (lines: () => string[]) =>
        await until("sub prints an event", async () => {
          await bus.publish(8, "shop.orders"); // it does not print that it has subscribed
          return lines().length > 0;
        });
      const { code, lines } = await during(publish, "sub", "shop.*", "-p", "-c", "1");
      assertEquals([code, lines], [0, ['{"topic":"shop.orders","event":8}']]);
      assertEquals((await run("sub", "silent", "-c", "1", "-t", "50")).code, 4);
    });

    it("serve and call run functions; an absent function and one that throws have exit codes", async () => {
      const called = async (lines: () => string[]) => {
        await until("it serves", () => lines().length > 0);
        assertEquals(await bus.stub("hello")("you"), "hello you");
      };
      const { code, lines } = await during(called, "serve", SERVED);
      assertEquals([code, JSON.parse(lines[0]!).serving], [0, ["add", "fail", "hello"]]);
      await bus.expose("sub", (a: number, b: number) => a - b);
      await bus.expose("throws", () => Promise.reject(new RangeError("out of luck")));
      assertEquals(await run("call", "sub", "3", "2"), { code: 0, lines: ["1"], errors: [] });
      assertEquals(await json("call", "sub", "3", "2", "-m"), [{ status: "fulfilled", value: 1 }]);
      const [absent, failed] = [await run("call", "absent"), await run("call", "throws")];
      assertEquals([absent.code, absent.errors.length], [7, 1]);
      assertEquals([failed.code, failed.errors], [8, ['tsmq: Cannot call "throws": RangeError(out of luck)']]);
    });

    it("call --stream prints the values of a stream, until it ends or Ctrl-C", async () => {
      let ended = false;
      await bus.expose("count", async function* (to: number) {
        try {
          for (let i = 1; i <= to; i++) yield { i };
        } finally {
          ended = true;
        }
      });
      assertEquals(await run("call", "count", "3", "--stream"), {
        code: 0,
        lines: ['{"i":1}', '{"i":2}', '{"i":3}'],
        errors: [],
      });
      const stream = 'tsmq: Cannot call "count": its result is a stream; pass --stream';
      assertEquals((await run("call", "count", "3")).errors, [stream]);
      await bus.expose("one", () => 1);
      const plain = 'tsmq: Cannot read "one" as a stream: its result is not a stream; leave out --stream';
      assertEquals((await run("call", "one", "--stream")).errors, [plain]);
      ended = false;
      const printed = (lines: () => string[]) => until("it prints values", () => lines().length > 2);
      const { code, lines, errors } = await during(printed, "call", "count", "1e9", "--stream");
      assertEquals([code, lines[1], errors], [0, '{"i":2}', []]);
      await until("the generator has ended", () => ended);
    });

    it("doctor finds nothing broken, reap removes nothing of a live bus, and ui serves its page until Ctrl-C", async () => {
      const checks = await json("doctor", "--json");
      assertEquals(checks.at(-1), { name: "bus", state: "ok", detail: checks.at(-1)!.detail });
      assertMatch((await run("doctor")).lines.at(-1)!, /^ok +bus: opened in \d+ ms; an event, an item and a call took/);
      await json("reap");
      assertEquals((await json("who", "--json")).filter(({ pid }) => pid === process.pid).length, 1);
      const opened = async (lines: () => string[]) => {
        const { url } = JSON.parse((await until("it prints its address", () => lines()[0]))!) as { url: string };
        assertEquals((await fetch(url)).status, 200);
      };
      assertEquals((await during(opened, "ui", "--json")).code, 0);
    });

    it("bench measures events, items and calls, and leaves nothing behind", async () => {
      const short = ["bench", ground.url, "-s", "0.1"]; // at least one message is measured
      const { code, lines, errors } = await tsmq([...short, "--json"]);
      assertEquals([code, errors], [0, []]);
      const results = lines.map((line) => JSON.parse(line));
      assertEquals(results.map(({ what }) => what), ["events", "items", "calls"]);
      for (const { rate, p50, p99 } of results) assert(rate > 0 && p50 <= p99, lines.join("\n"));
    });
  });
}

describe("tsmq in a process of its own", () => {
  it("finds nothing on memory:, and says why; bench runs", async () => {
    // its load keeps two cores busy; one runtime waits for the progress that it prints each second, and ends it with Ctrl-C
    const long = runsHere(0);
    await using running = new Running(["bench", "memory:", "-s", long ? "60" : "0.1"]);
    const progress = /^\{"progress":"bench events","done":1,"total":60\}$/m;
    const ended = async () => {
      if (long) {
        await until("it prints its progress", () => progress.test(running.child.output) || running.child.exit);
        running.child.signal("SIGINT");
      }
      return await running.ended();
    };
    const own = true;
    const [queues, who, bench] = await Promise.all([
      tsmq(["queues", "memory:", "--json"], { own }),
      tsmq(["who", "memory:", "--json"]),
      ended(),
    ]);
    if (long) assertMatch(running.child.output, progress);
    const nothing = "tsmq: no buses, functions, topics or groups in namespace global (--namespace)";
    assertEquals(queues, { code: 0, lines: [], errors: [ALONE, "tsmq: no queues in namespace global (--namespace)"] });
    assertEquals(who, { code: 0, lines: [], errors: [ALONE, nothing] });
    assertEquals(bench.code, 0);
    assertMatch(bench.lines.join("\n"), /^LOAD +PER SECOND +P50 MS +P99 MS\nevents +\d/m);
  });
});
