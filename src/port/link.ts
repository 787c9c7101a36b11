/**
 * Main's end of the port. It sends requests to the receiver of the current worker, and passes on its answers, events and messages.
 *
 * @module
 */
import { BusError, ClosedError, fromPlain, type PlainError, ProviderError, toPlain } from "../errors.ts";
import type { Delivery, Filter, Outcome, Provider } from "../provider/provider.ts";
import { onAbort } from "../internal/aborts.ts";
import { NumberMap } from "../internal/text_map.ts";
import { unpack } from "./batch.ts";
import { cost, INBOX, WINDOW } from "./credit.ts";
import { LostLeases } from "./lost_leases.ts";
import { Outbox } from "./outbox.ts";
import type { Answers, Ended, FromReceiver, ToWorker } from "./protocol.ts";
import { type OnGap, type Receive, REPLACED, type Stream, Streams } from "./streams.ts";
import type { Place } from "./pool.ts";
import { type Opening, Supervisor } from "./supervisor.ts";

/** The callbacks of a link to its bus. */
export interface LinkEvents {
  /** Called when the worker has died. All pending requests were rejected with this error. */
  died(error: BusError): void;
  /** Called when the receiver's connection was lost or restored. A dead worker counts as a lost connection. */
  state(connected: boolean, error?: BusError): void;
  /** Called when events may be missing and no subscription reports the gap among its own events. */
  gap(reason: string, lost: number): void;
  /** Called with a fault that belongs to no request. `rejected` is true if a message caused it: a peer can send many. */
  fault(error: PlainError, rejected?: boolean): void;
  /** Called with messages for this bus's inbox. */
  inbox(bodies: string[]): void;
  /**
   * Called with bodies from the topics of served functions, one topic for each body; also for a moment after the subscription has ended.
   */
  requests(topics: string[], bodies: string[]): void;
  /** Called when a batch of frames was posted. */
  posted(): void;
}

/** Requests that may change something at the transport. */
const CHANGES: ReadonlySet<ToWorker["kind"]> = new Set<ToWorker["kind"]>(["ask", "start", "settle", "unbind"]);

interface Pending {
  readonly frame: ToWorker;
  resolve(value: never): void;
  reject(error: unknown): void;
}

type Request<F = ToWorker> = F extends { id: number } ? Omit<F, "id"> : never;

/** The connection to a receiver. When its worker dies, a new worker replaces it. */
export class Link {
  /** The address of this bus's inbox. A new worker has another address; until it is ready, this is the address of the dead one. */
  inbox = "";
  /** The leases that the worker can no longer extend. */
  readonly leases: LostLeases = new LostLeases();
  #provider: Provider;
  #events: LinkEvents;
  #worker: Supervisor;
  #address = Promise.withResolvers<string>();
  /** Whether the receiver is connected to its transport. */
  #connected = true;
  /** Whether the receiver has all subscriptions that its predecessor had. */
  #resumed = true;
  #closed = false;
  #outbox = new Outbox(
    (frames) => {
      const { up } = this.#worker;
      if (up) this.#worker.post(frames);
      return up;
    },
    // a failed attempt is counted when the item goes back
    (queue, receipts) => void this.start(queue, receipts).catch(() => {}),
  );
  #lastId = 0;
  #pending = new NumberMap<Pending>();
  /** The cost of inbox messages that main has handled and that the worker has no credit for yet. */
  #owed = 0;
  #streams: Streams;

  private constructor(provider: Provider, opening: Opening, events: LinkEvents) {
    this.#provider = provider;
    this.#events = events;
    this.#address.promise.catch(() => {});
    this.#streams = new Streams({
      worker: () => this.#worker.up ? this.inbox : undefined,
      connected: () => this.#connected,
      nextId: () => this.nextId(),
      subscribe: (subscription, filter, queue) =>
        this.request<"subscribe">({ kind: "subscribe", subscription, filter, credit: WINDOW, queue }),
      unsubscribe: (subscription) => this.request<"unsubscribe">({ kind: "unsubscribe", subscription }),
      credit: (subscription, count) => this.#post({ kind: "credit", subscription, count }),
      fault: events.fault,
    });
    this.#worker = new Supervisor(provider, opening, {
      ready: (inbox) => this.#resume(inbox),
      frame: (frame, reply) => this.#receive(frame, reply),
      died: (error) => this.#died(error),
      replaced: () => {
        // an item of a `get` may also be lost with the worker
        if (!this.#streams.reportsGaps) events.gap(REPLACED, 0);
        this.#resumed = true;
        if (this.#connected) events.state(true);
      },
      fault: events.fault,
      posted: events.posted,
    });
  }

  /**
   * Opens a receiver in the worker of this place or, without a place, in a new or shared worker. If that fails or the signal aborts, it
   * rejects and leaves nothing behind.
   */
  static async open(
    provider: Provider,
    opening: Opening,
    events: LinkEvents,
    place?: Place,
    signal?: AbortSignal,
  ): Promise<Link> {
    const link = new Link(provider, opening, events);
    await link.#worker.start(place, signal);
    return link;
  }

  /** The number of times that the worker was replaced. */
  get restarts(): number {
    return this.#worker.restarts;
  }

  /** The time of the last message from the worker, in milliseconds of `Date.now()`. */
  get lastHeard(): number {
    return this.#worker.lastHeard;
  }

  /**
   * Sends a request in this turn or, with `soon`, together with the next request. Rejects with the receiver's error, or when the worker
   * dies or the link is closed.
   */
  request<K extends keyof Answers>(
    frame: Request<ToWorker & { kind: K }>,
    id: number = this.nextId(),
    soon = false,
  ): Promise<Answers[K]> {
    if (this.#closed) return Promise.reject(new ClosedError());
    return new Promise((resolve, reject) => {
      const sent = { ...frame, id } as unknown as ToWorker;
      this.#pending.set(id, { frame: sent, resolve, reject });
      this.#outbox.add(sent, soon);
    });
  }

  /** Resolves with the address of this bus's inbox as soon as a receiver is ready. */
  address(): Promise<string> {
    return this.#address.promise;
  }

  /** Returns an id for a request that can be cancelled. */
  nextId(): number {
    return ++this.#lastId;
  }

  /** Receives items from a queue. Resolves with none after `wait` ms. Rejects with the signal's reason if the signal aborts before items arrive. */
  async receive(
    queue: string,
    options: { max: number; wait: number; lease?: number; signal?: AbortSignal },
  ): Promise<Delivery[]> {
    const { max, wait, lease, signal } = options;
    signal?.throwIfAborted();
    const id = this.nextId();
    const stop = signal && onAbort(signal, () => this.#post({ kind: "cancel", id, queue, lease }));
    try {
      const deliveries = await this.request<"receive">({ kind: "receive", queue, max, wait, lease }, id);
      if (deliveries.length === 0) signal?.throwIfAborted();
      return deliveries;
    } finally {
      stop?.();
    }
  }

  /** Records that the handlers of leases start. Resolves with true for each lease that was still valid. */
  start(queue: string, receipts: string[]): Promise<boolean[]> {
    return this.#outbox.merge(
      `start ${queue}`,
      receipts,
      false,
      (receipts) => this.request<"start">({ kind: "start", queue, receipts }),
    );
  }

  /** Records soon that the handler of a lease starts. Records nothing if the lease is settled before that. */
  startSoon(queue: string, receipt: string): void {
    this.#outbox.start(queue, receipt);
  }

  /** Settles leases in this turn or, with `soon`, together with the next request. Resolves with true for each lease that was still valid. */
  settle(queue: string, receipts: string[], outcome: Outcome, delay = 0, soon = false): Promise<boolean[]> {
    this.#outbox.settled(queue, receipts);
    return this.#outbox.merge(
      `${outcome} ${delay} ${queue}`,
      receipts,
      soon,
      (receipts) => this.request<"settle">({ kind: "settle", queue, receipts, outcome, delay }, this.nextId(), soon),
    );
  }

  /** Sends the requests that were delayed by `soon`. */
  flush(): void {
    this.#outbox.flush();
  }

  /** Creates a subscription, and restores it after each replacement of the worker, until the stream is closed. `onGap` is called at each gap. */
  subscribe(filter: Filter, receive: Receive, onGap?: OnGap): Stream {
    return this.#streams.open(filter, receive, onGap);
  }

  /**
   * Binds a queue to a topic or a pattern. Repeats that after each replacement of the worker, until the stream is closed. Closing it does
   * not end the binding. `onGap` is called when the transport had lost the binding.
   */
  bind(filter: Filter, queue: string, onGap: OnGap): Stream {
    return this.#streams.open(filter, () => {}, onGap, queue);
  }

  /** Ends the binding of a queue. */
  unbind(filter: Filter, queue: string): Promise<void> {
    return this.request<"unbind">({ kind: "unbind", filter, queue });
  }

  /** Closes the receiver. If `over` resolves first, it aborts the receiver: the result is not `clean`, and items of pending gets may be lost. */
  async close(over: Promise<void>): Promise<Ended & { readonly clean: boolean }> {
    let ended: Ended | void = { returned: 0, uncertain: 0 };
    if (this.#closed) return { ...ended, clean: true };
    this.leases.closing = true;
    let uncertain = 0; // the largest number of items that pending requests may take without a lease
    for (const { frame } of this.#pending.values()) {
      if (frame.kind === "receive" && frame.lease === undefined) uncertain += frame.max;
    }
    if (this.#worker.up) {
      this.#outbox.flushStarts();
      ended = await Promise.race([this.request<"close">({ kind: "close" }).catch(() => undefined), over]);
    }
    this.#closed = true;
    this.#outbox.clear();
    this.#worker.close();
    const text = "Cannot tell whether a request was executed: the bus was closed before the answer arrived";
    this.#rejectAll((kind) => CHANGES.has(kind) ? new ProviderError("unavailable", text) : new ClosedError());
    this.#address.reject(new ClosedError());
    this.#streams.close();
    this.leases.loseAll();
    return ended ? { ...ended, clean: true } : { returned: 0, uncertain, clean: false };
  }

  /** Restores all subscriptions, then sends the requests that were made meanwhile, so that they find the subscriptions. */
  async #resume(inbox: string): Promise<void> {
    this.inbox = inbox;
    this.#address.resolve(inbox);
    this.#connected = true;
    const asked = this.#outbox.take();
    const resumed = this.#streams.resume();
    for (const frame of asked) this.#outbox.add(frame, false);
    this.#outbox.flush();
    await resumed;
  }

  #died(error: BusError): void {
    this.#outbox.clear();
    this.#resumed = false;
    this.#streams.broke();
    this.#owed = 0;
    this.#address = Promise.withResolvers();
    this.#address.promise.catch(() => {});
    this.#rejectAll(() => error);
    this.leases.loseAll(error);
    this.#events.died(error);
    this.#events.state(false, error);
  }

  #rejectAll(errorOf: (kind: ToWorker["kind"]) => BusError): void {
    const all = [...this.#pending.values()];
    this.#pending = new NumberMap();
    for (const pending of all) pending.reject(errorOf(pending.frame.kind));
  }

  #post(frame: ToWorker): void {
    this.#outbox.add(frame, false);
  }

  #receive(frame: FromReceiver, reply: (frame: ToWorker) => void): void {
    switch (frame.kind) {
      case "events":
        return this.#streams.receive(frame);
      case "inbox": {
        const bodies = unpack(frame.bodies);
        this.#events.inbox(bodies);
        return this.#creditInbox(bodies);
      }
      case "requests":
        this.#events.requests(frame.topics, frame.bodies);
        return this.#creditInbox(frame.bodies);
      case "done":
        return this.#settleRequest(frame.id, (pending) => pending.resolve(frame.value as never));
      case "failed":
        return this.#settleRequest(frame.id, (pending) => pending.reject(fromPlain(frame.error)));
      case "gap":
        if (frame.subscription === undefined) return this.#events.gap(frame.reason, frame.lost);
        return this.#streams.gap(frame.subscription, frame.reason, frame.lost);
      case "lost":
        return this.leases.lose(frame.queue, frame.receipts);
      case "state":
        this.#connected = frame.connected;
        if (frame.connected) this.#streams.rebind();
        // `replaced` reports "up" after everything is subscribed and registered again
        if (frame.connected && !this.#resumed) return;
        return this.#events.state(frame.connected, frame.error && fromPlain(frame.error));
      case "fault":
        return this.#events.fault(frame.error, frame.rejected);
      case "ask":
        return void this.#answer(frame, reply);
      default:
        frame satisfies never;
    }
  }

  /** Gives credit for handled messages that belong to no subscription. */
  #creditInbox(bodies: string[]): void {
    for (const body of bodies) this.#owed += cost(body);
    if (this.#owed < WINDOW / 2) return;
    this.#post({ kind: "credit", subscription: INBOX, count: this.#owed });
    this.#owed = 0;
  }

  #settleRequest(id: number, settle: (pending: Pending) => void): void {
    const pending = this.#pending.get(id);
    this.#pending.delete(id);
    if (pending) settle(pending);
  }

  /** Sends the answer to the worker that asked, even if it is not ready, but not to its successor. */
  async #answer(frame: FromReceiver & { kind: "ask" }, reply: (frame: ToWorker) => void): Promise<void> {
    try {
      const { askHandler } = this.#provider;
      if (!askHandler) {
        throw new BusError("internal", `Cannot answer "${frame.verb}": the provider has no answers`);
      }
      reply({ kind: "answer", id: frame.id, value: await askHandler.answer(frame.verb, frame.argument) });
    } catch (error) {
      reply({ kind: "answer", id: frame.id, error: toPlain(error) });
    }
  }
}
