/**
 * Everything that a server holds for its callers counts in one account, with a limit, until it is not held any more: answers that wait, are
 * sent or are kept, and values and errors of streams.
 */
// run: on bun
import { assert, assertEquals } from "@std/assert";
import { beforeAll, describe, it } from "@std/testing/bdd";
import type { Core } from "../../src/core.ts";
import { BusError } from "../../src/errors.ts";
import { STREAM_CHECK } from "../../src/internal/time.ts";
import { Work } from "../../src/internal/work.ts";
import { exposures } from "../../src/rpc/exposure.ts";
import { Server } from "../../src/rpc/server.ts";
import { Sizes } from "../../src/rpc/sizes.ts";
import { pause, until } from "../support/until.ts";
import { serverCore } from "./server_core.ts";

const MI = 2 ** 20;

/** An account that shows how much it contains, and how much it has contained at most. */
class Account extends Sizes {
  total = 0;
  most = 0;

  override add(caller: string, size: number): void {
    super.add(caller, size);
    this.total += size;
    this.most = Math.max(this.most, this.total);
  }
}

/** A server of results, values and errors of a million characters, and the messages that it has posted: `post` posts each of them. */
async function serve(post: (text: string) => boolean | Promise<boolean> = () => true) {
  const posted: string[] = [];
  const put = async (text: string) => {
    posted.push(text);
    return await post(text);
  };
  const sender = { replies: { put: (_queue: string, text: string) => put(text) } };
  const core = { ...serverCore((_inbox, text) => put(text)), sender } as unknown as Core;
  const held = new Account(20 * MI, 40 * MI);
  const server = new Server(core, () => undefined, held);
  const large = () => "x".repeat(MI);
  const written: object[] = [];
  const lists = () => {
    const result = {
      get text() {
        if (!written.includes(result)) written.push(result);
        return large();
      },
    };
    return result;
  };
  const throws = () => {
    throw new Error(large());
  };
  const values = async function* () {
    yield large();
  };
  const failing = async function* () {
    yield "short";
    throw new Error(large());
  };
  for (const [name, fn] of Object.entries({ large, lists, throws, values, failing, nothing: () => {} })) {
    for (const exposure of exposures(name, fn, {}, [])) await server.expose(exposure);
  }
  let count = 0;
  /** Requests a call, whose caller confirms large answers, or a stream. Returns its id. */
  const request = (fn: string, inbox: string, timeout = 60_000, id = `call ${count++}`, part = {}) => {
    const stream = fn === "values" || fn === "failing" || undefined;
    const call = { id, inbox, deadline: Date.now() + timeout, attempt: 1, confirms: true, stream, ...part };
    server.handleRequest([fn, "", [], {}, call], 100);
    return id;
  };
  const requests = (fn: string, count: number, inbox: (i: number) => string, timeout?: number) =>
    Array.from({ length: count }, (_, i) => request(fn, inbox(i), timeout));
  const settled = () => until("nothing is held", () => held.total === 0);
  return { server, held, posted, written, request, requests, settled };
}

describe("what a server holds for its callers", () => {
  beforeAll(() => Work.load());

  it("has one limit, of large answers that nobody confirms, other answers and streams", async () => {
    const { server, held, posted, request, requests, settled } = await serve();
    const sent = (part: string) => posted.filter((text) => text.includes(part)).length;
    const large = requests("large", 80, (i) => i % 2 === 0 ? "a" : "b");
    await until("each is sent or refused, or waits", () => posted.length === 66);
    assertEquals([sent('"confirm":true'), sent("too many large answers wait")], [16, 50]); // 14 wait
    const { total } = held;
    assert(total > 30 * MI && total < 31 * MI, `${total} characters are held`);

    request("large", "c"); // another caller receives its answer, which is not kept
    await until("it is sent", () => posted.length === 67 && held.total === total);
    assertEquals(sent('"confirm":true'), 16);

    const streams = requests("values", 40, (i) => `reader ${i}`);
    await until("streams fail", () => sent("too many values and answers wait") > 0);
    for (const id of [...large, ...streams]) server.cancel(id);
    await settled();
    assert(held.most > 40 * MI && held.most < 42 * MI, `${held.most} characters were held`);
  });

  for (const confirms of [true, undefined]) {
    const who = confirms ? "confirm them" : "do not confirm them";
    it(`contains results of calls that end in one turn before the next one is written, whose callers ${who}`, async () => {
      const { promise, resolve } = Promise.withResolvers<boolean>();
      const { server, held, posted, written, request, settled } = await serve(() => promise); // the transport is behind
      const ids = Array.from({ length: 100 }, (_, i) => {
        return request("lists", `caller ${i}`, undefined, undefined, { confirms });
      });
      await until("the first are sent", () => posted.length >= 40);
      await pause(0);
      assert(held.most > 40 * MI && held.most < 42 * MI, `${held.most} characters were held`);
      assertEquals([written.length, posted.length], [40, 40]);
      resolve(true);
      for (const id of ids.slice(0, 40)) server.cancel(id);
      await settled();
      request("lists", "caller 99", undefined, ids.at(-1)); // it has run, and its answer says what to do
      await until("it is answered", () => posted.length === 41);
      assert(posted.at(-1)!.includes("make fewer calls at once, or serve a stream"), posted.at(-1)!.slice(0, 200));
      assertEquals(written.length, 40);
      await settled();
    });
  }

  it("contains results for PyMQ, and errors, of calls that end in one turn before the next one is written", async () => {
    const { promise, resolve } = Promise.withResolvers<boolean>();
    const { server, held, posted, written, requests, settled } = await serve(() => promise);
    for (let i = 0; i < 40; i++) server.handleRequest(["lists", `__rpc_${crypto.randomUUID()}`], 100);
    await pause(0);
    assertEquals([written.length, posted.length], [20, 20]);
    requests("throws", 100, (i) => `caller ${i}`);
    await pause(0);
    assertEquals(posted.length, 40);
    assert(held.most > 40 * MI && held.most < 42 * MI, `${held.most} characters were held`);
    resolve(true);
    server.abandon();
    await settled();
  });

  it("contains the errors of streams, which are replaced when the limit is reached", async () => {
    const { server, held, posted, requests, settled } = await serve();
    const ids = requests("failing", 60, (i) => `reader ${i}`);
    const ends = () => posted.filter((text) => text.includes('{"error":'));
    await until("all have failed", () => ends().length === 60);
    assert(held.total > 40 * MI && held.total < 42 * MI, `${held.total} characters are held`);
    assertEquals(ends().filter((text) => text.includes("too many values and answers wait")).length, 20);
    for (const id of ids) server.cancel(id);
    await settled();
  });

  it("contains no large answer that is confirmed, or whose call is cancelled while it waits", async () => {
    const { server, held, posted, requests, settled } = await serve();
    const ids = requests("large", 12, () => "caller");
    await until("the first are sent", () => posted.length === 8 && held.total > 12 * MI);
    for (const id of ids.toReversed()) server.cancel(id);
    await settled();
    assertEquals(posted.length, 8);
  });

  it("contains nothing of calls that have the id of an open stream, and runs one of them at once", async () => {
    const { server, held, posted, request, requests, settled } = await serve();
    const forget = async () => {
      for (let i = 0; i < 5; i++) {
        const { length } = posted;
        requests("nothing", 4_096, (i) => `other ${i}`);
        await until("they are answered", () => posted.length >= length + 4_096);
      }
    };
    const id = request("values", "caller");
    await until("the stream is open", () => posted.length === 3); // its value and its end too
    await forget();
    const window = requests("large", 8, () => "caller");
    request("large", "caller", 60_000, id);
    await until("the second call of the id waits", () => held.total > 10 * MI);
    server.streams.handleCredit([id, 2]);
    await until("the stream has ended", () => held.total < 10 * MI);
    await forget();
    request("large", "caller", 60_000, id);
    await until("it is answered", () => posted.at(-1)!.includes(id));
    assert(posted.at(-1)!.includes('"refused":"running"'), posted.at(-1)!.slice(0, 200));
    for (const each of [...window, id]) server.cancel(each);
    await settled();
  });

  it("contains what is being sent, though its caller claims to have it", async () => {
    const accepted = Promise.withResolvers<boolean>();
    const { server, held, request, settled } = await serve((text) => text.length < MI || accepted.promise);
    const [cancelled, read, large] = [request("values", "a"), request("values", "b"), request("large", "c")];
    await until("all are being sent", () => held.total > 3 * MI);
    server.cancel(cancelled);
    server.cancel(large);
    server.streams.handleCredit([read, 1]);
    await pause(0);
    assert(held.total > 3 * MI, `${held.total} characters are held`);
    accepted.resolve(true);
    await until("only the end of a stream is held", () => held.total < MI);
    server.cancel(read);
    await settled();
  });

  it("contains nothing for callers that stay silent, or whose deadline passes while their answers wait", async () => {
    const { every } = STREAM_CHECK;
    STREAM_CHECK.every = 5;
    try {
      const { held, requests, settled } = await serve();
      requests("large", 12, () => "silent");
      requests("large", 12, () => "late", 20);
      requests("failing", 3, (i) => `reader ${i}`);
      requests("values", 3, (i) => `reader ${i}`);
      await until("it is held", () => held.most > 24 * MI);
      await settled();
    } finally {
      STREAM_CHECK.every = every;
    }
  });

  for (const [what, error, left] of [["refused", "too_large", 0], ["interrupted", "unavailable", 20]] as const) {
    it(`contains ${left} large texts when the transport has ${what} 20`, async () => {
      let fails = 20;
      const { server, held, requests, settled } = await serve((text) => {
        if (text.length < MI || fails === 0) return true;
        fails--;
        return Promise.reject(new BusError(error, "the transport has failed"));
      });
      const ids = [...requests("large", 10, () => "a"), ...requests("values", 10, (i) => `reader ${i}`)];
      await until("the transport works again", () => fails === 0 && Math.round(held.total / MI) === left);
      assert(held.most < 22 * MI, `${held.most} characters were held`);
      for (const id of ids) server.cancel(id);
      await settled();
    });
  }

  it("contains nothing when the server has closed", async () => {
    const { server, held, posted, requests, settled } = await serve();
    requests("large", 12, () => "caller");
    requests("values", 3, (i) => `reader ${i}`);
    await until("all is held", () => posted.length === 14 && held.total > 15 * MI);
    await server.stop();
    server.abandon();
    await server.idle();
    await settled();
  });
});
