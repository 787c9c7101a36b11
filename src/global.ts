/**
 * The default bus: the functions of `mod.ts`, which work on it.
 *
 * @module
 */
import { type Bus, openBus } from "./bus.ts";
import { BusError, NotInitializedError } from "./errors.ts";
import type { EventClass } from "./codec/codec.ts";
import type { StandardSchemaV1 } from "./codec/schema.ts";
import { verbOn } from "./internal/arguments.ts";
import { complain } from "./internal/complain.ts";
import { Opening } from "./opening.ts";
import { type BusOptions, type CloseOptions, closeTimeout } from "./options.ts";
import type { Provider } from "./provider/provider.ts";
import { decorating, type Wrapper, wrapper } from "./pubsub/decorate.ts";
import {
  type EventOf,
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
import { registrations, rememberSubscription, removeRegistration } from "./registrations.ts";
import {
  checkUnexposeTarget,
  type Exposable,
  type ExposeArgument,
  type ExposeOptions,
  exposures,
  type LastExposeArgument,
  remoteExposure,
} from "./rpc/exposure.ts";
import type { Class } from "./rpc/methods.ts";
import type {
  Fn,
  FunctionName,
  MayStream,
  MultiObjectStub,
  MultiStub,
  NotStream,
  ObjectStub,
  Procedure,
  StreamOptions,
  StreamStub,
  StreamTarget,
  Stub,
  StubOptions,
  StubTarget,
} from "./rpc/procedure.ts";

let bus: Bus | undefined;
let opening: { readonly bus: Promise<Bus>; readonly state: Opening } | undefined;
let closing: Bus | undefined; // its handlers still publish, put and call
/** The reason why there is no default bus. */
let missing = "init() has not been called";

/**
 * Opens the default bus, and applies the subscriptions and exposures that were made before. The bus keeps the process alive until
 * {@linkcode shutdown}.
 *
 * @throws {BusError} "already_open" when the default bus is already open or opening
 * @throws {ProviderError} "unavailable" or "denied" when the transport cannot be reached within `connectTimeout`
 * @throws {ValidationError} when an option is invalid
 * @throws {ClosedError} when `shutdown` is called before it has finished
 */
export async function init(provider: Provider, options: BusOptions = {}): Promise<Bus> {
  if (bus || opening) throw new BusError("already_open", "Cannot init: the default bus is open; call shutdown() first");
  const state = new Opening();
  opening = { bus: open(provider, options, state), state };
  missing = "init() has not finished: await it";
  try {
    return await opening.bus;
  } catch (error) {
    if (!state.stopped.aborted) missing = "init() has failed";
    throw error;
  } finally {
    state.end();
    if (opening?.state === state) opening = undefined;
  }
}

async function open(provider: Provider, options: BusOptions, state: Opening): Promise<Bus> {
  const opened = await openBus(provider, options, state);
  try {
    state.stopped.throwIfAborted();
    bus = opened; // from now on subscriptions and exposures go to the bus itself
    const applied = [...registrations].map((registration) =>
      registration.apply(opened).catch((error) => {
        if (registrations.has(registration)) throw error; // unless it was removed meanwhile
      })
    );
    await Promise.all(applied);
    state.stopped.throwIfAborted();
  } catch (error) {
    if (bus === opened) bus = undefined;
    await opened.close({ timeout: state.left });
    state.stopped.throwIfAborted();
    throw error;
  }
  return opened;
}

/**
 * Closes the default bus, if it is open. By default this takes at most 5 seconds, of which the last is reserved for the transport. Until the
 * bus is closed, its handlers can still publish, put and call. `init` can open the default bus again afterwards. {@linkcode Bus.close} does
 * the same and returns a report. If `init` has not finished, it rejects with a `ClosedError`.
 */
export async function shutdown(options?: CloseOptions): Promise<void> {
  const timeout = closeTimeout(options); // before anything changes, because it may throw
  opening?.state.cancel(timeout); // the caller of init gets the error
  const ended = [(bus ?? closing)?.close({ timeout }), bus ? undefined : opening?.bus.catch(() => {})];
  if (bus || opening) missing = "shutdown() has closed the bus";
  if (bus) {
    const ending = closing = bus;
    ending.closed.then(() => closing = closing === ending ? undefined : closing);
    bus = opening = undefined;
  }
  registrations.forEach(removeRegistration);
  await Promise.all(ended);
}

/** Returns the error of a verb without a default bus: `Cannot publish to "news": …`. `target` is a name, or a value that has one. */
function noBus(verb: string, preposition: string, target: unknown): NotInitializedError {
  return new NotInitializedError(`Cannot ${verbOn(verb, preposition, target)}: ${missing}`);
}

function current(verb: string, preposition: string, target: unknown): Bus {
  const sending = bus ?? closing;
  if (!sending) throw noBus(verb, preposition, target);
  return sending;
}

/**
 * Publishes an event to the subscribers of a typed topic. Resolves with the number of transport subscriptions that it
 * reached (buses, not handlers and not groups), or with `undefined` if the transport does not count them.
 */
export function publish<I>(event: I, target: Topic<unknown, I>, options?: PublishOptions): Promise<number | undefined>;
/**
 * Publishes an event to the subscribers of the topic of this name. The event comes first and the topic second, unlike
 * in NATS, in Redis and on the command line. Resolves with the number of buses that it reached, if known.
 */
export function publish(event: unknown, target: string | Topic, options?: PublishOptions): Promise<number | undefined>;
/** Publishes an instance to the topic that its class names. Resolves with the number of buses that it reached, if known. */
export function publish(event: object, options?: PublishOptions): Promise<number | undefined>;
export function publish(event: unknown, target?: unknown, options?: PublishOptions): Promise<number | undefined> {
  const sending = bus ?? closing;
  return sending?.publish(event, target as string, options) ?? Promise.reject(noBus("publish", " to", target));
}

/** Subscribes a handler to the events of a class. Equal subscriptions share one subscription of the transport. */
export function subscribe<T>(
  target: EventClass<T>,
  handler: Handler<T>,
  options?: SubscribeOptions<undefined>,
): Subscription;
/** Subscribes a handler to a typed topic. */
export function subscribe<T, I>(
  target: Topic<T, I>,
  handler: Handler<T>,
  options?: SubscribeOptions<undefined>,
): Subscription;
/** Subscribes a handler to any target, with a schema whose output the handler receives. */
export function subscribe<S extends StandardSchemaV1>(
  target: Target,
  handler: Handler<StandardSchemaV1.InferOutput<S>>,
  options: SubscribeOptions<S> & { readonly schema: S },
): Subscription;
/** Subscribes a handler to a topic by its name, or to all topics that a glob matches. */
export function subscribe<T = unknown>(
  target: string,
  handler: Handler<T>,
  options?: SubscribeOptions<undefined>,
): Subscription;
/** @ignore TypeScript reports the errors of the last overload, so this one describes all arguments. */
export function subscribe<
  E = unknown,
  T extends Target | Topic<never, never> = string,
  S extends StandardSchemaV1 | undefined = undefined,
>(
  target: T,
  handler: Handler<EventOf<E, T, S>>,
  options?: SubscribeOptions<S>,
): Subscription;
export function subscribe(target: unknown, handler: unknown, options: SubscribeOptions = {}): Subscription {
  return listen(target, handler as Handler<never>, options);
}

function listen(target: unknown, handler: Handler<never>, options: SubscribeOptions): Subscription {
  const apply = (bus: Bus) => bus.subscribe(target as string, handler, options as SubscribeOptions<undefined>);
  return bus ? apply(bus) : rememberSubscription(target, handler, options, apply);
}

/**
 * Ends the oldest subscription of this handler to this target by name, and the oldest by pattern. A handler that was
 * subscribed twice stays subscribed once. An unknown pair is ignored.
 */
export async function unsubscribe<T, I>(
  target: string | Topic<T, I> | EventClass<T>,
  handler: Handler<T> | Handler<never>,
): Promise<void> {
  const { topic } = resolveTarget(target);
  const all = [...registrations].filter((registration) =>
    registration.topic === topic && registration.handler === handler
  );
  for (const pattern of [false, true]) {
    const oldest = all.find((registration) => registration.pattern === pattern);
    if (oldest) removeRegistration(oldest);
  }
  await bus?.unsubscribe(target, handler);
}

/** Subscribes a function, or a decorated method, on the default bus; see {@linkcode Bus.subscriber}. */
export function subscriber(target: Target, options: SubscribeOptions = {}): Wrapper {
  return wrapper((fn) => listen(target, fn as unknown as Handler<never>, options));
}

/** Returns a topic with a type and without a schema. */
export function topic<T = unknown>(name: string, options?: TopicOptions<undefined>): Topic<T>;
/** Returns a topic whose events a schema validates, at the publisher and at each subscriber. */
export function topic<S extends StandardSchemaV1>(
  name: string,
  options: TopicOptions<S> & { readonly schema: S },
): Topic<StandardSchemaV1.InferOutput<S>, StandardSchemaV1.InferInput<S>>;
export function topic(name: string, options: TopicOptions = {}): Topic {
  return new Topic(name, options, { publish, subscribe: listen });
}

/**
 * Returns a queue with a type and without a schema. Nothing checks the type: an instance of a class arrives as a plain
 * object with its fields, unless the class is one of the `types` of the bus, which makes it an instance again.
 */
export function queue<T = unknown>(name: string, options?: QueueOptions<undefined>): Queue<T>;
/** Returns a queue whose items a schema validates, at `put` and when they are received. */
export function queue<S extends StandardSchemaV1>(
  name: string,
  options: QueueOptions<S> & { readonly schema: S },
): Queue<StandardSchemaV1.InferOutput<S>, StandardSchemaV1.InferInput<S>>;
export function queue(name: string, options: QueueOptions = {}): Queue {
  return current("use queue", "", name).queue(name, options as QueueOptions<undefined>);
}

/** Serves a function as a procedure. Resolves when callers can find it. */
export function expose<Serve extends Fn>(
  procedure: Procedure<Fn, Serve>,
  fn: NoInfer<Serve>,
  options?: ExposeOptions,
): Promise<void>;
/** Serves a function under this name. Resolves when callers can find it. */
export function expose(name: string, fn: Fn, options?: ExposeOptions): Promise<void>;
/** Serves a function under its own name. Minifiers rename functions, so pass a name in code that is bundled. */
export function expose(fn: Fn, options?: ExposeOptions): Promise<void>;
/** Serves the listed methods of an object, each as `Class.method`. */
export function expose<O extends object>(
  object: O,
  methods: FunctionName<O> | readonly FunctionName<O>[],
  options?: ExposeOptions,
): Promise<void>;
/**
 * Serves every method of an object as `Class.method`, where `Class` is the `static topic` of the class, or else its name. A plain object
 * serves its own functions under their keys. {@linkcode Bus.expose} has the rules.
 */
export function expose<O extends Exposable>(object: O, options?: ExposeOptions): Promise<void>;
/** @ignore TypeScript reports the errors of the last overload, so this one describes all arguments. */
export function expose<T extends string | object>(
  target: T,
  second: ExposeArgument<T>,
  options?: LastExposeArgument<T>,
): Promise<void>;
export async function expose(target: unknown, second?: unknown, third?: unknown): Promise<void> {
  if (bus) return await bus.expose(target as string, second as Fn, third as ExposeOptions);
  const served = [...registrations].flatMap(({ exposure }) => exposure ?? []);
  const all = exposures(target, second, third, served);
  for (const exposure of all) exposure.checkUnused(served);
  for (const exposure of all) registrations.add({ exposure, apply: (bus) => bus.expose(exposure) });
}

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

/** Returns a function that calls a procedure on every server and resolves with one settled result for each. {@linkcode MultiStub} lists the errors of a call. */
export function stub<Call extends Fn>(
  target: Procedure<Call, Fn> & NotStream<Call>,
  options: StubOptions & { readonly multi: true },
): MultiStub<Call>;
/** Returns a function that calls a procedure on one server. {@linkcode Stub} lists the errors of a call. */
export function stub<Call extends Fn>(
  target: Procedure<Call, Fn> & NotStream<Call>,
  options?: StubOptions,
): Stub<Call>;
/** Returns an object with every method of a class. Each method calls every server; {@linkcode MultiStub} lists the errors. */
export function stub<C>(target: Class<C>, options: StubOptions & { readonly multi: true }): MultiObjectStub<C>;
/** Returns an object with every method of a class. Each method calls one server; {@linkcode Stub} lists the errors. */
export function stub<C>(target: Class<C>, options?: StubOptions): ObjectStub<C>;
/** Returns a function that calls the remote function of this name on every server. {@linkcode MultiStub} lists the errors of a call. */
export function stub<F extends Fn = (...args: unknown[]) => unknown>(
  name: string,
  options: StubOptions & { readonly multi: true },
): MultiStub<F>;
/** Returns a function that calls the remote function of this name on one server. {@linkcode Stub} lists the errors of a call. */
export function stub<F extends Fn = (...args: unknown[]) => unknown>(name: string, options?: StubOptions): Stub<F>;
/** Returns a function that calls the remote function with the same name on every server. {@linkcode MultiStub} lists the errors of a call. */
export function stub<F extends Fn>(fn: F & NotStream<F>, options: StubOptions & { readonly multi: true }): MultiStub<F>;
/** Returns a function that calls the remote function with the same name on one server. {@linkcode Stub} lists the errors of a call. */
export function stub<F extends Fn>(fn: F & NotStream<F>, options?: StubOptions): Stub<F>;
/** @ignore TypeScript reports the errors of the last overload, so this one describes all arguments. */
export function stub<F extends Fn = Fn, T = string>(target: T & StubTarget<T>, options?: StubOptions): Stub<F>;
export function stub(target: unknown, options?: StubOptions): unknown {
  return current("create a stub", " of", target).stub(target as string, options);
}

/** Returns a function that reads the values of a served async generator, from one server and in order. */
export function stream<Call extends Fn>(
  target: Procedure<Call, Fn> & MayStream<Call>,
  options?: StreamOptions,
): StreamStub<Call>;
/** Returns a function that reads the stream of the remote function of this name. */
export function stream<F extends Fn = (...args: unknown[]) => AsyncIterable<unknown>>(
  name: string,
  options?: StreamOptions,
): StreamStub<F>;
/** Returns a function that reads the stream of the remote function with the same name. */
export function stream<F extends Fn>(fn: F & MayStream<F>, options?: StreamOptions): StreamStub<F>;
/** @ignore TypeScript reports the errors of the last overload, so this one describes all arguments. */
export function stream<F extends Fn = Fn, T = string>(
  target: T & StreamTarget<T>,
  options?: StreamOptions,
): StreamStub<F>;
export function stream(target: unknown, options?: StreamOptions): unknown {
  return current("read a stream", " of", target).stream(target as string, options);
}
