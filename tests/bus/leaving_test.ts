// run: on deno
import { assert, assertEquals, assertRejects } from "@std/assert";
import { describe, it } from "@std/testing/bdd";
import { stub } from "@std/testing/mock";
import { Codec } from "../../src/codec/codec.ts";
import { UNSIGNED } from "../../src/codec/envelope.ts";
import type { Core } from "../../src/core.ts";
import { ClosedError, ProviderError, RpcError, TimeoutError } from "../../src/errors.ts";
import type { Sender } from "../../src/provider/provider.ts";
import { Caller } from "../../src/rpc/caller.ts";
import { AnswerQueue } from "../../src/rpc/pymq.ts";
import type { Server } from "../../src/rpc/server.ts";
import { Sizes } from "../../src/rpc/sizes.ts";
import { type Answer, readRequest, type Refusal } from "../../src/rpc/wire.ts";
import { spy } from "../support/spy.ts";
import { pause, until, within } from "../support/until.ts";

const OPTIONS = { timeout: 20_000 };

/** The replies of a transport during one call, in their order; the last one is repeated. */
interface Script {
  /** The registered servers. */
  readonly servers: string[][];
  /** The numbers of subscribers. Absent: the transport does not know PyMQ. */
  readonly candidates?: (number | Error)[];
  /** The number of subscriptions that the request reached. */
  readonly reached: number;
  /** The servers that can be posted to. Default: all. */
  readonly there?: string[];
  /** Whether a server offers itself for each request, and refuses each call that is then posted to it. */
  readonly refuses?: boolean;
}

/** A caller whose transport follows a script. */
class Scripted {
  readonly posts: { readonly server: string; readonly text: string }[] = [];
  readonly published: string[] = [];
  readonly caller: Caller;
  readonly #answers: PromiseWithResolvers<{ body: string }[]> = Promise.withResolvers();
  #received = false;

  constructor({ servers, candidates, reached, there, refuses }: Script) {
    const next = <T>(replies: T[]): T => replies.length > 1 ? replies.shift()! : replies[0]!;
    const settled = (value: number | Error) => value instanceof Error ? Promise.reject(value) : Promise.resolve(value);
    const sender = {
      servers: () => Promise.resolve(next(servers).map((inbox) => ({ inbox }))),
      publish: (_topic: string, text: string) => {
        this.published.push(text);
        if (refuses) this.#refuse(text, "here");
        return Promise.resolve(reached);
      },
      post: (server: string, text: string) => {
        this.posts.push({ server, text });
        if (refuses && !text.includes('"age"')) this.#refuse(text, "gone");
        return Promise.resolve(!there || there.includes(server));
      },
      drop: () => Promise.resolve(),
      replies: candidates &&
        { lingers: false, open: () => Promise.resolve(), candidates: () => settled(next(candidates)) },
    } as unknown as Sender;
    const link = {
      address: () => Promise.resolve("inbox"),
      receive: () => {
        if (this.#received) return new Promise(() => {});
        this.#received = true;
        return this.#answers.promise;
      },
    };
    const core = {
      sender,
      link,
      envelopes: UNSIGNED,
      post: sender.post,
      codec: new Codec(),
      recovering: () => false,
      outage: () => undefined,
      features: { counts: true },
    };
    this.caller = new Caller(core as unknown as Core, { exposing: () => undefined } as unknown as Server);
  }

  /** Returns the request after it was published. */
  async request(): Promise<string> {
    await until("the request is published", () => this.published.length > 0);
    return this.published.at(-1)!;
  }

  /** A server of tsmq answers the published request with its name, or refuses it. Its answer takes a number of bytes. */
  async reply(server: string, refused?: Refusal, bytes = 100): Promise<void> {
    const [id] = /[0-9a-f-]{36}(?=","inbox")/.exec(await this.request())!;
    this.caller.handleAnswer(
      ["fn", server, "str", refused !== undefined, { id, server, refused, attempt: 1 }],
      () => bytes,
    );
  }

  #refuse(request: string, refused: Refusal): void {
    const [id] = /[0-9a-f-]{36}(?=","inbox")/.exec(request)!;
    setTimeout(() => this.caller.handleAnswer(["fn", null, "str", true, { id, server: "one", refused }], () => 100));
  }

  /** Servers of PyMQ answer. */
  pymqAnswers(count = 1, result = '"PyMQ","str"'): void {
    const body = `{"__obj":["fn",${result},false],"__type":"pymq.core.RpcResponse"}`;
    this.#answers.resolve(Array(count).fill({ body }));
  }

  async multi(): Promise<unknown[]> {
    const answers = await this.caller.multi("fn", [], OPTIONS);
    return answers.map((answer) => answer instanceof Error ? answer.name : answer.result).sort();
  }

  single(): Promise<Answer> {
    return this.caller.single("fn", [], OPTIONS);
  }

  [Symbol.dispose](): void {
    this.caller.close(new ClosedError());
  }
}

describe("a multi-call", () => {
  it("has one outcome for each server that it asks twice", async () => {
    using transport = new Scripted({ servers: [["one", "two"]], candidates: [2], reached: 2 });
    const results = transport.multi();
    await transport.reply("one");
    await transport.reply("one", "forgotten"); // its answer was too large to keep
    await transport.reply("two", "forgotten");
    await transport.reply("two", "forgotten");
    assertEquals(await within("the results", results), ["ProviderError", "one"]);
  });

  it("is one attempt, so a server that has refused it refuses it again", async () => {
    using transport = new Scripted({ servers: [["one"]], candidates: [1], reached: 1 });
    const results = transport.multi();
    assertEquals(readRequest(JSON.parse(await transport.request()).__obj)?.call?.attempt, 1);
    await transport.reply("one");
    assertEquals(await within("the results", results), ["one"]);
  });

  it("waits for a server of PyMQ if a registered server ended before the request reached it", async () => {
    using transport = new Scripted({ servers: [["one"], []], candidates: [2, 1], reached: 1 });
    const results = transport.multi();
    await transport.reply("one", "gone");
    await pause(50);
    transport.pymqAnswers();
    assertEquals(await within("the results", results), ["PyMQ"]);
  });

  it("does not wait for silent subscribers because a server that is not registered any more refuses it", async () => {
    using transport = new Scripted({ servers: [["one"]], candidates: [3], reached: 3 });
    const results = transport.multi();
    await transport.reply("goes", "gone");
    await transport.reply("one");
    assertEquals(await within("the results", results, 5_000), ["one"]);
  });

  it("does not wait for a server that unregistered before the registry was read and unsubscribed later, though a pattern matches", async () => {
    using transport = new Scripted({ servers: [[]], candidates: [1, 0], reached: 1 });
    assertEquals(await within("the results", transport.multi(), 2_500), []);
  });

  it("learns from the registry that a server has closed, although a pattern subscriber receives the request", async () => {
    using transport = new Scripted({ servers: [["goes"], []], reached: 1, there: [] });
    assertEquals(await within("the results", transport.multi(), 2_500), []);
  });
});

describe("a multi-call that gets many answers", () => {
  const MIB = 2 ** 20;
  const tooLarge = (results: Promise<unknown>, why: string) =>
    assertRejects(() => within("the error", results), RpcError, why);

  it("has one outcome for each of 10,000 servers", async () => {
    const servers = Array.from({ length: 10_000 }, (_, i) => `server ${i}`);
    using transport = new Scripted({ servers: [servers], candidates: [10_000], reached: 10_000 });
    const results = transport.multi();
    for (const server of servers) await transport.reply(server);
    assertEquals(await within("the results", results), servers.sort());
  });

  for (const refused of [undefined, "busy", "gone", "forgotten"] as const) {
    it(`fails if there are more, under whatever names, and cancels the call: ${refused ?? "answers"}`, async () => {
      using transport = new Scripted({ servers: [["one"]], candidates: [1], reached: 1 });
      const results = transport.multi();
      const error = tooLarge(results, "more than 10000 answers have arrived");
      for (let i = 0; i <= 10_000; i++) await transport.reply(`server ${i}`, refused);
      assertEquals(transport.caller.pending, 0);
      await error;
      assertEquals(transport.posts.map(({ server, text }) => [server, text.includes("tsmq:cancel")]), [["one", true]]);
    });
  }

  it("fails if PyMQ's queue contains more", async () => {
    using transport = new Scripted({ servers: [[]], candidates: [20_000], reached: 20_000 });
    const results = transport.multi();
    transport.pymqAnswers(10_001);
    await tooLarge(results, "more than 10000 answers have arrived");
  });

  it("counts 256 bytes more for a result that is a set in Python", async () => {
    const counted: number[] = [];
    const { add } = Sizes.prototype;
    let largest = 0;
    // not a stub, for which the compiler may infer a method of another class
    Sizes.prototype.add = (_, size) => void (largest = Math.max(largest, size));
    using restored = new DisposableStack();
    restored.defer(() => void (Sizes.prototype.add = add));
    for (const type of ["str", "set"]) {
      largest = 0;
      // heldBytes looks at random parts of short texts
      using _random = stub(Math, "random", () => 1);
      using transport = new Scripted({ servers: [[]], candidates: [1], reached: 1 });
      const results = transport.multi();
      transport.pymqAnswers(1, `[],"${type}"`);
      assertEquals(await within("the results", results), [[]]);
      counted.push(largest);
    }
    assertEquals(counted[1]! - counted[0]!, 256);
  });

  it("fails if they take more than 256 MiB, or those to all running multi-calls 512 MiB", async () => {
    using transport = new Scripted({ servers: [["one"]], candidates: [1], reached: 1 });
    /** Begins a call and answers it with 256 MiB. */
    const begin = async () => {
      const { length } = transport.published;
      const results = transport.multi();
      results.catch(() => {});
      await until("the request is published", () => transport.published.length > length);
      for (const server of ["two", "three"]) await transport.reply(server, undefined, 128 * MIB);
      return { results };
    };
    for (let i = 0; i < 3; i++) {
      const { results } = await begin();
      await transport.reply("one", undefined, 0);
      assertEquals(await within("the results", results), ["one", "three", "two"]);
    }
    const { results } = await begin();
    await transport.reply("four", undefined, 1);
    await tooLarge(results, "the answers take more than 268435456 bytes");
    const running = [await begin(), await begin()];
    await tooLarge((await begin()).results, "536870912");
    transport.caller.close(new ClosedError());
    for (const { results } of running) await assertRejects(() => results, ClosedError);
  });
});

describe("a call without a registered server, whose subscribers change", () => {
  it("fails if more than 10,000 names refuse it", async () => {
    using transport = new Scripted({ servers: [[]], candidates: [20_000], reached: 20_000 });
    const answer = transport.single();
    const error = assertRejects(() => within("the error", answer), RpcError, "more than 10000 servers have refused it");
    for (let i = 0; i <= 10_000; i++) await transport.reply(`server ${i}`, "gone");
    await error;
  });

  it("asks with pauses if a server always offers itself and then refuses, and releases what each question took", async () => {
    const closed: unknown[] = [];
    const end = spy(AnswerQueue.prototype, "close", closed);
    try {
      using transport = new Scripted({ servers: [[]], candidates: [1], reached: 1, refuses: true });
      const call = transport.caller.single("fn", [], { timeout: 1_000 });
      const over = assertRejects(() => call, TimeoutError);
      await until("it asks for the third time", () => transport.published.length >= 3);
      const early = closed.length;
      await over;
      assert(early >= 2, `${early} queues are closed`);
      assert(transport.published.length <= 25, `it asked ${transport.published.length} times`); // at least 50 ms apart
    } finally {
      end();
    }
  });

  it("does not run on a server of tsmq too if a server of PyMQ has left", async () => {
    using transport = new Scripted({ servers: [[]], candidates: [2, 2, 1], reached: 2 });
    const answer = transport.single();
    await transport.reply("tsmq", "here");
    await pause(500); // longer than offers are awaited
    assertEquals(transport.posts, []);
    transport.pymqAnswers();
    assertEquals((await within("the answer", answer)).result, "PyMQ");
  });

  it("is posted to a server of tsmq if all have made an offer, although others subscribe afterwards", async () => {
    using transport = new Scripted({ servers: [[]], candidates: [2, 2, 3], reached: 3 });
    const answer = transport.single();
    await transport.reply("one", "here");
    await transport.reply("two", "here");
    await until("it is posted", () => transport.posts.length > 0);
    await transport.reply(transport.posts[0]!.server);
    await within("the answer", answer);
  });

  it("rejects with an unknown outcome if nobody is left", async () => {
    using transport = new Scripted({ servers: [[]], candidates: [1, 1, 0], reached: 1 });
    const error = await within("it fails", assertRejects(() => transport.single(), ProviderError));
    assertEquals(error.code, "unavailable");
  });

  it("has its answer though the subscribers could not be counted again", async () => {
    const error = new ProviderError("unavailable", "no reply");
    using transport = new Scripted({ servers: [[]], candidates: [1, error], reached: 1 });
    const answer = transport.single();
    await transport.request();
    transport.pymqAnswers();
    assertEquals((await within("the answer", answer)).result, "PyMQ");
  });
});
