/**
 * The subscriptions that main has over the port: their events, their credit and their gaps. Each is subscribed again when the worker was
 * replaced.
 *
 * @module
 */
import { BusError, ClosedError, fromPlain, toPlain } from "../errors.ts";
import { backoff, pause, RETRY } from "../internal/time.ts";
import type { Filter } from "../provider/provider.ts";
import { unpack } from "./batch.ts";
import { WINDOW } from "./credit.ts";
import type { FromReceiver } from "./protocol.ts";

/** The reason of a gap after the worker died. */
export const REPLACED = "the worker was replaced";

/** Receives the events of one frame: one topic for all bodies, or one for each. */
export type Receive = (topics: string | string[], bodies: string[]) => void;

/** Marks a gap: between the events that were received and those that will be. */
export type OnGap = (reason: string, lost: number) => void;

/** One subscription over the port. */
export interface Stream {
  /** Resolves when the transport has the subscription. */
  readonly ready: Promise<void>;
  /** Gives credit back: the cost of events that handlers have started. */
  credit(count: number): void;
  /**
   * Ends the subscription. Nothing is received after the call; a server receives until the transport has ended its subscription, so
   * that it can refuse the requests of that time.
   */
  close(): Promise<void>;
}

/** What the streams need of the link. */
export interface StreamsLink {
  /** Returns the inbox of the receiver that is ready, which tells one worker from the next. */
  worker(): string | undefined;
  /** Returns whether the receiver reaches its transport. */
  connected(): boolean;
  /** Returns a number for a new subscription. */
  nextId(): number;
  /** Asks the receiver to subscribe, with a full window of credit. */
  subscribe(subscription: number, filter: Filter): Promise<void>;
  /** Asks the receiver to end a subscription. */
  unsubscribe(subscription: number): Promise<void>;
  /** Gives credit to the receiver. */
  credit(subscription: number, count: number): void;
  /** Reports a fault that belongs to no request. */
  fault(error: BusError): void;
}

interface Subscription {
  readonly filter: Filter;
  readonly receive: Receive;
  readonly onGap: OnGap | undefined;
  readonly ready: PromiseWithResolvers<void>;
  /** The transport had the subscription once, so `ready` has resolved. */
  confirmed: boolean;
  /** The worker died after the subscription was confirmed, and the gap has not been reported. */
  broken: boolean;
  /** `close` was called: the next worker does not get the subscription. */
  ended: boolean;
  /** The cost of events that handlers have started and that the worker has no credit for yet. */
  owed: number;
}

/** All subscriptions of a link. */
export class Streams {
  #link: StreamsLink;
  #subscriptions = new Map<number, Subscription>();

  /** No subscription yet. */
  constructor(link: StreamsLink) {
    this.#link = link;
  }

  /** Whether any subscription reports its own gaps. */
  get reportsGaps(): boolean {
    return [...this.#subscriptions.values()].some(({ onGap }) => onGap !== undefined);
  }

  /** Subscribes, and again after each replacement of the worker, until the stream is closed. */
  open(filter: Filter, receive: Receive, onGap?: OnGap): Stream {
    const id = this.#link.nextId();
    const ready = Promise.withResolvers<void>();
    const state = { confirmed: false, broken: false, ended: false, owed: 0 };
    const subscription: Subscription = { filter, receive, onGap, ready, ...state };
    ready.promise.catch(() => {});
    this.#subscriptions.set(id, subscription);
    this.#subscribe(id, subscription);
    return {
      ready: ready.promise,
      credit: (count) => {
        subscription.owed += count;
        if (subscription.owed < WINDOW / 2) return;
        this.#link.credit(id, subscription.owed);
        subscription.owed = 0;
      },
      close: async () => {
        if (subscription.ended || this.#subscriptions.get(id) !== subscription) return;
        subscription.ended = true;
        if (!filter.serves) this.#subscriptions.delete(id);
        ready.reject(new ClosedError("Cannot subscribe: the subscription was ended"));
        try {
          if (this.#link.worker() !== undefined) await this.#link.unsubscribe(id);
        } finally {
          this.#subscriptions.delete(id);
        }
      },
    };
  }

  /** Subscribes everything again at a new worker. */
  async resume(): Promise<void> {
    await Promise.all([...this.#subscriptions].map(([id, subscription]) => this.#subscribe(id, subscription)));
  }

  /** Remembers that the worker died: each confirmed subscription has a gap. */
  broke(): void {
    for (const subscription of this.#subscriptions.values()) subscription.broken ||= subscription.confirmed;
  }

  /** Passes the events of a frame to their subscriptions. */
  receive({ runs, topics, bodies }: FromReceiver & { kind: "events" }): void {
    const all = unpack(bodies);
    const names = topics === undefined ? [] : unpack(topics);
    for (let run = 0, at = 0; run < runs.length; run += 2) {
      const from = at;
      at += runs[run + 1]!;
      const subscription = this.#subscriptions.get(runs[run]!);
      if (!subscription) continue; // it was closed meanwhile
      this.#reportReplacement(subscription);
      const { filter, receive } = subscription;
      const some = runs.length === 2 ? all : all.slice(from, at);
      this.#guard(() => receive(filter.pattern ? names.slice(from, at) : filter.topic, some));
    }
  }

  /** Reports a gap in the events of a subscription. */
  gap(id: number, reason: string, lost: number): void {
    const subscription = this.#subscriptions.get(id);
    if (!subscription?.confirmed) return; // nothing can be missing before it has begun
    this.#guard(() => subscription.onGap?.(reason, lost));
  }

  /** Ends all subscriptions. Those that are not ready reject with a `ClosedError`. */
  close(): void {
    for (const { ready } of this.#subscriptions.values()) ready.reject(new ClosedError());
    this.#subscriptions.clear();
  }

  /** Subscribes. An unreachable transport is tried again until the stream is closed or the worker replaced; any other refusal ends the stream. */
  async #subscribe(id: number, subscription: Subscription): Promise<void> {
    const worker = this.#link.worker(); // the next worker is asked by `resume`
    const live = () =>
      this.#subscriptions.get(id) === subscription && !subscription.ended && worker !== undefined &&
      this.#link.worker() === worker;
    subscription.owed = 0;
    for (let failures = 1; live(); failures++) {
      try {
        await this.#link.subscribe(id, subscription.filter);
        subscription.confirmed = true;
        this.#reportReplacement(subscription);
        return subscription.ready.resolve();
      } catch (error) {
        if (!live()) return;
        if (!(error instanceof BusError) || error.code !== "unavailable") {
          this.#subscriptions.delete(id);
          if (subscription.confirmed) this.#link.fault(fromPlain(toPlain(error)));
          return subscription.ready.reject(error);
        }
        // while the connection is down, the bus knows the reason already
        if (this.#link.connected() && failures === 1) this.#link.fault(error);
        await pause(backoff(RETRY.restore, failures));
      }
    }
  }

  /** Reports the gap that a dead worker left, before anything that its successor sends. */
  #reportReplacement(subscription: Subscription): void {
    if (!subscription.broken) return;
    subscription.broken = false;
    this.#guard(() => subscription.onGap?.(REPLACED, 0));
  }

  /** Runs a callback of a subscription: when it throws, the others go on. */
  #guard(act: () => void): void {
    try {
      act();
    } catch (error) {
      this.#link.fault(fromPlain(toPlain(error)));
    }
  }
}
