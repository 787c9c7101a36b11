/** Large answers: their callers confirm them, so that none is lost when many arrive at once. */
// run: on bun
import { assert, assertEquals, assertRejects } from "@std/assert";
import { describe, it } from "@std/testing/bdd";
import { Bus, ProviderError } from "../../mod.ts";
import { overridden } from "../../src/conformance/runs.ts";
import type { Core } from "../../src/core.ts";
import { STREAM_CHECK } from "../../src/internal/time.ts";
import type { Sender } from "../../src/provider/provider.ts";
import type { ServedCall } from "../../src/rpc/current_call.ts";
import { LargeAnswers } from "../../src/rpc/large_answers.ts";
import { MAX_HELD, Sizes } from "../../src/rpc/sizes.ts";
import type { Answer } from "../../src/rpc/wire.ts";
import { pause, until } from "../support/until.ts";
import { fresh, onEach } from "./grounds.ts";

const MI = 2 ** 20;

/** Creates large answers, and a list of the ids of those that were admitted. */
function open() {
  const connection = { recovering: false };
  const account = { held: 0 };
  const held = new class extends Sizes {
    override add(caller: string, size: number): void {
      super.add(caller, size);
      account.held += size;
    }
  }(...MAX_HELD);
  const core = { exposeErrors: false, recovering: () => connection.recovering };
  const answers = new LargeAnswers(core as unknown as Core, held);
  const admitted: string[] = [];
  const unconfirmed: string[] = [];
  const refused: unknown[] = [];
  /** Asks for the admission of an answer of this size. `call` can be changed afterwards. */
  const admit = (id: string, text: string, call = { late: false, inbox: "caller" }) => {
    const work = {
      request: { fn: "fn", call: { id, inbox: call.inbox, confirms: true } },
      get late() {
        return call.late;
      },
    } as unknown as ServedCall;
    const answer: Answer<string> = {
      fn: "fn",
      result: text,
      resultType: "str",
      isError: false,
      call: { id, server: "" },
    };
    assert(answers.includes(work, answer));
    void Promise.resolve(answers.admit(work, answer)).then((sent) => {
      if (sent?.isError) refused.push(JSON.parse(sent.result));
      else if (sent) (sent.call?.confirm ? admitted : unconfirmed).push(id);
      if (sent && !sent.isError && answers.keep(id, `answer ${id}`)) answers.sent(id, false);
    });
    return call;
  };
  return { answers, admitted, unconfirmed, refused, admit, connection, account };
}

describe("LargeAnswers", () => {
  const text = "x".repeat(MI);

  it("admits 8 Mi characters for each caller, and further answers as the caller confirms them", async () => {
    const { answers, admitted, admit } = open();
    for (let i = 0; i < 12; i++) admit(String(i), text);
    admit("other", text, { late: false, inbox: "other caller" });
    await pause(0);
    assertEquals(admitted, ["0", "1", "2", "3", "4", "5", "6", "7", "other"]);
    assertEquals([answers.text("0"), answers.text("9")], ["answer 0", undefined]);
    answers.confirm("9"); // its caller has cancelled it
    answers.confirm("0");
    answers.confirm("unknown");
    await pause(0);
    assertEquals(admitted.slice(9), ["8"]);
    assertEquals(answers.text("0"), undefined);
    for (let i = 1; i < 12; i++) answers.confirm(String(i));
    await pause(0);
    assertEquals(admitted.slice(10), ["10", "11"]);
    answers.end();
  });

  it("drops the answers of late calls, and makes room if a caller confirms nothing for a long time", async () => {
    const before = STREAM_CHECK.every;
    STREAM_CHECK.every = 10;
    try {
      const { answers, admitted, admit } = open();
      for (let i = 0; i < 8; i++) admit(String(i), text);
      const late = admit("late", text);
      admit("next", text);
      late.late = true;
      await until("the next one is admitted", () => admitted.includes("next"));
      assertEquals(admitted.includes("late"), false);
      assertEquals(answers.text("0"), undefined);
      answers.end();
    } finally {
      STREAM_CHECK.every = before;
    }
  });

  it("drops answers that were sent when their calls are late: their caller needs no room for them", async () => {
    const before = STREAM_CHECK.every;
    STREAM_CHECK.every = 10;
    try {
      const { answers, admitted, admit, connection } = open();
      connection.recovering = true; // otherwise it would make room because nothing is confirmed
      const calls = Array.from({ length: 8 }, (_, i) => admit(String(i), text));
      admit("next", text);
      calls[0]!.late = true;
      await until("the next one is admitted", () => admitted.includes("next"));
      assertEquals([answers.text("0"), answers.text("1")], [undefined, "answer 1"]);
      answers.end();
    } finally {
      STREAM_CHECK.every = before;
    }
  });

  it("does not count a second answer with the id of one that is not confirmed", async () => {
    const { answers, admitted, admit, account } = open();
    for (let i = 0; i < 9; i++) admit(String(i), text);
    const { held } = account;
    admit("0", text);
    admit("8", text);
    assertEquals(account.held, held);
    for (let i = 0; i < 9; i++) answers.confirm(String(i));
    await pause(0);
    answers.confirm("8");
    assertEquals([account.held, admitted.length], [0, 9]);
    answers.end();
  });

  it("keeps its answers while this bus is not connected, however long", async () => {
    const before = STREAM_CHECK.every;
    STREAM_CHECK.every = 10;
    try {
      const { answers, admit, connection } = open();
      connection.recovering = true;
      admit("0", text);
      await pause(40 * STREAM_CHECK.every);
      assertEquals(answers.text("0"), "answer 0");
      connection.recovering = false;
      await until("the caller counts as gone", () => answers.text("0") === undefined);
      answers.end();
    } finally {
      STREAM_CHECK.every = before;
    }
  });

  it("admits nothing after its end, so that no timer keeps the process alive", async () => {
    const { answers, admitted, admit } = open();
    answers.end();
    admit("late", text);
    await pause(0);
    assertEquals([admitted, answers.text("late")], [[], undefined]);
  });

  it("refuses answers that would wait beyond 192 Mi characters, with an error that says what to do", async () => {
    const { answers, admitted, refused, admit } = open();
    const huge = "x".repeat(64 * MI);
    for (let i = 0; i < 4; i++) admit(String(i), huge);
    await pause(0);
    assertEquals(admitted, ["0"]);
    assertEquals(refused, [[
      'Cannot answer a call of "fn": too many large answers wait for their callers; make fewer calls at once, or serve a stream',
    ]]);
    answers.end();
    await pause(0);
    assertEquals(admitted, ["0"]);
  });

  it("keeps about 384 Mi characters for all callers, and sends further answers without confirmation", async () => {
    const { answers, admitted, unconfirmed, admit } = open();
    const huge = "x".repeat(64 * MI);
    for (let i = 0; i < 8; i++) admit(String(i), huge, { late: false, inbox: `caller ${i}` });
    await pause(0);
    assertEquals([admitted, unconfirmed], [["0", "1", "2", "3", "4", "5"], ["6", "7"]]);
    answers.confirm("0");
    answers.confirm("1");
    admit("8", huge);
    await pause(0);
    assertEquals(admitted.at(-1), "8");
    answers.end();
  });
});

onEach("a hundred answers of a million characters", ({ it, provider }) => {
  it("arrive, though all calls end in one turn", async () => {
    const [shared, namespace] = [provider(), fresh()];
    await using server = await Bus.open(shared, { namespace });
    await using caller = await Bus.open(shared, { namespace });
    const errors: unknown[] = [];
    for (const bus of [server, caller]) bus.addEventListener("error", ({ error }) => errors.push(error));
    const { promise, resolve } = Promise.withResolvers<void>();
    let count = 0;
    await server.expose("large", async (i: number) => {
      if (++count === 100) resolve();
      await promise;
      return String(i).padStart(1_000_000, "x");
    });
    const large = caller.stub<(i: number) => Promise<string>>("large", { timeout: 60_000 });
    const results = await Promise.all(Array.from({ length: 100 }, (_, i) => large(i)));
    assertEquals(results.map((text) => text.length), Array(100).fill(1_000_000));
    assertEquals(results.map((text) => Number(text.slice(-2).replaceAll("x", ""))), [...Array(100).keys()]);
    assertEquals(errors, []);
  });
});

onEach("a large answer that is lost on its way", ({ it, provider }) => {
  const lossy = (drops: (body: string) => boolean) => {
    const inner = provider();
    const open: typeof inner.open = async (context) => {
      const sender = await inner.open(context);
      const post: Sender["post"] = (inbox, body) => drops(body) ? Promise.resolve(true) : sender.post(inbox, body);
      return overridden(sender, { post });
    };
    return [{ ...inner, open }, inner] as const;
  };

  it("is sent again", async () => {
    let lost = 0;
    const [serving, calling] = lossy((body) => body.length > 5 * MI && lost++ === 0);
    const namespace = fresh();
    await using server = await Bus.open(serving, { namespace });
    await using caller = await Bus.open(calling, { namespace });
    await server.expose("large", () => "x".repeat(6 * MI)); // more than a server remembers of confirmed answers
    const text = await caller.stub("large")() as string;
    assertEquals([text.length, lost], [6 * MI, 2]);
  });

  it("rejects with an error that says what to do if the server no longer has it", async () => {
    const [serving, calling] = lossy((body) => body.length > 5 * MI);
    const namespace = fresh();
    await using server = await Bus.open(serving, { namespace });
    await using caller = await Bus.open(calling, { namespace });
    await server.expose("large", () => "x".repeat(6 * MI));
    const before = STREAM_CHECK.every;
    STREAM_CHECK.every = 50; // the server soon forgets the answer
    try {
      const { code, message } = await assertRejects(() => caller.stub("large", { timeout: 30_000 })(), ProviderError);
      assertEquals(code, "unavailable");
      assert(message.endsWith("make fewer calls at once, or serve a stream"), message);
    } finally {
      STREAM_CHECK.every = before;
    }
  });
});
