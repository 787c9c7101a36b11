/**
 * The answers on their way, and values of streams, that a server holds for its callers: their size is limited for all callers together, because
 * requests can name any number of inboxes.
 */
import { assert, assertEquals } from "@std/assert";
import { describe, it } from "@std/testing/bdd";
import { Codec, type Decoded } from "../../src/codec/codec.ts";
import { writeMarks } from "../../src/codec/marks.ts";
import type { Core } from "../../src/core.ts";
import { STREAM_CHECK } from "../../src/internal/time.ts";
import type { ServedCall } from "../../src/rpc/current_call.ts";
import { ServedStreams } from "../../src/rpc/served_stream.ts";
import { MAX_HELD, sizeOf, Sizes } from "../../src/rpc/sizes.ts";
import { Undelivered } from "../../src/rpc/undelivered.ts";
import type { Answer, Request } from "../../src/rpc/wire.ts";
import { pause, until } from "../support/until.ts";

describe("Undelivered", () => {
  it("sends 512 Mi characters at once, whatever inboxes the requests name, and reports that it does not send more", () => {
    const posted: string[] = [];
    const reports: unknown[] = [];
    const core = {
      post: (inbox: string) => {
        posted.push(inbox);
        return new Promise(() => {}); // the transport is behind
      },
      report: (error: Error) => reports.push(error.message),
    } as unknown as Core;
    const undelivered = new Undelivered(core, new Sizes(...MAX_HELD));
    const huge = "x".repeat(128 * 2 ** 20);
    for (let i = 0; i < 12; i++) {
      const call = { id: String(i), inbox: `inbox ${i}`, deadline: Infinity };
      const request: Request = { fn: "fn", channel: "", args: [], kwargs: {}, call };
      void undelivered.send(request, huge, false);
    }
    assertEquals(posted.length, 4);
    assertEquals(reports, ['Cannot answer calls of "fn": their caller does not read its answers']);
  });

  it("puts 256 Mi characters into the queues of PyMQ's callers at once", () => {
    let put = 0;
    const reports: unknown[] = [];
    const replies = { put: () => new Promise(() => void put++) };
    const core = { sender: { replies }, report: (error: Error) => reports.push(error.message) };
    const undelivered = new Undelivered(core as unknown as Core, new Sizes(...MAX_HELD));
    const answer: Answer<string> = { fn: "fn", isError: false, resultType: "str", result: "x".repeat(64 * 2 ** 20) };
    for (let i = 0; i < 12; i++) {
      const request: Request = { fn: "fn", channel: `__rpc_${crypto.randomUUID()}`, args: [], kwargs: {} };
      void undelivered.answerPymq(request, answer);
    }
    assertEquals(put, 4);
    assertEquals(reports, ['Cannot answer calls of "fn": their caller does not read its answers']);
  });

  it("counts the types in answers of PyMQ, which are written with four characters for each", () => {
    let put = 0;
    const replies = { put: () => new Promise(() => void put++) };
    const core = { sender: { replies }, report: () => {} };
    const undelivered = new Undelivered(core as unknown as Core, new Sizes(1_000_000, 2_000_000));
    const answer = { fn: "fn", isError: false, resultType: "list", result: "[]", mark: "x".repeat(250_000) };
    for (let i = 0; i < 3; i++) {
      const request: Request = { fn: "fn", channel: `__rpc_${crypto.randomUUID()}`, args: [], kwargs: {} };
      void undelivered.answerPymq(request, answer);
    }
    assertEquals(put, 1);
  });

  it("counts all that is written for names of undefined fields, whatever their characters", () => {
    const codec = new Codec();
    for (const character of ["a", "\u007f", "\u0080", "é", "中", "😀", "\ud800"]) {
      const name = character.repeat(10_000);
      const written = codec.write([{ [name]: undefined }, { [name]: undefined, sets: [new Set()] }]);
      const length = written.json.length + writeMarks(written.mark).length;
      const size = sizeOf(written);
      assert(size >= length && size < length + 100, `${length} characters of ${JSON.stringify(character)} are ${size}`);
      assertKeys(codec.decode(written.json + writeMarks(written.mark)), [[name], [name, "sets"]]);
    }
  });
});

/** Checks that a decoded list has objects with these keys. */
function assertKeys(decoded: ReturnType<Codec["decode"]>, keys: string[][]): void {
  assertEquals(
    ((decoded as Decoded).value as object[]).map((each) => Object.keys(each).toSorted()),
    keys.map((each) => each.toSorted()),
  );
}

describe("the streams of callers that take no values", () => {
  /** Serves streams of values of 1,000 characters, of which 10,000 may be held for each caller. */
  function serve() {
    const posted: string[] = [];
    const core = {
      codec: new Codec(),
      features: { maxBody: Infinity },
      recovering: () => false,
      post: (_inbox: string, text: string) => Promise.resolve(void posted.push(text)),
      report: () => {},
    };
    const streams = new ServedStreams(core as unknown as Core, new Sizes(10_000, 20_000));
    let [asked, opened] = [0, 0];
    const open = (inbox: string, gate?: Promise<void>) => {
      const id = String(opened++);
      async function* values() {
        while (true) {
          asked++;
          await gate;
          yield "x".repeat(1_000);
        }
      }
      const request = { fn: "fn", call: { id, inbox, stream: true } };
      const work = { request, cancel: () => {}, wasClosed: () => false, enter: (run: () => unknown) => run() };
      streams.serve(work as unknown as ServedCall, values(), undefined, () => {}).catch(() => {});
    };
    const all = () => Array.from({ length: opened }, (_, i) => String(i));
    return { streams, open, all, posted, asked: () => asked };
  }

  it("are asked for no more of them beyond seven eighths of the limit, and for more when some are taken", async () => {
    const { every } = STREAM_CHECK;
    STREAM_CHECK.every = 1;
    const { streams, open, all, asked } = serve();
    try {
      for (const inbox of ["a", "a", "a", "b", "c"]) {
        open(inbox);
        await pause(0);
      }
      await pause(0);
      const first = asked();
      assertEquals(first, 17); // of caller "a" 9, and 8 of "b"
      streams.handleCredit(["0", 5]);
      await until("others are asked", () => asked() > first);
    } finally {
      for (const id of all()) streams.cancel(id);
      STREAM_CHECK.every = every;
    }
  });

  it("fail as busy if their values come when the limit is reached", async () => {
    const { streams, open, all, posted } = serve();
    const gate = Promise.withResolvers<void>();
    for (let i = 0; i < 15; i++) open("a", gate.promise);
    gate.resolve();
    await until("some have failed", () => posted.filter((text) => text.includes("too many values")).length >= 5);
    for (const id of all()) streams.cancel(id);
  });
});
