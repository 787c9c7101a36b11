import { assert, assertEquals } from "@std/assert";
import { describe, it } from "@std/testing/bdd";
import { unpack } from "../../src/port/batch.ts";
import { ProviderError, QueueFullError } from "../../src/errors.ts";
import { cost } from "../../src/port/credit.ts";
import { host } from "../../src/port/host.ts";
import type { ToMain, ToWorker } from "../../src/port/protocol.ts";
import type { OpenReceiver, ReceiverContext } from "../../src/provider/provider.ts";
import { TestReceiver } from "./receiver.ts";

type Of<K extends ToMain["kind"]> = ToMain & { kind: K };

/** The main thread's end of the port, without the rest. */
class Main implements AsyncDisposable {
  readonly receiver = new TestReceiver();
  context!: ReceiverContext;
  /** The received arrays. */
  readonly batches: ToMain[][] = [];
  #port: MessagePort;
  #hosted: Promise<void>;
  #watchers = new Set<() => void>();
  #taken = new Set<ToMain>();

  constructor(open?: OpenReceiver) {
    const { port1, port2 } = new MessageChannel();
    this.#port = port1;
    port1.onmessage = (event) => {
      this.batches.push(event.data);
      for (const watcher of this.#watchers) watcher();
    };
    const opened: OpenReceiver = open ?? ((context) => {
      this.context = context;
      return Promise.resolve(this.receiver);
    });
    const hello = { namespace: "n", options: { a: 1 }, origin: {}, connectTimeout: 1_000, maxReceive: 1_000 };
    this.#hosted = host({ kind: "tsmq:hello", port: port2, ...hello }, opened);
  }

  post(...frames: ToWorker[]): void {
    this.#port.postMessage(frames);
  }

  /** The next frame of this kind that no one has taken yet. */
  async next<K extends ToMain["kind"]>(kind: K, match: (frame: Of<K>) => boolean = () => true): Promise<Of<K>> {
    for (;;) {
      const found = this.batches.flat().find((frame): frame is Of<K> =>
        frame.kind === kind && !this.#taken.has(frame) && match(frame as Of<K>)
      );
      if (found) {
        this.#taken.add(found);
        return found;
      }
      await new Promise<void>((resolve) => {
        const watcher = () => {
          this.#watchers.delete(watcher);
          resolve();
        };
        this.#watchers.add(watcher);
      });
    }
  }

  done(id: number): Promise<Of<"done">> {
    return this.next("done", (frame) => frame.id === id);
  }

  failed(id: number): Promise<Of<"failed">> {
    return this.next("failed", (frame) => frame.id === id);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#hosted;
    this.post({ kind: "close", id: -1 });
    await this.done(-1);
    this.#port.close();
  }
}

const filter = { topic: "a", pattern: false, serves: false };

describe("host()", () => {
  it("posts ready with the receiver's inbox, and opens the receiver with the options of the hello", async () => {
    await using main = new Main();
    assertEquals((await main.next("ready")).inbox, main.receiver.inbox);
    const { namespace, options, connectTimeout } = main.context;
    assertEquals({ namespace, options, connectTimeout }, { namespace: "n", options: { a: 1 }, connectTimeout: 1_000 });
  });

  it("posts fatal with the name and code of the error if the receiver fails to open", async () => {
    await using main = new Main(() => Promise.reject(new ProviderError("denied", "Cannot open: wrong password")));
    const { error } = await main.next("fatal");
    assertEquals([error.name, error.code, error.message], ["ProviderError", "denied", "Cannot open: wrong password"]);
  });

  it("handles requests that were posted before the receiver was open", async () => {
    const opened = Promise.withResolvers<void>();
    const receiver = new TestReceiver();
    await using main = new Main(async () => {
      await opened.promise;
      return receiver;
    });
    main.post({ kind: "subscribe", id: 1, subscription: 1, filter, credit: 100 });
    main.post({ kind: "ask", id: 2, verb: "echo", argument: "x" });
    opened.resolve();
    await main.done(1);
    assertEquals((await main.done(2)).value, "x");
    assertEquals(receiver.calls, [["subscribe", filter], ["answer", "echo"]]);
  });

  it("changes the bindings of a queue one after another, also after a change that failed; other queues do not wait", async () => {
    const { promise: bound, reject } = Promise.withResolvers<void>();
    const changes: string[] = [];
    const change = (what: string) => (_: unknown, queue: string) => {
      changes.push(`${what} ${queue}`);
      return what === "bind" && queue === "q" ? bound : Promise.resolve();
    };
    await using main = new Main(() =>
      Promise.resolve(Object.assign(new TestReceiver(), { binder: { bind: change("bind"), unbind: change("unbind") } }))
    );
    main.post(
      { kind: "subscribe", id: 1, subscription: 1, filter, credit: 1, queue: "q" },
      { kind: "unbind", id: 2, filter, queue: "q" },
      { kind: "unbind", id: 3, filter, queue: "other" },
    );
    await main.done(3);
    assertEquals(changes, ["bind q", "unbind other"]);
    reject(new ProviderError("unavailable", "Cannot bind: no connection"));
    assertEquals((await main.failed(1)).error.code, "unavailable");
    await main.done(2);
    assertEquals(changes, ["bind q", "unbind other", "unbind q"]);
  });

  it("returns heartbeats while the receiver is being opened and later", async () => {
    const opened = Promise.withResolvers<void>();
    await using main = new Main(async () => {
      await opened.promise;
      return new TestReceiver();
    });
    main.post({ kind: "beat" });
    await main.next("beat");
    opened.resolve();
    await main.next("ready");
    main.post({ kind: "beat" });
    await main.next("beat");
  });

  it("passes on messages of a served function's topic, also after its subscription has ended", async () => {
    await using main = new Main();
    await main.next("ready");
    main.post({ kind: "subscribe", id: 1, subscription: 1, filter: { ...filter, serves: true }, credit: 1 });
    await main.done(1);
    const emit = main.receiver.emits.get("a")!;
    emit("a", "1");
    main.post({ kind: "unsubscribe", id: 2, subscription: 1 });
    await main.done(2);
    emit("a", "late");
    const [first, late] = [await main.next("requests"), await main.next("requests")];
    assertEquals([first.topics, first.bodies, late.bodies], [["a"], ["1"], ["late"]]);
  });

  it("posts all frames of one turn as one array", async () => {
    await using main = new Main();
    await main.next("ready");
    main.post(
      { kind: "subscribe", id: 1, subscription: 1, filter, credit: 10_000 },
      { kind: "subscribe", id: 2, subscription: 2, filter: { ...filter, topic: "b" }, credit: 10_000 },
    );
    await main.done(2);
    const before = main.batches.length;
    const [a, b] = [main.receiver.emits.get("a")!, main.receiver.emits.get("b")!];
    for (let i = 0; i < 50; i++) {
      a("a", `${i}`);
      b("b", `${i}`);
    }
    main.context.inbox("answer");
    const { runs } = await main.next("events");
    assertEquals(runs.length, 2 * 100);
    assertEquals(main.batches.length, before + 1);
    assertEquals(main.batches.at(-1)!.map((frame) => frame.kind), ["events", "inbox"]);
  });

  it("passes on answers and confirmations while events wait for credit", async () => {
    await using main = new Main();
    main.post({ kind: "subscribe", id: 1, subscription: 1, filter, credit: 1 });
    await main.done(1);
    const emit = main.receiver.emits.get("a")!;
    for (let i = 0; i < 100; i++) emit("a", `event ${i}`);
    main.context.inbox("answer");
    main.post({ kind: "ask", id: 2, verb: "echo", argument: "x" });
    assertEquals((await main.next("inbox")).bodies, ["answer"]);
    assertEquals((await main.done(2)).value, "x");
    assertEquals(unpack((await main.next("events")).bodies), ["event 0"]);
    main.post({ kind: "credit", subscription: 1, count: 100 * cost("event 99") });
    assertEquals(unpack((await main.next("events")).bodies).length, 99);
  });

  it("emits nothing after a subscription was ended", async () => {
    await using main = new Main();
    main.post({ kind: "subscribe", id: 1, subscription: 1, filter, credit: 1 });
    await main.done(1);
    const emit = main.receiver.emits.get("a")!;
    emit("a", "1");
    emit("a", "2");
    main.post({ kind: "unsubscribe", id: 2, subscription: 1 }, { kind: "unsubscribe", id: 3, subscription: 1 });
    await main.done(3);
    emit("a", "3");
    main.post({ kind: "credit", subscription: 1, count: 10_000 }, { kind: "ask", id: 4, verb: "echo", argument: 0 });
    await main.done(4);
    const bodies = main.batches.flat().flatMap((frame) => frame.kind === "events" ? unpack(frame.bodies) : []);
    assertEquals(bodies, ["1"]);
    assertEquals(main.receiver.calls.filter(([verb]) => verb === "unsubscribe"), [["unsubscribe", "a"]]);
  });

  it("answers a failed request with the error, even if it was thrown synchronously", async () => {
    await using main = new Main();
    main.receiver.failures.push(new QueueFullError("q"), new Error("odd"));
    main.post({ kind: "subscribe", id: 1, subscription: 1, filter, credit: 1 });
    const first = await main.failed(1);
    assertEquals([first.error.name, first.error.code], ["QueueFullError", "queue_full"]);
    main.post({ kind: "subscribe", id: 2, subscription: 2, filter, credit: 1 });
    const second = await main.failed(2);
    assertEquals([second.error.code, second.error.message], ["internal", "odd"]);
    Object.assign(main.receiver, { answer: undefined });
    main.post({ kind: "ask", id: 3, verb: "echo", argument: 0 });
    assertEquals((await main.failed(3)).error.code, "internal");
  });

  it("asks main, and passes the answer or the error to the receiver", async () => {
    await using main = new Main();
    await main.next("ready");
    const asked = main.context.ask("credentials", { region: "r" });
    const ask = await main.next("ask");
    assertEquals([ask.verb, ask.argument], ["credentials", { region: "r" }]);
    main.post({ kind: "answer", id: ask.id, value: "secret" });
    assertEquals(await asked, "secret");
    const refused = main.context.ask("credentials", 0).catch((error) => error);
    const error = { name: "ProviderError", code: "denied" as const, message: "no", retryable: false };
    main.post({ kind: "answer", id: (await main.next("ask")).id, error });
    const thrown = await refused;
    assert(thrown instanceof ProviderError && thrown.code === "denied");
  });

  it("all gets of one queue share one call to the receiver", async () => {
    await using main = new Main();
    for (let id = 1; id <= 100; id++) main.post({ kind: "receive", id, queue: "q", max: 1, wait: Infinity });
    main.post({ kind: "ask", id: 101, verb: "echo", argument: 0 });
    await main.done(101);
    assertEquals(main.receiver.calls.filter(([verb]) => verb === "receive").length, 1);
    main.receiver.offer("1");
    assertEquals((await main.done(1)).value, [{ receipt: "lease of 1", body: "1", attempt: 1 }]);
    main.receiver.offer("2", "3");
    await main.done(2);
    await main.done(3);
  });

  it("loses no item to a get that was cancelled or timed out", async () => {
    await using main = new Main();
    main.post({ kind: "receive", id: 1, queue: "q", max: 1, wait: Infinity });
    main.post({ kind: "cancel", id: 1, queue: "q" });
    assertEquals((await main.done(1)).value, []);
    main.post({ kind: "receive", id: 2, queue: "q", max: 1, wait: 20 });
    assertEquals((await main.done(2)).value, []);
    main.receiver.offer("1");
    main.post({ kind: "receive", id: 3, queue: "q", max: 1, wait: Infinity });
    const [delivery] = (await main.done(3)).value as { body: string }[];
    assertEquals(delivery?.body, "1");
  });

  it("gives back items for a get that has ended: to the head of the queue, in their order", async () => {
    await using main = new Main();
    // the transport has taken three items for a get that is cancelled at the same moment
    main.post({ kind: "receive", id: 1, queue: "q", max: 3, wait: Infinity });
    main.post({ kind: "ask", id: 2, verb: "echo", argument: 0 });
    await main.done(2);
    main.receiver.offer("1", "2", "3");
    main.post({ kind: "cancel", id: 1, queue: "q" });
    const { value } = await main.done(1);
    main.post({ kind: "receive", id: 3, queue: "q", max: 3, wait: 0 });
    const rest = (await main.done(3)).value;
    const bodies = [value, rest].flatMap((deliveries) => (deliveries as { body: string }[]).map(({ body }) => body));
    assertEquals(bodies, ["1", "2", "3"]);
  });

  it("calls the receiver once for a get that does not wait, even while another get waits", async () => {
    await using main = new Main();
    main.post({ kind: "receive", id: 1, queue: "q", max: 1, wait: Infinity });
    main.post({ kind: "receive", id: 2, queue: "q", max: 1, wait: 0 });
    assertEquals((await main.done(2)).value, []);
    main.receiver.offer("1");
    await main.done(1);
  });

  it("rejects a get that does not wait if the transport is unreachable, while the other gets continue to wait", async () => {
    await using main = new Main();
    await main.next("ready");
    main.receiver.failures.push(new ProviderError("unavailable", "Cannot receive: no connection"));
    main.post(
      { kind: "receive", id: 1, queue: "q", max: 1, wait: Infinity },
      { kind: "receive", id: 2, queue: "q", max: 1, wait: 0 },
    );
    assertEquals((await main.failed(2)).error.code, "unavailable");
    main.receiver.offer("1");
    const { value } = await main.done(1);
    assertEquals((value as { body: string }[]).map(({ body }) => body), ["1"]);
  });

  it("rejects a get whose time has passed while the transport is unreachable: the queue may have items", async () => {
    await using main = new Main();
    await main.next("ready");
    main.context.state(false, new ProviderError("unavailable", "Cannot reach Redis: it refused the connection"));
    main.post(
      { kind: "receive", id: 1, queue: "q", max: 1, wait: 20 },
      { kind: "receive", id: 2, queue: "q", max: 1, wait: 20, lease: 60 },
    );
    const { error } = await main.failed(1);
    assertEquals(
      [error.name, error.code, error.message],
      ["ProviderError", "unavailable", 'Cannot get from queue "q": it refused the connection'],
    );
    assertEquals((await main.failed(2)).error.message, 'Cannot receive from queue "q": it refused the connection');
    main.context.state(true);
    main.post({ kind: "receive", id: 3, queue: "q", max: 1, wait: 20 });
    assertEquals((await main.done(3)).value, []);
  });

  it("rejects a get whose time has passed with the error of its last attempt", async () => {
    await using main = new Main();
    await main.next("ready");
    for (let i = 0; i < 50; i++) {
      main.receiver.failures.push(new ProviderError("unavailable", "Cannot get: no connection"));
    }
    main.post({ kind: "receive", id: 1, queue: "q", max: 1, wait: 20 });
    assertEquals((await main.failed(1)).error.message, "Cannot get: no connection");
    main.receiver.failures.length = 0;
    main.post({ kind: "receive", id: 2, queue: "q", max: 1, wait: 20 });
    assertEquals((await main.done(2)).value, []);
  });

  it("extends leases until they are settled, and gives back the others when it closes; only started items count an attempt", async () => {
    await using main = new Main();
    main.receiver.offer("1", "2", "3");
    main.post({ kind: "receive", id: 1, queue: "q", max: 3, wait: 0, lease: 60 });
    await main.done(1);
    const extensions = () => main.receiver.calls.filter(([verb]) => verb === "extend");
    while (extensions().length < 2) await new Promise((resolve) => setTimeout(resolve, 5));
    assertEquals(extensions()[0], ["extend", "q", ["lease of 1", "lease of 2", "lease of 3"], 60]);
    main.post({ kind: "settle", id: 2, queue: "q", receipts: ["lease of 1"], outcome: "ack", delay: 0 });
    assertEquals((await main.done(2)).value, [true]);
    main.post({ kind: "start", id: 3, queue: "q", receipts: ["lease of 2", "nobody's"] });
    assertEquals((await main.done(3)).value, [true, false]);
    main.post({ kind: "close", id: 4 });
    assertEquals((await main.done(4)).value, { returned: 2, uncertain: 0 });
    assertEquals(main.receiver.calls.slice(-2), [
      ["settle", "q", ["lease of 3"], "untried", 0],
      ["settle", "q", ["lease of 2"], "nack", 0],
    ]);
    assert(main.receiver.closed);
    const settled = extensions().length;
    await new Promise((resolve) => setTimeout(resolve, 100)); // a lease and a half: nothing is extended any more
    assertEquals(extensions().length, settled);
  });

  it("reports a lease that could not be settled as lost when it ends, and does not extend it", async () => {
    await using main = new Main();
    main.receiver.offer("1");
    const lease = 600;
    const start = performance.now();
    main.post({ kind: "receive", id: 1, queue: "q", max: 1, wait: 0, lease });
    await main.done(1);
    main.receiver.failures.push(new ProviderError("unavailable", "Cannot settle: no connection"));
    main.post({ kind: "settle", id: 2, queue: "q", receipts: ["lease of 1"], outcome: "ack", delay: 0 });
    assertEquals((await main.failed(2)).error.code, "unavailable");
    const { queue, receipts } = await main.next("lost");
    assertEquals([queue, receipts], ["q", ["lease of 1"]]);
    assert(performance.now() - start >= lease - 1, "the lease had not ended");
    assert(main.receiver.calls.every(([verb]) => verb !== "extend"));
  });

  it("rejects gets and questions with a ClosedError when it closes, even while the receiver is being opened", async () => {
    await using main = new Main();
    await main.next("ready");
    main.post({ kind: "receive", id: 1, queue: "q", max: 1, wait: Infinity });
    const asked = main.context.ask("credentials", 0).catch((error) => error.code);
    main.post({ kind: "close", id: 2 });
    assertEquals((await main.failed(1)).error.code, "closed");
    assertEquals(await asked, "closed");
    await main.done(2);

    const opened = Promise.withResolvers<void>();
    const late = new TestReceiver();
    const early = new Main(async () => {
      await opened.promise;
      return late;
    });
    early.post({ kind: "close", id: 1 });
    await early.done(1);
    opened.resolve();
    await early[Symbol.asyncDispose]();
    assert(late.closed);
  });
});
