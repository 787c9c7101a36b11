/** A function with thousands of registered servers: every peer on the broker can register names. */
// run: waiting
import { assert, assertEquals, assertRejects } from "@std/assert";
import { describe, it } from "@std/testing/bdd";
import { Codec } from "../../src/codec/codec.ts";
import { UNSIGNED } from "../../src/codec/envelope.ts";
import type { Core } from "../../src/core.ts";
import { ClosedError, RpcError } from "../../src/errors.ts";
import { TextMap } from "../../src/internal/text_map.ts";
import type { Link } from "../../src/port/link.ts";
import type { Sender } from "../../src/provider/provider.ts";
import { Caller } from "../../src/rpc/caller.ts";
import { PARALLEL } from "../../src/rpc/pending_calls.ts";
import type { Server } from "../../src/rpc/server.ts";
import { readRequest } from "../../src/rpc/wire.ts";
import { pause, until } from "../support/until.ts";

const COUNT = 2_000;

/** A caller of the function "fn", whose servers are those that `listed` returns for each look. Its posts never end. */
function scene(listed: (look: number) => readonly string[]) {
  const posts: string[] = [];
  let [looks, published, down] = [0, "", false];
  const sender = {
    servers: () => Promise.resolve(listed(looks++).map((inbox) => ({ inbox, listening: true }))),
    post: (server: string) => {
      posts.push(server);
      return new Promise(() => {});
    },
    publish: (_: string, text: string) => {
      published = text;
      return Promise.resolve(listed(looks).length);
    },
  } as unknown as Sender;
  const core = {
    sender,
    link: { address: () => Promise.resolve("inbox") } as Link,
    envelopes: UNSIGNED,
    post: sender.post,
    codec: new Codec(),
    features: { counts: true },
    recovering: () => down,
    joins: () => {},
    outage: () => undefined,
  } as unknown as Core;
  const caller = new Caller(core, { exposing: () => undefined } as unknown as Server);
  return {
    caller,
    posts,
    looks: () => looks,
    id: () => published && readRequest(JSON.parse(published).__obj)!.call!.id,
    /** From now on, the request is sent again at each check. */
    goDown: () => down = true,
    call: (arg: string) => caller.multi("fn", [arg], { timeout: 60_000 }),
  };
}

const names = Array.from({ length: COUNT }, (_, i) => `inbox ${i}`);

describe("a multi-call of a function with thousands of servers", () => {
  it("sends its request again to a limited number of them at once", async () => {
    const { call, caller, goDown, posts } = scene(() => names);
    const end = call("x").catch((error) => error);
    await until("the request is sent again", () => posts.length > 0);
    goDown();
    await pause(2_500); // further checks
    assertEquals(posts.length, PARALLEL);
    caller.close(new ClosedError());
    assert(await end instanceof ClosedError);
  });

  it("rejects if all copies of its request were too large, before anything is sent", async () => {
    const { call, caller, id } = scene(() => names);
    const error = await assertRejects(() => call("x".repeat(70_000)), RpcError, "the limit for all 2000 is 134217728");
    assertEquals([error.code, id()], ["too_large", ""]);
    caller.close(new ClosedError());
  });

  it("looks up a limited number of names for each answer of servers that have started meanwhile", async () => {
    const { call, caller, id, looks } = scene((look) => look === 0 ? names.slice(0, 1) : names);
    const answers = call("x");
    await until("it is published", () => id() !== "");
    await until("it has read the registry again", () => looks() > 1);
    const { has } = TextMap.prototype;
    let lookups = 0;
    TextMap.prototype.has = function (key) {
      lookups++;
      return has.call(this, key);
    };
    try {
      for (const server of names) {
        caller.handleAnswer(["fn", '"y"', "str", false, { id: id(), server }], () => 100);
      }
    } finally {
      TextMap.prototype.has = has;
    }
    assertEquals((await answers).length, COUNT);
    assert(lookups < 20 * COUNT, `${lookups} lookups`);
    caller.close(new ClosedError());
  });
});
