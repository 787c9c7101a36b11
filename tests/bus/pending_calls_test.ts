import { assertEquals } from "@std/assert";
import { describe, it } from "@std/testing/bdd";
import type { Core } from "../../src/core.ts";
import type { Link } from "../../src/port/link.ts";
import type { Sender } from "../../src/provider/provider.ts";
import { Call } from "../../src/rpc/call.ts";
import { Directory } from "../../src/rpc/directory.ts";
import { PendingCalls } from "../../src/rpc/pending_calls.ts";
import { pause, until } from "../support/until.ts";

describe("PendingCalls", () => {
  it("counts a server as gone after three checks a second apart, not after three that were answered at once", async () => {
    const asked: PromiseWithResolvers<string[]>[] = [];
    const sender = {
      servers: () => {
        const reply = Promise.withResolvers<string[]>();
        asked.push(reply);
        return reply.promise;
      },
      post: () => Promise.resolve(true),
    } as unknown as Sender;
    const link = { address: () => Promise.resolve("inbox") } as Link;
    const pending = new PendingCalls(
      { sender, link, recovering: () => false } as unknown as Core,
      new Directory(sender),
    );
    const lost: string[] = [];
    const call = new Call("fn", { json: "[]" }, 60_000, undefined);
    pending.add({
      call,
      channel: "",
      servers: new Map([["server", 0]]),
      answer: () => {},
      lost: (server) => lost.push(server),
    });
    await until("several checks", () => call.age > 5_500);
    for (const { resolve } of asked) resolve([]);
    await pause(10);
    assertEquals(lost, []);
    pending.close();
  });
});
