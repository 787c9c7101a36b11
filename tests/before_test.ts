/** The version before type marks and headers, as a peer. Both versions read each other's messages. */
// run: on bun
import { assertEquals } from "@std/assert";
import { afterAll, beforeAll, describe } from "@std/testing/bdd";
import { spawnSync } from "node:child_process";
import { copyFileSync, mkdirSync, symlinkSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { Bus, type DeadLetter } from "../mod.ts";
import { redis } from "../src/providers/redis/provider.ts";
import { ALL, BARE, PLAIN, types } from "./before/values.ts";
import { makeDir, removeDir } from "./support/child.ts";
import { Peer } from "./support/peer.ts";
import { RedisServer } from "./support/redis_server.ts";
import { difference } from "./support/same.ts";
import { itNeeds } from "./support/skip.ts";
import { missing } from "./support/tools.ts";
import { until } from "./support/until.ts";

const ROOT = fileURLToPath(new URL("../", import.meta.url));
/** The last commit without type marks and headers. */
const BEFORE = "2d13747";
const PARTS = ["mod.ts", "src", "workers", "deno.json", "package.json", "tsconfig.json", "tests/support"];

function lack(): string | undefined {
  const { status } = spawnSync("git", ["cat-file", "-e", `${BEFORE}^{commit}`], { cwd: ROOT });
  return status === 0 ? missing("redis-server") : `the commit ${BEFORE} is not in this clone`;
}

/** Unpacks that version into a directory and adds the peer. Returns the path of the peer. */
function checkOut(dir: string): string {
  const { stdout } = spawnSync("git", ["archive", BEFORE, ...PARTS], { cwd: ROOT, maxBuffer: 1 << 28 });
  const { status, stderr } = spawnSync("tar", ["x", "-C", dir], { input: stdout });
  if (status !== 0) throw new Error(`Cannot unpack ${BEFORE}: ${stderr}`);
  symlinkSync(`${ROOT}node_modules`, `${dir}/node_modules`);
  mkdirSync(`${dir}/tests/before`);
  for (const file of ["peer.ts", "values.ts"]) {
    copyFileSync(`${ROOT}tests/before/${file}`, `${dir}/tests/before/${file}`);
  }
  return `${dir}/tests/before/peer.ts`;
}

describe(`a bus of the commit ${BEFORE}`, () => {
  const lacking = lack();
  const namespace = crypto.randomUUID();
  const dir = makeDir("before");
  let server: RedisServer, peer: Peer, bus: Bus;
  if (lacking === undefined) {
    beforeAll(async () => {
      server = await RedisServer.start();
      bus = await Bus.open(redis({ url: server.url }), { namespace, types });
      peer = Peer.start(checkOut(dir), { args: [server.url, namespace] });
      assertEquals(await peer.next(), "ready");
    });
  }
  afterAll(async () => {
    await peer?.[Symbol.asyncDispose]();
    await bus?.close();
    await server?.stop();
    removeDir(dir);
  });

  itNeeds(lacking)("reads our events as ever; what has types inside, as Python does", async () => {
    for (const value of ALL) await bus.publish(value, "to-before");
    assertEquals(await peer.ask("events"), []);
  });

  itNeeds(lacking)("takes our items, and counts deliveries with us", async () => {
    const queue = bus.queue("to-before");
    for (const value of ALL) await queue.put(value);
    assertEquals(await peer.ask("items"), []);
    const value = { at: new Date(0) };
    await queue.put(value);
    assertEquals(await peer.ask("leases"), 1);
    const lease = await queue.receive();
    assertEquals([lease.attempt, lease.item], [2, value]);
    await lease.nack();
    assertEquals(await peer.ask("leases"), 3);
    await (await queue.receive()).ack();
  });

  itNeeds(lacking)("what it publishes and puts comes as what it was", async () => {
    const got: unknown[] = [];
    await bus.subscribe("from-before", (event) => got.push(event)).ready;
    await peer.ask("send");
    await until("all have come", () => got.length === ALL.length);
    for (const [i, value] of ALL.entries()) {
      assertEquals(difference(got[i], value), undefined);
      assertEquals(difference(await bus.queue("from-before").get(), value), undefined);
    }
  });

  itNeeds(lacking)("its dead letters have their item and their cause, and go back", async () => {
    await peer.ask("fail");
    const { dead } = bus.queue("doomed");
    const letters = await dead.peek({ limit: ALL.length });
    for (const [i, value] of ALL.entries()) {
      const { item, queue, attempts, cause } = (letters[i] as { item: DeadLetter }).item;
      assertEquals(difference(item, value), undefined);
      assertEquals({ queue, attempts, cause }, {
        queue: "doomed",
        attempts: 1,
        cause: { name: "RangeError", message: "on purpose" },
      });
    }
    assertEquals(await dead.retry(), ALL.length);
    for (const value of ALL) assertEquals(difference(await bus.queue("doomed").get(), value), undefined);
  });

  itNeeds(lacking)("serves our calls, and calls us", async () => {
    for (let turn = 0; turn < 2; turn++) {
      const answers = await Promise.all(PLAIN.map((value, i) => bus.stub("plain")(i, value)));
      assertEquals(answers, PLAIN.map(() => undefined));
    }
    // in a list of arguments an instance has the name of its class, in both versions
    for (const [i, [value]] of BARE.entries()) if (i > 0) assertEquals(await bus.stub("bare")(i, value), undefined);
    for (const [i, value] of ALL.entries()) assertEquals(difference(await bus.stub("value")(i), value), undefined);
    const heard: unknown[] = [];
    await bus.expose("hear", (value: unknown) => void heard.push(value));
    await bus.expose("plain now", (i: number) => PLAIN[i]);
    assertEquals(await peer.ask("call"), []);
    assertEquals(difference(heard, ALL), undefined);
  });
});
