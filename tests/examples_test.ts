// run: kernel-queues
/** Each program in `examples/` runs to its end by itself. */
import { assert, assertEquals, assertMatch } from "@std/assert";
import { describe } from "@std/testing/bdd";
import { readdirSync, readFileSync } from "node:fs";
import { Peer } from "./support/peer.ts";
import { RedisServer } from "./support/redis_server.ts";
import { share } from "./support/share.ts";
import { itNeeds } from "./support/skip.ts";
import { missing } from "./support/tools.ts";
import { until } from "./support/until.ts";

/** The output of each example near its end. Add new examples here. */
const SAYS: Record<string, RegExp> = {
  "service.ts":
    /8 EUR are 10 USD\nhello Eve\n[^]*called in turn: Ada, Bo\ncalled at once: Ada, Bo\nnever sent: true\nrefused: RangeError, we lend no money\nno server, rejected at once: true/,
  "typed_events.ts": /placed: o-1 for 12\ntotal: 12\nnot sent: total: [^]*paid: o-1 in 2026, true/,
  "work_queue.ts": /done: 1, 2, 3, 5, 6, 7, 8, 9, 10\nnobody could do job 4: it makes no sense \(3 attempts\)/,
  "workers.ts": /primes: 10000000019, found by 4 workers/,
  "demo.ts": /table 6 gets its cake, made by cook (Ada|Bo)[^]*cashier was called 6 times[^]*everybody has gone home/,
};
/** Reads standard input; its test is below. */
const CHAT = "chat.ts";
/** Modules of other examples. */
const SHARED = ["prime_worker.ts", "providers.ts"];

describe("an example", () => {
  const folder = new URL("../examples/", import.meta.url);
  const it = itNeeds(missing("redis-server"));

  it("is known here", () => {
    const programs = readdirSync(folder).filter((file) => file.endsWith(".ts") && !SHARED.includes(file));
    assertEquals(programs.sort(), [...Object.keys(SAYS), CHAT].sort());
  });

  it("has a header with the commands that run it in a fresh clone", () => {
    for (const file of [...Object.keys(SAYS), CHAT]) {
      const command = file === "demo.ts" ? "deno task demo" : `deno task install && deno run -A examples/${file}`;
      assert(readFileSync(new URL(file, folder), "utf8").split("*/")[0]!.includes(`    ${command}`), file);
    }
  });

  for (const [file, says] of share(Object.entries(SAYS))) {
    it(`runs to its end: ${file}`, async () => {
      // the demo chooses its own transport; the others use Redis, which is never short of kernel queues
      await using server = await RedisServer.start();
      await using peer = Peer.start(new URL(file, folder), { args: file === "demo.ts" ? [] : [server.url] });
      assertEquals(await peer.wait(60_000), { code: 0, signal: null }, peer.output);
      assertMatch(peer.output, says);
    });
  }

  it("is a chat: each participant sees every line that is typed while it is in the room", async () => {
    await using server = await RedisServer.start();
    const enter = (name: string) => {
      const peer = Peer.start(new URL(CHAT, folder), { args: [name, server.url] });
      return until(`${name} is in`, () => peer.output.includes(`${name}: (enters)`)).then(() => peer);
    };
    await using ada = await enter("Ada");
    await using bo = await enter("Bo");
    bo.type("hello Ada");
    await until("Ada sees it", () => ada.output.includes("Bo: hello Ada"));
    bo.end();
    assertEquals(await bo.wait(), { code: 0, signal: null }, bo.output);
    ada.end();
    assertEquals(await ada.wait(), { code: 0, signal: null }, ada.output);
    const seen = ["Ada: (enters)", "Bo: (enters)", "Bo: hello Ada", "Bo: (leaves)", "Ada: (leaves)"];
    assertEquals(ada.output.trim().split("\n"), seen);
    assertEquals(bo.output.trim().split("\n"), seen.slice(1, 4));
  });
});
