/** The command line as a member of a namespace whose buses have keys. */
// run: on deno
import { assert, assertEquals, assertMatch } from "@std/assert";
import { afterAll, beforeAll, describe, it } from "@std/testing/bdd";
import { Redis } from "ioredis";
import { chmodSync, chownSync, writeFileSync } from "node:fs";
import process from "node:process";
import { Bus } from "../../mod.ts";
import { redis } from "../../src/providers/redis/provider.ts";
import { makeDir, removeDir } from "../support/child.ts";
import { RedisServer } from "../support/redis_server.ts";
import { until } from "../support/until.ts";
import { Running, tsmq } from "./run.ts";

const SECRET = "s3cret".repeat(8);
/** The same secret as bytes, as JSON. */
const BYTES = { __obj: btoa(SECRET), __type: "tsmq:bytes" };

describe("tsmq with keys", () => {
  const namespace = crypto.randomUUID();
  const dir = makeDir("keys");
  const file = `${dir}/keys.json`;
  let server: RedisServer, url: string;
  beforeAll(async () => {
    server = await RedisServer.start();
    url = server.url;
  });
  afterAll(async () => {
    await server.stop();
    removeDir(dir);
  });

  function write(content: unknown, mode = 0o600): void {
    writeFileSync(file, typeof content === "string" ? content : JSON.stringify(content));
    chmodSync(file, mode);
  }

  for (const encrypt of [false, true]) {
    it(`puts, gets, calls and watches: ${encrypt ? "encrypted" : "signed"}`, async () => {
      write({ keys: [{ id: "k", secret: encrypt ? BYTES : SECRET }], encrypt });
      await using bus = await Bus.open(redis({ url }), { namespace, keys: [{ id: "k", secret: SECRET }], encrypt });
      await bus.expose("add", (a: number, b: number) => a + b);
      const env = { TSMQ_URL: url, TSMQ_NAMESPACE: namespace, TSMQ_KEYS_FILE: file };
      assertEquals(await tsmq(["call", "add", "1", "2"], { env, own: true }), { code: 0, lines: ["3"], errors: [] });
      const jobs = bus.queue(encrypt ? "encrypted" : "signed"); // items of the other round may be left
      await jobs.put({ id: 7 });
      const got = await tsmq(["get", url, jobs.name, "-n", namespace, "--keys", file]);
      assertEquals(got, { code: 0, lines: ['{"id":7}'], errors: [] });
      await using consumer = jobs.consume(() => {});
      await using top = new Running(["top", "-i", "100", "--json"], { env });
      const putting = setInterval(() => void jobs.put(1).catch(() => {}), 25);
      try {
        const counted = (line: string) => JSON.parse(line).p50 !== undefined; // only a bus can know that
        await until("top shows what the bus counts", () => top.lines.some(counted));
      } finally {
        clearInterval(putting);
        await consumer.close();
      }
    });
  }

  it("without the keys, or with others, it reads and calls nothing", async () => {
    await using bus = await Bus.open(redis({ url }), { namespace, keys: [{ id: "k", secret: SECRET }], encrypt: true });
    bus.addEventListener("error", () => {});
    await bus.expose("add", (a: number, b: number) => a + b);
    write({ keys: [{ id: "k", secret: "x".repeat(32) }] });
    const calls = await Promise.all(
      [[], ["--keys", file]].map((keys) => tsmq(["call", url, "add", "1", "2", "-t", "500", "-n", namespace, ...keys])),
    );
    for (const { code, lines } of calls) {
      assert(code !== 0, `${code}`);
      assertEquals(lines, []);
    }
  });

  it("doctor and bench send nothing that a peer without the keys can read or forge", async () => {
    write({ keys: [{ id: "k", secret: SECRET }], encrypt: true });
    const peer = new Redis({ port: server.port, host: "127.0.0.1" });
    const seen: string[] = [];
    peer.on("pmessage", (_pattern, channel: string, body: string) => seen.push(`${channel} ${body}`));
    await peer.psubscribe("__eventbus:doctor-*", "__eventbus:bench-*");
    await peer.psubscribe("__tsmq:inbox:__eventbus:doctor-*", "__tsmq:inbox:__eventbus:bench-*");
    const env = { TSMQ_URL: url, TSMQ_KEYS_FILE: file };
    assertEquals((await tsmq(["doctor"], { env })).code, 0);
    assertEquals((await tsmq(["bench", "-s", "0.1"], { env })).code, 0);
    await peer.punsubscribe(); // its reply comes after all messages
    peer.disconnect();
    for (const command of ["doctor", "bench"]) {
      assert(seen.some((message) => message.includes(`__eventbus:${command}-`)), `nothing of ${command}`);
    }
    assertEquals(seen.filter((message) => !message.includes("tsmq-signature")), []);
  });

  it("refuses a file that others may read or change, and one without keys, and repeats no secret", async () => {
    const keys = [{ id: "k", secret: SECRET }];
    const refused = async (content: unknown, mode: number, why: RegExp) => {
      write(content, mode);
      const { code, errors } = await tsmq(["put", url, "jobs", "1", "--keys", file]);
      assertEquals([code, errors.length], [2, 1]);
      assertMatch(errors[0]!, why);
      assert(!errors[0]!.includes("s3cret"), errors[0]);
    };
    for (const mode of [0o604, 0o602, 0o620]) await refused({ keys }, mode, /chmod 600/);
    if (process.getuid!() === 0) { // only root can give a file to another user
      chownSync(file, 1, 0);
      await refused({ keys }, 0o600, /belongs to another user/);
      chownSync(file, 0, 0);
    }
    await refused(`{"keys":[{"id":"k","secret":"${SECRET}"`, 0o600, /must be JSON/);
    await refused({ keys, encypt: true }, 0o600, /must be JSON/);
    for (const key of [{ [SECRET]: "k" }, { id: "k", secret: SECRET, [SECRET]: 1 }, SECRET]) {
      await refused({ keys: [key] }, 0o600, /must be JSON/);
    }
    await refused({ keys: [{ id: "k", secret: "s3cret" }] }, 0o640, /32 bytes/);
    await refused({ keys, encrypt: "yes" }, 0o600, /encrypt/);
    const absent = await tsmq(["put", url, "jobs", "1"], { env: { TSMQ_KEYS_FILE: `${dir}/none` } });
    assertEquals(absent.code, 2);
    assertMatch(absent.errors[0]!, /Cannot use the file of keys/);
  });
});
