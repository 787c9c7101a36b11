// run: on bun, waiting
import { assert, assertEquals, assertRejects } from "@std/assert";
import { describe, it } from "@std/testing/bdd";
import { BusError, ProviderError, QueueFullError } from "../../src/errors.ts";
import { cost, WINDOW } from "../../src/port/credit.ts";
import { Link, type LinkEvents } from "../../src/port/link.ts";
import type { AskHandler, ReceiverContext } from "../../src/provider/provider.ts";
import { withDeadline } from "../../src/internal/time.ts";
import { pause, until, within } from "../support/until.ts";
import { OneThread } from "./one_thread.ts";
import { TestReceiver } from "./receiver.ts";

function close(link: Link | undefined, ms: number): Promise<Awaited<ReturnType<Link["close"]>> | undefined> {
  return withDeadline(ms, async (over) => await link?.close(over));
}

/** A link, its threads, and the reports of the link. */
class Stage implements AsyncDisposable {
  readonly receivers: TestReceiver[] = [];
  readonly contexts: ReceiverContext[] = [];
  /** The errors of the next openings, one for each. */
  readonly refusals: unknown[] = [];
  /** The errors of the next operations of the next receiver, one for each. */
  readonly failures: unknown[] = [];
  /** While it is pending, no receiver opens. */
  opening: Promise<void> | undefined;
  readonly said: string[] = [];
  /** The number of batches that the link has reported as posted. */
  posted = 0;
  readonly thread: OneThread;
  link!: Link;
  #watchers = new Set<() => void>();

  constructor(answer?: AskHandler["answer"]) {
    this.thread = new OneThread(async (context) => {
      const refusal = this.refusals.shift();
      if (refusal) throw refusal;
      const receiver = new TestReceiver();
      receiver.failures.push(...this.failures.splice(0));
      this.receivers.push(receiver);
      this.contexts.push(context);
      await this.opening;
      return receiver;
    }, answer);
  }

  say(text: string): void {
    this.said.push(text);
    for (const watcher of this.#watchers) watcher();
  }

  async open(connectTimeout = 5_000): Promise<Link> {
    const say = (text: string) => this.say(text);
    const events: LinkEvents = {
      died: (error) => say(`died ${error.code}`),
      state: (connected, error) => say(connected ? "up" : `down ${error?.code}`),
      gap: (reason, lost) => say(`gap ${lost || ""}: ${reason}`),
      fault: (error) => say(`fault ${error.code}`),
      inbox: (bodies) => say(`inbox ${bodies}`),
      requests: (topics, bodies) => say(`requests ${topics} ${bodies}`),
      posted: () => this.posted++,
    };
    return this.link = await Link.open(
      this.thread.provider,
      { namespace: "n", connectTimeout, maxReceive: Infinity },
      events,
    );
  }

  /** Waits until the link has reported this. */
  async heard(text: string): Promise<void> {
    while (!this.said.includes(text)) {
      await new Promise<void>((resolve) => {
        const watcher = () => {
          this.#watchers.delete(watcher);
          resolve();
        };
        this.#watchers.add(watcher);
      });
    }
  }

  get receiver(): TestReceiver {
    return this.receivers.at(-1)!;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await close(this.link, 1_000);
    this.thread[Symbol.dispose]();
  }
}

const filter = { topic: "a", pattern: false, serves: false };
const ignore = () => {};

describe("Link", () => {
  it("resolves with the answers of the receiver, and rejects with its errors, with class and code", async () => {
    await using stage = new Stage();
    const link = await stage.open();
    assertEquals(link.inbox, stage.receiver.inbox);
    assertEquals(await link.request<"ask">({ kind: "ask", verb: "echo", argument: { a: [1] } }), { a: [1] });
    stage.receiver.failures.push(new QueueFullError("q"));
    const error = await assertRejects(() => link.request<"ask">({ kind: "ask", verb: "echo", argument: 0 }));
    assert(error instanceof QueueFullError && error.code === "queue_full" && error.retryable);
  });

  it("posts all requests of one turn as one array", async () => {
    await using stage = new Stage();
    const link = await stage.open();
    const before = stage.thread.last.toWorker.length;
    await Promise.all(
      [1, 2, 3].map((argument) => link.request<"ask">({ kind: "ask", verb: "echo", argument })),
    );
    assertEquals(stage.thread.last.toWorker.length, before + 1);
  });

  it("combines the starts and settles of one turn in one request, and resolves each with its own result", async () => {
    await using stage = new Stage();
    const link = await stage.open();
    const held = await Promise.all([
      link.start("q", ["a"]),
      link.settle("q", ["b"], "ack"),
      link.start("q", ["nobody's", "c"]),
      link.settle("q", ["d"], "nack"),
      link.settle("q", ["e"], "ack"),
      link.start("other", ["f"]),
    ]);
    assertEquals(held, [[true], [true], [false, true], [true], [true], [true]]);
    assertEquals(stage.receiver.calls, [
      ["start", "q", ["a", "nobody's", "c"]],
      ["settle", "q", ["b", "e"], "ack", 0],
      ["settle", "q", ["d"], "nack", 0],
      ["start", "other", ["f"]],
    ]);
  });

  it("settles more leases at once than a call can have arguments, and rejects with the receiver's error", async () => {
    await using stage = new Stage();
    const link = await stage.open();
    const count = 300_000;
    for (let i = 0; i < count; i++) stage.receiver.items.push({ receipt: `${i}`, body: "", attempt: 1 });
    const lease = 3_600_000; // an extension while the machine is busy would meet the failure in place of the settle
    const receipts = (await link.receive("q", { max: count, wait: 0, lease })).map(({ receipt }) => receipt);
    assertEquals(receipts.length, count);
    stage.receiver.failures.push(new QueueFullError("q"));
    await assertRejects(() => link.settle("q", receipts, "untried"), QueueFullError);
    assertEquals((await link.settle("q", receipts, "untried")).length, count);
  });

  it("reports each posted batch, including heartbeats and answers", async () => {
    await using stage = new Stage(() => "secret");
    const link = await stage.open();
    await link.request<"ask">({ kind: "ask", verb: "echo", argument: 0 });
    await stage.contexts[0]!.ask("credentials", 0);
    const posted = () => stage.thread.last.toWorker.flat().map((frame) => frame.kind);
    await until("the worker is asked for a beat", () => posted().includes("beat"));
    assertEquals(posted().slice(0, 3), ["ask", "answer", "beat"]);
    assert(stage.posted >= posted().length, `it told of ${stage.posted}`); // one of them may be on its way
  });

  it("rejects with the error of a receiver that fails to open, and leaves no thread behind", async () => {
    await using stage = new Stage();
    stage.refusals.push(new ProviderError("denied", "Cannot open: wrong password"));
    const error = await assertRejects(() => stage.open());
    assert(error instanceof ProviderError && error.code === "denied");
    assert(stage.thread.last.terminated);
  });

  it("rejects when its worker does not listen in time, and leaves no thread behind", async () => {
    await using stage = new Stage();
    stage.thread.listens = false;
    const error = await assertRejects(() => stage.open(50));
    assert(error instanceof ProviderError && error.code === "unavailable");
    assert(stage.thread.last.terminated);
  });

  it("rejects pending requests when its worker fails, and a new worker replaces it", async () => {
    await using stage = new Stage();
    const link = await stage.open();
    const got: string[] = [];
    const stream = link.subscribe(filter, (_, bodies) => got.push(...bodies));
    const serving = link.subscribe({ topic: "fn", pattern: false, serves: true }, ignore);
    await Promise.all([stream.ready, serving.ready]);
    const [first, inbox] = [stage.receiver, link.inbox];
    const asked = assertRejects(() => link.request<"ask">({ kind: "ask", verb: "never", argument: 0 }));
    const taken = assertRejects(() => link.receive("q", { max: 1, wait: Infinity }));
    stage.thread.last.fail("it broke");
    for (const error of [await asked, await taken]) {
      assert(error instanceof BusError && error.code === "worker_died", String(error));
      assert(error.message.includes("it broke") && error.retryable);
    }
    await stage.heard("up");
    assertEquals(stage.said, ["died worker_died", "down worker_died", "gap : the worker was replaced", "up"]);
    assert(stage.thread.threads[0]!.terminated && stage.receiver !== first && link.inbox !== inbox);
    assertEquals(link.restarts, 1);
    assertEquals(stage.receiver.calls, [
      ["subscribe", filter],
      ["subscribe", { topic: "fn", pattern: false, serves: true }],
    ]);
    stage.receiver.emits.get("a")!("a", "after");
    await link.request<"ask">({ kind: "ask", verb: "echo", argument: 0 });
    assertEquals(got, ["after"]);
  });

  it("keeps requests for the new worker, even if the first new one fails to open", async () => {
    await using stage = new Stage();
    const link = await stage.open();
    stage.refusals.push(new ProviderError("unavailable", "Cannot open: the server is down"));
    stage.thread.last.fail("it broke");
    const early = link.request<"ask">({ kind: "ask", verb: "echo", argument: "early" });
    const taken = link.receive("q", { max: 1, wait: Infinity });
    const during: Promise<unknown>[] = [];
    // whenever they come: before the second worker, while it is being opened, after it has failed
    const timer = setInterval(
      () => during.push(link.request<"ask">({ kind: "ask", verb: "echo", argument: "during" })),
      1,
    );
    await stage.heard("fault unavailable");
    await stage.heard("up");
    clearInterval(timer);
    assertEquals(await early, "early");
    assertEquals(new Set(await Promise.all(during)), new Set(["during"]));
    stage.receiver.offer("item");
    assertEquals((await taken)[0]?.body, "item");
  });

  it("makes the subscriptions that were requested while there was no worker", async () => {
    await using stage = new Stage();
    const link = await stage.open();
    stage.thread.last.fail("it broke");
    const stream = link.subscribe(filter, ignore);
    await stream.ready;
    await stage.heard("up");
    assertEquals(stage.receiver.calls, [["subscribe", filter]]);
    const ended = link.subscribe({ ...filter, topic: "b" }, ignore);
    stage.thread.last.fail("it broke again");
    await ended.close();
    while (link.restarts < 2) await new Promise((resolve) => setTimeout(resolve, 5));
    assert(!stage.receiver.emits.has("b"));
  });

  it("considers a worker dead after two missed heartbeats", async () => {
    await using stage = new Stage();
    const link = await stage.open();
    const asked = assertRejects(() => link.request<"ask">({ kind: "ask", verb: "never", argument: 0 }));
    const since = performance.now();
    stage.thread.last.mute = true;
    const error = await within("the worker counts as dead", asked, 30_000);
    assert(error instanceof BusError && error.code === "worker_died");
    const took = performance.now() - since;
    assert(took > 4_000, `it took ${took} ms`);
    await stage.heard("up");
  });

  it("ignores that the clock is set forward", async () => {
    await using stage = new Stage();
    await stage.open();
    const now = Date.now;
    try {
      Date.now = () => now() + 3_600_000;
      const since = performance.now();
      while (performance.now() - since < 2_500) await new Promise((resolve) => setTimeout(resolve, 50));
      assertEquals(stage.said, []);
    } finally {
      Date.now = now;
    }
  });

  it("rejects a cancelled wait with the signal's reason, unless the item arrived first", async () => {
    await using stage = new Stage();
    const link = await stage.open();
    const abort = new AbortController();
    const waiting = assertRejects(() => link.receive("q", { max: 1, wait: Infinity, signal: abort.signal }));
    await link.request<"ask">({ kind: "ask", verb: "echo", argument: 0 });
    const reason = new Error("enough");
    abort.abort(reason);
    assertEquals(await waiting, reason);
    assertEquals(await assertRejects(() => link.receive("q", { max: 1, wait: 0, signal: abort.signal })), reason);

    const late = new AbortController();
    const taken = link.receive("q", { max: 1, wait: Infinity, signal: late.signal });
    await link.request<"ask">({ kind: "ask", verb: "echo", argument: 0 });
    stage.receiver.offer("item");
    late.abort();
    // either the item was taken, or it is still there
    const bodies = (await taken.catch(() => [])).map(({ body }) => body);
    const rest = await link.receive("q", { max: 1, wait: 0 });
    assertEquals([...bodies, ...rest.map(({ body }) => body)], ["item"]);
  });

  it("returns credit in large amounts", async () => {
    await using stage = new Stage();
    const link = await stage.open();
    const body = "x".repeat(1_000);
    let count = 0;
    const stream = link.subscribe(filter, (_, bodies) => {
      for (const body of bodies) {
        count++;
        stream.credit(cost(body));
      }
    });
    await stream.ready;
    const emit = stage.receiver.emits.get("a")!;
    const total = Math.ceil(10 * WINDOW / cost(body));
    for (let i = 0; i < total; i++) emit("a", body);
    while (count < total) await new Promise((resolve) => setTimeout(resolve, 5));
    const credits = stage.thread.last.toWorker.flat().filter((frame) => frame.kind === "credit");
    assert(credits.length >= 10 && credits.length <= 20, `${credits.length} credit frames`);
  });

  it("passes the questions of the receiver to the provider", async () => {
    await using stage = new Stage((verb, argument) => {
      if (verb === "credentials") return Promise.resolve({ for: argument });
      throw new ProviderError("denied", "Cannot answer: no");
    });
    await stage.open();
    const [context] = stage.contexts;
    assertEquals(await context!.ask("credentials", "r"), { for: "r" });
    const error = await assertRejects(() => context!.ask("other", 0));
    assert(error instanceof ProviderError && error.code === "denied");
  });

  it("answers only the worker that asked", async () => {
    const answers: PromiseWithResolvers<unknown>[] = [];
    await using stage = new Stage(() => {
      const answer = Promise.withResolvers<unknown>();
      answers.push(answer);
      return answer.promise;
    });
    await stage.open();
    stage.contexts[0]!.ask("credentials", "first").catch(ignore); // its worker ends
    while (answers.length < 1) await new Promise((resolve) => setTimeout(resolve, 1));
    stage.thread.last.fail("it broke");
    await stage.heard("up");
    const asked = stage.contexts[1]!.ask("credentials", "second");
    while (answers.length < 2) await new Promise((resolve) => setTimeout(resolve, 1));
    answers[0]!.resolve("for the first");
    await stage.link.request<"ask">({ kind: "ask", verb: "echo", argument: 0 });
    answers[1]!.resolve("for the second");
    assertEquals(await asked, "for the second");
  });

  it("answers questions of a receiver that is being opened", async () => {
    const thread = new OneThread(
      async (context) => {
        if (await context.ask("credentials", 0) !== "secret") throw new Error("no secret");
        return new TestReceiver();
      },
      () => "secret",
    );
    try {
      const events = {
        died: ignore,
        state: ignore,
        gap: ignore,
        fault: ignore,
        inbox: ignore,
        requests: ignore,
        posted: ignore,
      };
      const link = await Link.open(
        thread.provider,
        { namespace: "n", connectTimeout: 1_000, maxReceive: 1_000 },
        events,
      );
      await close(link, 1_000);
    } finally {
      thread[Symbol.dispose]();
    }
  });

  it("passes on the reports of the receiver", async () => {
    await using stage = new Stage();
    const link = await stage.open();
    const stream = link.subscribe(filter, ignore, (reason) => stage.say(`gap a: ${reason}`));
    await stream.ready;
    const [context] = stage.contexts;
    context!.state(false, new ProviderError("unavailable", "Cannot reach it"));
    context!.gap("the connection broke");
    context!.state(true);
    context!.fault(new Error("garbage"));
    context!.inbox("answer");
    await stage.heard("inbox answer");
    assertEquals(stage.said, [
      "down unavailable",
      "gap a: the connection broke",
      "up",
      "fault internal",
      "inbox answer",
    ]);
  });

  it("retries a subscription while the transport is unreachable, and ends the stream at any other error", async () => {
    await using stage = new Stage();
    const link = await stage.open();
    const unavailable = () => new ProviderError("unavailable", "Cannot subscribe: no connection");
    stage.receiver.failures.push(unavailable(), unavailable());
    await link.subscribe(filter, ignore).ready;
    assertEquals(stage.receiver.calls.length, 3);
    stage.receiver.failures.push(new ProviderError("denied", "Cannot subscribe: no permission"));
    const error = await assertRejects(() => link.subscribe({ ...filter, topic: "b" }, ignore).ready);
    assert(error instanceof ProviderError && error.code === "denied");
  });

  it("reports a subscription that a new worker is not allowed to restore", async () => {
    await using stage = new Stage();
    const link = await stage.open();
    await link.subscribe(filter, ignore).ready;
    stage.failures.push(new ProviderError("denied", "Cannot subscribe: no permission any more"));
    stage.thread.last.fail("it broke");
    await stage.heard("up");
    assert(stage.said.includes("fault denied"), `it said ${stage.said}`);
  });

  it("subscribes once at a new worker, even if it was about to retry at the dead one", async () => {
    await using stage = new Stage();
    const link = await stage.open();
    const unavailable = () => new ProviderError("unavailable", "Cannot subscribe: no connection");
    stage.receiver.failures.push(unavailable());
    const stream = link.subscribe(filter, ignore);
    await stage.heard("fault unavailable");
    stage.failures.push(unavailable());
    stage.thread.last.fail("it broke");
    while (stage.receivers.length < 2 || stage.receiver.calls.length < 1) await pause(1);
    stage.thread.last.fail("it broke again");
    await stream.ready;
    await pause(200); // longer than from one attempt to the next
    await link.request<"ask">({ kind: "ask", verb: "echo", argument: 0 });
    assertEquals(stage.receiver.calls.filter(([verb]) => verb === "subscribe"), [["subscribe", filter]]);
    assertEquals(stage.said.filter((text) => text.startsWith("gap")), ["gap : the worker was replaced"]);
    assertEquals(link.restarts, 1);
  });

  it("waits longer and longer before it replaces workers that die as soon as they are ready", async () => {
    await using stage = new Stage();
    const link = await stage.open();
    const starts: number[] = [];
    for (let deaths = 0; deaths < 4; deaths++) {
      const { restarts } = link;
      const died = performance.now();
      stage.thread.last.fail("it broke");
      await until("the worker is replaced", () => link.restarts > restarts);
      starts.push(performance.now() - died);
    }
    // nothing, 100, 200 and 400 ms
    assert(starts[1]! >= 99 && starts[2]! >= 199 && starts[3]! >= 399, String(starts));
  });

  it("closes immediately while a new worker opens its receiver", async () => {
    await using stage = new Stage();
    const link = await stage.open(60_000);
    stage.opening = new Promise(() => {});
    stage.thread.last.fail("it broke");
    while (stage.contexts.length < 2) await pause(1);
    await within("it is closed", close(link, 60_000));
    assert(stage.thread.last.terminated);
  });

  it("terminates a receiver that does not close", async () => {
    await using stage = new Stage();
    const link = await stage.open();
    stage.receiver.close = () => new Promise(() => {});
    const asked = assertRejects(() => link.request<"ask">({ kind: "ask", verb: "never", argument: 0 }));
    const taken = assertRejects(() => link.receive("q", { max: 2, wait: Infinity }), BusError, "closed");
    const held = assertRejects(() => link.receive("q", { max: 5, wait: Infinity, lease: 1_000 }), BusError, "closed");
    assertEquals(await close(link, 50), { returned: 0, uncertain: 2, clean: false });
    await Promise.all([taken, held]);
    assert(stage.thread.last.terminated);
    const error = await asked;
    assert(error instanceof BusError && error.code === "unavailable", "whether it was executed is unknown");
    await assertRejects(() => link.request<"ask">({ kind: "ask", verb: "echo", argument: 0 }), BusError, "closed");
  });

  it("starts no worker if it was closed during a replacement", async () => {
    await using stage = new Stage();
    const link = await stage.open();
    stage.thread.listens = false;
    stage.thread.last.fail("it broke");
    while (stage.thread.threads.length < 2) await new Promise((resolve) => setTimeout(resolve, 1));
    const asked = assertRejects(() => link.request<"ask">({ kind: "ask", verb: "echo", argument: 0 }));
    const closed = close(link, 5_000);
    stage.thread.last.onmessage!({ data: { kind: "tsmq:listening" } });
    await closed;
    const error = await asked;
    assert(error instanceof BusError && error.code === "unavailable", "whether it was executed is unknown");
    assert(stage.thread.last.terminated, "the worker that was being started is still there");
    assertEquals(stage.thread.threads.length, 2);
  });
});
