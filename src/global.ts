/**
 * The default bus, and the subscriptions and exposures that are made before `init` opens it.
 *
 * @module
 */
import { Bus } from "./bus.ts";
import { BusError, NotInitializedError } from "./errors.ts";
import { checkSchema } from "./codec/schema.ts";
import { checkCount, checkFunction, checkSignal } from "./internal/arguments.ts";
import { complain } from "./internal/complain.ts";
import type { BusOptions, CloseOptions } from "./options.ts";
import type { Provider } from "./provider/provider.ts";
import { decorating, type Wrapper, wrapper } from "./pubsub/decorate.ts";
import { checkGroup, notDurable } from "./pubsub/groups.ts";
import {
  type Handler,
  type PublishOptions,
  resolveTarget,
  type SubscribeOptions,
  type Subscription,
  type Target,
  Topic,
  type TopicOptions,
} from "./pubsub/topic.ts";
import type { Queue, QueueOptions } from "./queue/queue.ts";
import { checkUnexposeTarget, type ExposeOptions, type Exposure, exposures, remoteExposure } from "./rpc/exposure.ts";
import type { Fn, Procedure, StreamOptions, StubOptions } from "./rpc/procedure.ts";

let bus: Bus | undefined;
let opening: Promise<Bus> | undefined;
let closing: Bus | undefined;
/** The reason why there is no default bus. */
let missing = "init() has not been called";

/** A subscription or an exposure that was made before `init`. `init` applies it, and `shutdown` removes it. */
interface Registration {
  /** The exposure. A subscription does not have it, but has the other members. */
  readonly exposure?: Exposure;
  readonly topic?: string;
  readonly handler?: unknown;
  readonly pattern?: boolean;
  apply(bus: Bus): Promise<void>;
  removed?(): void;
}
const registrations = new Set<Registration>();

function removeRegistration(registration: Registration): void {
  registrations.delete(registration);
  registration.removed?.();
}

/**
 * Opens the default bus, and applies the subscriptions and exposures that were made before.
 *
 * @throws {BusError} "already_open" when the default bus is already open or opening
 */
export async function init(provider: Provider, options?: BusOptions): Promise<Bus> {
  if (bus || opening) throw new BusError("already_open", "Cannot init: the default bus is open; call shutdown() first");
  opening = open(provider, options);
  missing = "init() has not finished: await it";
  try {
    return await opening;
  } catch (error) {
    missing = "init() has failed";
    throw error;
  } finally {
    opening = undefined;
  }
}

async function open(provider: Provider, options?: BusOptions): Promise<Bus> {
  // from now on subscriptions and exposures go to the bus itself
  const opened = bus = await Bus.open(provider, options);
  try {
    const applied = [...registrations].map((registration) =>
      registration.apply(opened).catch((error) => {
        if (registrations.has(registration)) throw error; // unless it was removed meanwhile
      })
    );
    await Promise.all(applied);
  } catch (error) {
    bus = undefined;
    await opened.close();
    throw error;
  }
  return opened;
}

/** Closes the default bus, if it is open. `init` can open it again afterwards. */
export async function shutdown(options?: CloseOptions): Promise<void> {
  await opening?.catch(() => {}); // the caller of init gets the error
  const ended = (bus ?? closing)?.close(options); // before anything changes, because it may throw for its options
  if (bus) {
    const ending = closing = bus;
    ending.closed.then(() => closing = closing === ending ? undefined : closing);
    missing = "shutdown() has closed the bus";
  }
  registrations.forEach(removeRegistration);
  bus = undefined;
  await ended;
}

/** Returns the error of a verb without a default bus: `Cannot publish to "news": …`. `target` is a name, or a value that has one. */
function noBus(verb: string, preposition: string, target: unknown): NotInitializedError {
  const name: unknown = typeof target === "string" ? target : Object(target).name;
  const named = typeof name === "string" && name ? `${preposition} "${name}"` : "";
  return new NotInitializedError(`Cannot ${verb}${named}: ${missing}`);
}

function current(verb: string, preposition: string, target: unknown): Bus {
  if (!bus) throw noBus(verb, preposition, target);
  return bus;
}

/** Publishes an event on the default bus; see {@linkcode Bus.publish}. */
export const publish: Bus["publish"] = (
  event: unknown,
  target?: unknown,
  options?: PublishOptions,
): Promise<number | undefined> =>
  bus ? bus.publish(event, target as string, options) : Promise.reject(noBus("publish", " to", target));

/** Subscribes a handler on the default bus, also before `init`; see {@linkcode Bus.subscribe}. */
export const subscribe: Bus["subscribe"] = (
  target: unknown,
  handler: Handler<never>,
  options: SubscribeOptions = {},
): Subscription => listen(target, handler, options);

function listen(target: unknown, handler: Handler<never>, options: SubscribeOptions): Subscription {
  const apply = (bus: Bus) => bus.subscribe(target as string, handler, options as SubscribeOptions<undefined>);
  if (bus) return apply(bus);
  const { topic, pattern = options.pattern ?? false } = resolveTarget(target);
  const { promise: closed, resolve: end } = Promise.withResolvers<void>();
  let live: Subscription | undefined;
  const abort = () => removeRegistration(registration);
  closed.then(() => options.signal?.removeEventListener("abort", abort));
  const registration: Registration = {
    topic,
    handler,
    pattern,
    apply: async (bus) => {
      live = apply(bus);
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
  checkFunction("a handler", handler);
  checkCount("a concurrency", options.concurrency ?? 1);
  checkSchema(options.schema);
  checkSignal(options.signal);
  const group = checkGroup(options);
  options.signal?.addEventListener("abort", abort, { once: true });
  registrations.add(registration);
  return { topic, pattern, ready: Promise.resolve(), closed, unsubscribe, free, [Symbol.asyncDispose]: unsubscribe };
}

/** Ends a subscription of the default bus, also before `init`; see {@linkcode Bus.unsubscribe}. */
export const unsubscribe: Bus["unsubscribe"] = async (target, handler) => {
  const { topic } = resolveTarget(target);
  const all = [...registrations].filter((registration) =>
    registration.topic === topic && registration.handler === handler
  );
  for (const pattern of [false, true]) {
    const oldest = all.find((registration) => registration.pattern === pattern);
    if (oldest) removeRegistration(oldest);
  }
  await bus?.unsubscribe(target, handler);
};

/** Subscribes a function, or a decorated method, on the default bus; see {@linkcode Bus.subscriber}. */
export function subscriber(target: Target, options: SubscribeOptions = {}): Wrapper {
  return wrapper((fn) => listen(target, fn as unknown as Handler<never>, options));
}

/** Returns a topic of the default bus that is open when the topic is used; see {@linkcode Bus.topic}. */
export const topic: Bus["topic"] = (name: string, options: TopicOptions = {}): Topic<never> =>
  new Topic(name, options, { publish, subscribe: listen });

/** Returns a queue of the default bus; see {@linkcode Bus.queue}. */
export const queue: Bus["queue"] = (name: string, options?: QueueOptions): Queue<never> =>
  current("use queue", "", name).queue(name, options as QueueOptions<undefined>);

/** Serves a function, or the methods of an object, on the default bus, also before `init`; see {@linkcode Bus.expose}. */
export const expose: Bus["expose"] = async (target: unknown, second?: unknown, third?: unknown): Promise<void> => {
  if (bus) return await bus.expose(target as string, second as Fn, third as ExposeOptions);
  const served = [...registrations].flatMap(({ exposure }) => exposure ?? []);
  const all = exposures(target, second, third, served);
  for (const exposure of all) exposure.checkUnused(served);
  for (const exposure of all) registrations.add({ exposure, apply: (bus) => bus.expose(exposure) });
};

/** Stops serving a function or an object on the default bus, also before `init`; see {@linkcode Bus.unexpose}. */
export async function unexpose(target: string | Fn | Procedure | object): Promise<void> {
  checkUnexposeTarget(target);
  for (const registration of registrations) if (registration.exposure?.isOf(target)) removeRegistration(registration);
  await bus?.unexpose(target);
}

/** Serves a function, or a decorated method, on the default bus, also before `init`; see {@linkcode Bus.remote}. */
export function remote(name?: string): Wrapper {
  return wrapper((fn, self, method) => {
    if (bus) return bus.remote(name)(fn, decorating(self, method));
    const remember = async () => await expose(remoteExposure(name, fn, self, method));
    remember().catch((error) => complain(`on "${name ?? method ?? fn.name}":`, error));
  });
}

/** Returns a function, or an object of functions, that calls remote functions from the default bus; see {@linkcode Bus.stub}. */
export const stub: Bus["stub"] = (target: unknown, options?: StubOptions): never =>
  current("create a stub", " of", target).stub(target as string, options) as never;

/** Returns a function that reads the stream of a remote function from the default bus; see {@linkcode Bus.stream}. */
export const stream: Bus["stream"] = (target: unknown, options?: StreamOptions): never =>
  current("read a stream", " of", target).stream(target as string, options) as never;
