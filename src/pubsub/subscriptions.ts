/**
 * The subscriptions that users hold, until they end.
 *
 * @module
 */
import type { Core } from "../core.ts";
import { ClosedError } from "../errors.ts";
import { warnOnce } from "../internal/complain.ts";
import type { Dispatch } from "./dispatch.ts";
import { checkSubscription, notDurable } from "./subscribe_options.ts";
import { GroupMember } from "./groups.ts";
import type { Subscriber } from "./handler_queue.ts";
import { checkOrder, type Handler, resolveTarget, type SubscribeOptions, type Subscription } from "./topic.ts";

interface Active extends Subscription {
  readonly handler: unknown;
}

/** The subscriptions of one bus. */
export class Subscriptions {
  #core: Core;
  #dispatch: Dispatch;
  #active = new Set<Active>();

  /** Creates an empty list of subscriptions. Handlers are subscribed through this dispatch. */
  constructor(core: Core, dispatch: Dispatch) {
    this.#core = core;
    this.#dispatch = dispatch;
  }

  /** Subscribes a handler to a name, a glob, a topic or an event class. */
  subscribe(target: unknown, handler: Handler<never>, options: SubscribeOptions): Subscription {
    checkOrder(target, handler);
    const resolved = resolveTarget(target);
    const { topic, type } = resolved;
    this.#core.checkNotClosing("subscribe", " to", topic);
    const { pattern, schema, concurrency, group } = checkSubscription(resolved, handler, options);
    if (typeof target === "string" && target.includes("*") && options.pattern === undefined) {
      const text = `subscribe("${target}") receives only events of the topic with exactly this name; ` +
        "for all topics that match it, pass { pattern: true }";
      warnOnce("subscribe", text);
    }
    if (type) this.#core.codec.register(type);
    const { promise: closed, resolve } = Promise.withResolvers<void>();
    const over = Promise.withResolvers<never>();
    const ended = () => {
      over.reject(new ClosedError(`Cannot subscribe to "${topic}": the subscription was ended`));
      options.signal?.removeEventListener("abort", abort);
      this.#active.delete(active);
      resolve();
    };
    const subscriber = { topic, pattern, type, schema, concurrency, handler, ended };
    const { ready: subscribed, unsubscribe, free } = group === undefined
      ? { ...this.#dispatch.add(subscriber), free: () => Promise.reject(notDurable(topic)) }
      : this.#join(group, subscriber, options);
    const abort = () => {
      over.reject(options.signal!.reason);
      unsubscribe().catch((error) => this.#core.report(error, topic));
    };
    options.signal?.addEventListener("abort", abort, { once: true });
    const ready = Promise.race([subscribed, over.promise]);
    ready.catch(() => {});
    const active: Active = {
      topic,
      pattern,
      ready,
      closed,
      handler,
      unsubscribe,
      free,
      [Symbol.asyncDispose]: unsubscribe,
    };
    this.#active.add(active);
    return active;
  }

  /** Joins a group. Publishes wait until the transport stores the events. */
  #join(
    group: string,
    subscriber: Subscriber,
    options: SubscribeOptions,
  ): Pick<Active, "ready" | "unsubscribe" | "free"> {
    const member = new GroupMember(this.#core, group, subscriber, options);
    const { ready } = member;
    void this.#dispatch.pending(ready);
    return { ready, unsubscribe: () => member.close(), free: () => member.free() };
  }

  /** Ends two subscriptions of this handler to this target, if they exist: the oldest by name and the oldest by pattern. */
  async unsubscribe(target: unknown, handler: unknown): Promise<void> {
    const { topic } = resolveTarget(target);
    const all = [...this.#active].filter((active) => active.topic === topic && active.handler === handler);
    const oldest = [false, true].map((pattern) => all.find((active) => active.pattern === pattern));
    await Promise.all(oldest.map((active) => active?.unsubscribe()));
  }
}
