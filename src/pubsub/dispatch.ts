/**
 * The dispatch of events from the port to the handlers.
 *
 * @module
 */
import type { Core } from "../core.ts";
import type { Subscriber } from "./handler_queue.ts";
import { SharedSubscription } from "./shared_subscription.ts";

/** The subscriptions of a bus. Equal subscriptions share one subscription of the transport. */
export class Dispatch {
  #core: Core;
  #shared = new Map<string, SharedSubscription>();
  #unready = 0;
  #allReady: PromiseWithResolvers<void> | undefined;

  /** Creates an empty dispatch. */
  constructor(core: Core) {
    this.#core = core;
  }

  /** The number of transport subscriptions. */
  get size(): number {
    return this.#shared.size;
  }

  /** Resolves when no subscription waits for the transport. Returns undefined if none waits now. */
  get unready(): Promise<void> | undefined {
    return this.#allReady?.promise;
  }

  /** Adds a subscriber. `ready` resolves when the transport has its subscription. */
  add(subscriber: Subscriber): { ready: Promise<void>; unsubscribe: () => Promise<void> } {
    const key = `${subscriber.pattern ? "*" : "="}${subscriber.topic}`;
    let shared = this.#shared.get(key);
    if (!shared) {
      shared = new SharedSubscription(this.#core, subscriber.topic, subscriber.pattern);
      this.#shared.set(key, shared);
      this.#watch(shared, key);
    }
    const joined = shared;
    const queue = joined.add(subscriber);
    return {
      ready: joined.ready,
      unsubscribe: async () => {
        if (!joined.remove(queue) || joined.size > 0) return;
        if (this.#shared.get(key) === joined) this.#shared.delete(key);
        await joined.close();
      },
    };
  }

  /** Makes publishes wait for a subscription, until it is ready or has failed. Resolves with true when it is ready. */
  async pending(ready: Promise<void>): Promise<boolean> {
    this.#unready++;
    const allReady = this.#allReady ??= Promise.withResolvers();
    const timer = setTimeout(allReady.resolve, this.#core.sendTimeout);
    const done = await ready.then(() => true, () => false);
    clearTimeout(timer);
    if (--this.#unready === 0) {
      this.#allReady = undefined;
      allReady.resolve();
    }
    return done;
  }

  async #watch(shared: SharedSubscription, key: string): Promise<void> {
    if (await this.pending(shared.ready)) return;
    if (this.#shared.get(key) === shared) this.#shared.delete(key);
    shared.end();
  }

  /** Ends all subscriptions; returns the number of events whose handlers had not started. */
  stop(): number {
    let dropped = 0;
    for (const shared of this.#shared.values()) {
      dropped += shared.end();
      shared.close().catch(() => {}); // the link, which closes next, ends it too
    }
    this.#shared.clear();
    return dropped;
  }
}
