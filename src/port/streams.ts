/**
 * The subscriptions that main has over the port, with their events, credit and gaps. In a new worker, all of them are subscribed again.
 *
 * @module
 */
import { ClosedError, isUnavailable, type PlainError, toPlain } from "../errors.ts";
import { backoff, pause, RETRY } from "../internal/time.ts";
import type { Filter } from "../provider/provider.ts";
import { unpack } from "./batch.ts";
import { WINDOW } from "./credit.ts";
import type { FromReceiver } from "./protocol.ts";

/** The reason of a gap after the worker died. */
export const REPLACED = "the worker was replaced";

/** The reason of a gap of a group whose binding was lost. */
const UNBOUND = "The transport had lost the group, and did not store events for it";

/** Receives the events of one frame, with one topic for all bodies or one topic for each. */
export type Receive = (topics: string | string[], bodies: string[]) => void;

/** Receives a gap, which is between the earlier and the later events. */
export type OnGap = (reason: string, lost: number) => void;

/** One subscription over the port. */
export interface Stream {
  /** Resolves when the transport has the subscription. */
  readonly ready: Promise<void>;
  /** Gives credit back to the worker: the cost of events whose handlers have started. */
  credit(count: number): void;
  /** Ends the subscription. Nothing is received after the call. */
  close(): Promise<void>;
}

/** The functions of a link that its streams use. */
export interface StreamsLink {
  /** Returns the inbox of the ready receiver, which is different for each worker. */
  worker(): string | undefined;
  /** Returns whether the receiver is connected to its transport. */
  connected(): boolean;
  /** Returns a number for a new subscription. */
  nextId(): number;
  /** Asks the receiver to subscribe, with a full window of credit, or to bind a queue. Resolves with true if the queue was not bound. */
  subscribe(subscription: number, filter: Filter, queue?: string): Promise<boolean | void>;
  /** Asks the receiver to end a subscription. */
  unsubscribe(subscription: number): Promise<void>;
  /** Gives credit to the receiver. */
  credit(subscription: number, count: number): void;
  /** Reports a fault that belongs to no request. */
  fault(error: PlainError): void;
}

interface Subscription {
  readonly filter: Filter;
  readonly receive: Receive;
  readonly onGap: OnGap | undefined;
  /** The queue that stores the events, if this is a binding. */
  readonly queue: string | undefined;
  readonly ready: PromiseWithResolvers<void>;
  /** Whether the transport has confirmed the subscription before, so that `ready` has resolved. */
  confirmed: boolean;
  /** The worker that is being asked for the subscription, until it has confirmed it. */
  asked: string | undefined;
  /** Whether a gap must be reported, because the worker died after the subscription was confirmed. */
  broken: boolean;
  /** The cost of events whose handlers have started, and for which the worker has not received credit yet. */
  owed: number;
}

/** All subscriptions of a link. */
export class Streams {
  #link: StreamsLink;
  #subscriptions = new Map<number, Subscription>();

  /** Creates an empty list of subscriptions. */
  constructor(link: StreamsLink) {
    this.#link = link;
  }

  /** Whether any subscription reports its own gaps. */
  get reportsGaps(): boolean {
    return [...this.#subscriptions.values()].some(({ onGap, queue }) => onGap !== undefined && queue === undefined);
  }

  /** Creates a subscription or, with a queue, a binding. Restores it after each replacement of the worker, until the stream is closed. */
  open(filter: Filter, receive: Receive, onGap?: OnGap, queue?: string): Stream {
    const id = this.#link.nextId();
    const ready = Promise.withResolvers<void>();
    const subscription: Subscription = {
      ...{ filter, receive, onGap, queue, ready },
      ...{ confirmed: false, asked: undefined, broken: false, owed: 0 },
    };
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
        if (!this.#subscriptions.delete(id)) return;
        ready.reject(ended(filter, filter.serves ? "unexpose() was called" : "the subscription was ended"));
        if (this.#link.worker() !== undefined && queue === undefined) await this.#link.unsubscribe(id);
      },
    };
  }

  /** Restores all subscriptions in a new worker. Resolves when each was restored, or refused once. */
  async resume(): Promise<void> {
    await Promise.all([...this.#subscriptions].map(([id, subscription]) => this.#subscribe(id, subscription)));
  }

  /** Binds all queues again, because the transport may have lost the bindings while it was unreachable. */
  rebind(): void {
    for (const [id, subscription] of this.#subscriptions) {
      const { queue, confirmed, asked } = subscription;
      if (queue !== undefined && confirmed && asked !== this.#link.worker()) void this.#subscribe(id, subscription);
    }
  }

  /** Records that the worker died, so that each confirmed subscription has a gap. */
  broke(): void {
    for (const subscription of this.#subscriptions.values()) {
      if (subscription.queue !== undefined) continue; // it keeps its events
      subscription.broken ||= subscription.confirmed;
    }
  }

  /** Passes the events of a frame to their subscriptions. */
  receive({ runs, topics = [], bodies }: FromReceiver & { kind: "events" }): void {
    const all = unpack(bodies);
    for (let run = 0, at = 0; run < runs.length; run += 2) {
      const from = at;
      at += runs[run + 1]!;
      const subscription = this.#subscriptions.get(runs[run]!);
      if (!subscription) continue; // it was closed meanwhile
      this.#reportReplacement(subscription);
      const { filter, receive } = subscription;
      const some = runs.length === 2 ? all : all.slice(from, at);
      this.#guard(() => receive(filter.pattern ? topics.slice(from, at) : filter.topic, some));
    }
  }

  /** Reports a gap in the events of a subscription. */
  gap(id: number, reason: string, lost: number): void {
    const subscription = this.#subscriptions.get(id);
    if (!subscription?.confirmed) return; // a subscription that has not begun cannot miss events
    this.#guard(() => subscription.onGap?.(reason, lost));
  }

  /** Ends all subscriptions. Those that are not ready reject with a `ClosedError`. */
  close(): void {
    for (const { filter, ready } of this.#subscriptions.values()) ready.reject(ended(filter, "the bus is closed"));
    this.#subscriptions.clear();
  }

  /**
   * Subscribes, and retries until the stream is closed or the worker is replaced. A refusal ends the stream, unless it has existed before:
   * then the reason may pass, and the promise does not wait for the retries.
   */
  #subscribe(id: number, subscription: Subscription): Promise<void> {
    const { promise, resolve } = Promise.withResolvers<void>();
    void this.#ask(id, subscription, resolve).finally(resolve);
    return promise;
  }

  async #ask(id: number, subscription: Subscription, onRefused: () => void): Promise<void> {
    const worker = this.#link.worker(); // `resume` asks the next worker
    const live = () =>
      this.#subscriptions.get(id) === subscription && worker !== undefined && this.#link.worker() === worker;
    subscription.owed = 0;
    subscription.asked = worker;
    for (let failures = 1; live(); failures++) {
      try {
        const unbound = await this.#link.subscribe(id, subscription.filter, subscription.queue) === true;
        if (unbound) this.gap(id, UNBOUND, 0);
        subscription.confirmed = true;
        if (subscription.asked === worker) subscription.asked = undefined;
        this.#reportReplacement(subscription);
        return subscription.ready.resolve();
      } catch (error) {
        if (!live()) return;
        const refused = !isUnavailable(error);
        if (refused && !subscription.confirmed) {
          this.#subscriptions.delete(id);
          return subscription.ready.reject(error);
        }
        // while the connection is down, the bus knows the reason already
        if (refused || (this.#link.connected() && failures === 1)) this.#link.fault(toPlain(error));
        if (refused) onRefused();
        await pause(backoff(RETRY.restore, failures));
      }
    }
  }

  /** Reports the gap after a worker died, before the first event from its successor. */
  #reportReplacement(subscription: Subscription): void {
    if (!subscription.broken) return;
    subscription.broken = false;
    this.#guard(() => subscription.onGap?.(REPLACED, 0));
  }

  /** Runs a callback of a subscription. If it throws, the other subscriptions continue. */
  #guard(act: () => void): void {
    try {
      act();
    } catch (error) {
      this.#link.fault(toPlain(error));
    }
  }
}

function ended({ topic, serves }: Filter, why: string): ClosedError {
  return new ClosedError(`Cannot ${serves ? "expose" : "subscribe to"} "${topic}": ${why}`);
}
