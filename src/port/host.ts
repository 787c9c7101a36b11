/**
 * The worker's end of the port. It runs a receiver, and exchanges frames with the main thread.
 *
 * @module
 */
import { BusError, ClosedError, fromPlain, toPlain } from "../errors.ts";
import type { Binder, Emit, Filter, OpenReceiver, Receiver, ReceiverContext } from "../provider/provider.ts";
import { Inflow } from "./inflow.ts";
import { Intake } from "./intake.ts";
import { Leases } from "./leases.ts";
import type { Ended, Hello, Listening, ToMain, ToWorker } from "./protocol.ts";
import { Timers } from "./timers.ts";

const scope = globalThis as unknown as {
  addEventListener(type: "message", listener: (event: MessageEvent) => void): void;
  postMessage(message: Listening): void;
};

/** Makes this worker run a receiver for each `Hello` that its parent posts. A worker entry needs nothing else. */
export function serve(open: OpenReceiver): void {
  listen(open);
  scope.postMessage({ kind: "tsmq:listening" });
}

/**
 * Does the same as {@linkcode serve} for a module that is still loading, so that main can greet the worker meanwhile. If the module cannot
 * be loaded, the worker has an uncaught error, as with a static import.
 */
export function serveModule(loading: Promise<{ readonly openReceiver: OpenReceiver }>): void {
  const loaded = loading.catch((error) => {
    reportError(error);
    return new Promise<never>(() => {}); // main terminates the worker
  });
  listen(async (context) => (await loaded).openReceiver(context));
  scope.postMessage({ kind: "tsmq:listening", loading: true });
  loaded.then(() => scope.postMessage({ kind: "tsmq:listening" }));
}

function listen(open: OpenReceiver): void {
  scope.addEventListener("message", (event) => {
    const hello = event.data as Hello;
    if (hello?.kind === "tsmq:hello") void host(hello, open);
  });
}

/** Runs one receiver on the port of a `Hello`, until the `close` or `abort` frame. */
export async function host(hello: Hello, open: OpenReceiver): Promise<void> {
  const host = new Host(hello);
  await host.open(hello, open);
}

class Host {
  #port: MessagePort;
  #receiver: Receiver | undefined;
  #early: ToWorker[] = [];
  #outbox: ToMain[] = [];
  #flushing = false;
  #closed = false;
  #aborted = false;
  /** Whether `close` has ended the receiver. */
  #ended = false;
  #arrived = 0;
  #inflow: Inflow;
  #filters = new Map<number, Filter>();
  #subscriptions = new Map<Filter, number>();
  /** Queue → settles with the last change of its bindings. */
  #changes = new Map<string, Promise<void>>();
  #intakes = new Map<string, Intake>();
  #timers = new Timers();
  /** The reason why the receiver is disconnected from its transport; undefined while it is connected. */
  #outage: unknown;
  #leases: Leases | undefined;
  #asks = new Map<number, PromiseWithResolvers<unknown>>();
  #lastAsk = 0;

  constructor(hello: Hello) {
    this.#port = hello.port;
    this.#inflow = new Inflow((frame) => this.#post(frame));
    this.#port.onmessage = (event) => {
      this.#arrived++;
      for (const frame of event.data as ToWorker[]) {
        try {
          this.#receiveFrame(frame);
        } catch (error) {
          this.#post({ kind: "fault", error: toPlain(error) }); // the other frames are still handled
        }
      }
    };
  }

  async open(hello: Hello, open: OpenReceiver): Promise<void> {
    const inflow = this.#inflow;
    const arrived = () => this.#arrived;
    const timers = this.#timers;
    const context: ReceiverContext = {
      namespace: hello.namespace,
      options: hello.options,
      origin: hello.origin,
      connectTimeout: hello.connectTimeout,
      maxReceive: hello.maxReceive,
      inbox: (body) => inflow.inbox(body),
      state: (connected, error) => {
        this.#outage = connected ? undefined : error ?? "the transport is unreachable";
        this.#post({ kind: "state", connected, error: error === undefined ? undefined : toPlain(error) });
      },
      gap: (reason, filter) => this.#gap(reason, filter),
      fault: (error, rejected) => this.#post({ kind: "fault", error: toPlain(error), rejected }),
      get congested() {
        return inflow.congested;
      },
      get arrived() {
        return arrived();
      },
      get due() {
        return timers.due;
      },
      ask: (verb, argument) => this.#ask(verb, argument),
    };
    inflow.onDrain = () => context.onDrain?.();
    try {
      const receiver = await open(context);
      this.#receiver = receiver;
      if (this.#aborted) return receiver.abort();
      if (this.#closed) return void await receiver.close();
      this.#leases = new Leases(
        receiver,
        timers,
        (queue, receipts) => this.#post({ kind: "lost", queue, receipts }),
      );
      this.#post({ kind: "ready", inbox: receiver.inbox });
      for (const frame of this.#early.splice(0)) this.#receiveFrame(frame);
    } catch (error) {
      this.#post({ kind: "fatal", error: toPlain(error) });
    }
  }

  /** Posts a frame. All frames of one turn are sent as one array. */
  #post(frame: ToMain): void {
    if (this.#aborted) return;
    this.#outbox.push(frame);
    if (this.#flushing) return;
    this.#flushing = true;
    queueMicrotask(() => {
      this.#flushing = false;
      this.#inflow.sent();
      this.#port.postMessage(this.#outbox);
      this.#outbox = [];
    });
  }

  #reply<T>(id: number, work: () => T | Promise<T>): void {
    const fail = (error: unknown) => this.#post({ kind: "failed", id, error: toPlain(error) });
    try {
      const value = work();
      if (!(value instanceof Promise)) return this.#post({ kind: "done", id, value });
      value.then((value) => this.#post({ kind: "done", id, value }), fail);
    } catch (error) {
      fail(error);
    }
  }

  /** Changes the bindings of a queue one after another: an earlier `bind` must not take effect after an `unbind`. */
  #replyInOrder(id: number, queue: string, work: () => Promise<boolean | void>): void {
    const changed = (this.#changes.get(queue) ?? Promise.resolve()).then(work);
    const settled: Promise<void> = changed.catch(() => {}).then(() => {
      if (this.#changes.get(queue) === settled) this.#changes.delete(queue);
    });
    this.#changes.set(queue, settled);
    this.#reply(id, () => changed);
  }

  #receiveFrame(frame: ToWorker): void {
    const receiver = this.#receiver;
    if (frame.kind === "beat") return this.#post(frame);
    if (frame.kind === "answer") return this.#answered(frame);
    if (frame.kind === "close") return this.#reply(frame.id, () => this.#close());
    if (frame.kind === "abort") return this.#abort();
    if (!receiver) return void this.#early.push(frame);
    switch (frame.kind) {
      case "subscribe":
        if (frame.queue !== undefined) {
          return this.#replyInOrder(frame.id, frame.queue, () => binderOf(receiver).bind(frame.filter, frame.queue!));
        }
        this.#forget(frame.subscription); // main retries after a failure
        this.#filters.set(frame.subscription, frame.filter);
        this.#subscriptions.set(frame.filter, frame.subscription);
        return this.#reply(frame.id, () => receiver.subscribe(frame.filter, this.#emitOf(frame)));
      case "unsubscribe":
        return this.#reply(frame.id, () => this.#unsubscribe(receiver, frame.subscription));
      case "unbind":
        return this.#replyInOrder(frame.id, frame.queue, () => binderOf(receiver).unbind(frame.filter, frame.queue));
      case "credit":
        return this.#inflow.credit(frame.subscription, frame.count);
      case "receive":
        return this.#receive(receiver, frame);
      case "cancel":
        return this.#intakes.get(intakeKey(frame))?.cancel(frame.id);
      case "start":
        return this.#reply(frame.id, () => this.#leases!.start(frame.queue, frame.receipts));
      case "settle":
        return this.#reply(
          frame.id,
          () => this.#leases!.settle(frame.queue, frame.receipts, frame.outcome, frame.delay),
        );
      case "ask":
        return this.#reply(frame.id, () => {
          if (!receiver.askHandler) {
            throw new BusError("internal", `Cannot answer "${frame.verb}": the receiver has no answers`);
          }
          return receiver.askHandler.answer(frame.verb, frame.argument);
        });
      default:
        frame satisfies never;
    }
  }

  #forget(subscription: number): Filter | undefined {
    const filter = this.#filters.get(subscription);
    this.#filters.delete(subscription);
    if (filter) this.#subscriptions.delete(filter);
    return filter;
  }

  #gap(reason: string, filter?: Filter): void {
    // subscriptions that serve functions have no gaps: the caller sends a missed request again
    const concerned = filter ? [filter] : [...this.#subscriptions.keys()];
    const events = concerned.filter(({ serves }) => !serves);
    for (const each of events) this.#inflow.gap(this.#subscriptions.get(each) ?? -1, reason);
    if (!filter && events.length === 0) this.#post({ kind: "gap", reason, lost: 0 });
  }

  async #unsubscribe(receiver: Receiver, subscription: number): Promise<void> {
    const filter = this.#forget(subscription);
    if (!filter) return;
    this.#inflow.close(subscription);
    await receiver.unsubscribe(filter);
  }

  #emitOf({ subscription, filter, credit }: ToWorker & { kind: "subscribe" }): Emit {
    if (filter.serves) return (topic, body) => this.#inflow.request(topic, body);
    return this.#inflow.open(subscription, filter.pattern, credit);
  }

  #receive(receiver: Receiver, frame: ToWorker & { kind: "receive" }): void {
    const key = intakeKey(frame);
    let intake = this.#intakes.get(key);
    if (!intake) {
      const idle = () => this.#intakes.delete(key);
      const outage = () => this.#outage;
      intake = new Intake(receiver, this.#leases!, this.#timers, frame.queue, frame.lease, idle, outage);
      this.#intakes.set(key, intake);
    }
    this.#reply(frame.id, () => intake.take(frame.id, frame.max, frame.wait));
  }

  #ask(verb: string, argument: unknown): Promise<unknown> {
    if (this.#closed) return Promise.reject(new ClosedError());
    const id = ++this.#lastAsk;
    const asked = Promise.withResolvers<unknown>();
    this.#asks.set(id, asked);
    this.#post({ kind: "ask", id, verb, argument });
    return asked.promise;
  }

  #answered(frame: ToWorker & { kind: "answer" }): void {
    const asked = this.#asks.get(frame.id);
    this.#asks.delete(frame.id);
    if (frame.error) asked?.reject(fromPlain(frame.error));
    else asked?.resolve(frame.value);
  }

  async #close(): Promise<Ended> {
    if (this.#closed) return { returned: 0, uncertain: 0 };
    this.#closed = true;
    await Promise.all([...this.#intakes.values()].map((intake) => intake.close()));
    const returned = await this.#leases?.close() ?? 0;
    if (this.#aborted) throw new ClosedError(); // nothing receives the answer
    const uncertain = await this.#receiver?.close() || 0;
    this.#ended = true;
    this.#rejectAsks();
    return { returned, uncertain };
  }

  /** Ends everything of this bus immediately. The other buses of the worker continue. */
  #abort(): void {
    this.#aborted = this.#closed = true;
    this.#port.close();
    for (const intake of this.#intakes.values()) void intake.close();
    this.#leases?.stop();
    this.#inflow.end();
    this.#rejectAsks();
    if (!this.#ended) this.#receiver?.abort();
  }

  #rejectAsks(): void {
    for (const asked of this.#asks.values()) asked.reject(new ClosedError());
    this.#asks.clear();
  }
}

/** Returns the key of the gets of one queue with one length of lease. */
function intakeKey({ queue, lease }: { readonly queue: string; readonly lease?: number }): string {
  return `${lease ?? ""}:${queue}`;
}

function binderOf({ binder }: Receiver): Binder {
  if (binder) return binder;
  throw new BusError("internal", "Cannot store events in a queue: the receiver has no binder");
}
