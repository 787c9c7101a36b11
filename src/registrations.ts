/**
 * The subscriptions and exposures that are made before `init`, which applies them. `shutdown` removes them.
 *
 * @module
 */
import type { Bus } from "./bus.ts";
import { NotInitializedError } from "./errors.ts";
import { checkSubscription, notDurable } from "./pubsub/subscribe_options.ts";
import { checkOrder, type Handler, resolveTarget, type SubscribeOptions, type Subscription } from "./pubsub/topic.ts";
import type { Exposure } from "./rpc/exposure.ts";

/** A subscription or an exposure that was made before `init`. */
export interface Registration {
  /** The exposure. A subscription does not have it, but has the other members. */
  readonly exposure?: Exposure;
  /** The topic or glob. */
  readonly topic?: string;
  /** The handler. */
  readonly handler?: unknown;
  /** Whether the topic is a glob. */
  readonly pattern?: boolean;
  /** Applies it to the bus that `init` has opened. */
  apply(bus: Bus): Promise<void>;
  /** Called when it was removed. */
  removed?(): void;
}

/** All registrations, the oldest first. */
export const registrations: Set<Registration> = new Set();

/** Removes a registration. */
export function removeRegistration(registration: Registration): void {
  registrations.delete(registration);
  registration.removed?.();
}

/** Registers a subscription, which `subscribe` makes on the bus. */
export function rememberSubscription(
  target: unknown,
  handler: Handler<never>,
  options: SubscribeOptions,
  subscribe: (bus: Bus) => Subscription,
): Subscription {
  checkOrder(target, handler);
  const resolved = resolveTarget(target);
  const { topic } = resolved;
  const { pattern, group } = checkSubscription(resolved, handler, options);
  const { promise: closed, resolve: end } = Promise.withResolvers<void>();
  let live: Subscription | undefined;
  const abort = () => removeRegistration(registration);
  closed.then(() => options.signal?.removeEventListener("abort", abort));
  const registration: Registration = {
    topic,
    handler,
    pattern,
    apply: async (bus) => {
      live = subscribe(bus);
      live.closed.then(end);
      await live.ready;
    },
    removed: () => live ?? end(),
  };
  const unsubscribe = async () => {
    removeRegistration(registration);
    await live?.unsubscribe();
  };
  const free = async () => {
    if (group === undefined) throw notDurable(topic);
    if (!live) throw new NotInitializedError();
    removeRegistration(registration);
    await live.free();
  };
  options.signal?.addEventListener("abort", abort, { once: true });
  registrations.add(registration);
  return { topic, pattern, ready: Promise.resolve(), closed, unsubscribe, free, [Symbol.asyncDispose]: unsubscribe };
}
