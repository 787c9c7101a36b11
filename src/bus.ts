/**
 * The class `Bus`: its public verbs.
 *
 * @module
 */
import type { EventClass } from "./codec/codec.ts";
import type { StandardSchemaV1 } from "./codec/schema.ts";
import type { Engine } from "./engine.ts";
import { type BusError, ValidationError } from "./errors.ts";
import { BusEvents } from "./events.ts";
import { Opening } from "./opening.ts";
import { type BusOptions, checkOptions, type CloseOptions, type CloseReport, type Health } from "./options.ts";
import { Place } from "./port/pool.ts";
import type { Provider } from "./provider/provider.ts";
import { type Wrapper, wrapper } from "./pubsub/decorate.ts";
import {
  type EventOf,
  type Handler,
  type PublishOptions,
  type SubscribeOptions,
  type Subscription,
  type Target,
  Topic,
  type TopicOptions,
} from "./pubsub/topic.ts";
import type { Queue, QueueOptions } from "./queue/queue.ts";
import {
  checkUnexposeTarget,
  type Exposable,
  type ExposeArgument,
  type ExposeOptions,
  exposures,
  type LastExposeArgument,
  remoteExposure,
  serveAll,
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

/** The parts of a bus that are not needed to start its worker. They load at the same time as the worker of the first bus. */
let parts: typeof import("./engine.ts");
/** Returns the engine of a bus, for the command line and the dashboard. */
export let engineOf: (bus: Bus) => Engine;
/** Opens a bus as {@linkcode Bus.open} does. The opening can be cancelled. */
export let openBus: (provider: Provider, options: BusOptions, opening: Opening) => Promise<Bus>;

/**
 * A message bus: pub/sub, queues and RPC over one transport.
 *
 * It emits the events of {@linkcode BusEventMap}: `"error"`, `"gap"` and `"state"`.
 */
export class Bus extends BusEvents implements AsyncDisposable {
  /** The namespace. Buses in different namespaces of one transport do not see each other. */
  readonly namespace: string;
  /** Resolves when `close` has closed the bus. A bus does not end by itself: it reconnects, and replaces its worker. */
  readonly closed: Promise<BusError | undefined>;
  #engine: Engine;

  static {
    engineOf = (bus) => bus.#engine;
    openBus = async (provider, options, opening) => {
      const checked = checkOptions(provider, options);
      using place = new Place(provider);
      parts = await import("./engine.ts");
      const bus = new Bus((emit) => new parts.Engine(provider, checked, emit));
      await bus.#engine.open(place, opening);
      return bus;
    };
  }

  private constructor(create: (emit: (event: Event) => void) => Engine) {
    super();
    if (typeof create !== "function") throw new ValidationError("Cannot create a bus: use await Bus.open(provider)");
    this.#engine = create((event) => this.emit(event));
    this.namespace = this.#engine.namespace;
    this.closed = this.#engine.closed;
  }

  /**
   * Opens a bus that is independent of the default bus. Any number of buses may be open. A bus keeps the process alive until it is closed.
   *
   * @throws {ProviderError} "unavailable" or "denied" when the transport cannot be reached within `connectTimeout`
   * @throws {UnsupportedError} when the platform lacks the transport
   * @throws {ValidationError} when an option is invalid
   */
  static async open(provider: Provider, options: BusOptions = {}): Promise<Bus> {
    return await openBus(provider, options, new Opening());
  }

  /**
   * Publishes an event to the subscribers of a typed topic. Resolves with the number of transport subscriptions that it reached (buses,
   * not handlers and not groups), or with `undefined` if the transport does not count them.
   *
   * @throws {ProviderError} "unavailable" when the transport did not confirm the event within `sendTimeout` of the bus
   * @throws {ValidationError} when the schema rejects the event, it cannot be encoded, or the headers are invalid
   * @throws {ClosedError} when the bus is closed
   */
  publish<I>(event: I, target: Topic<unknown, I>, options?: PublishOptions): Promise<number | undefined>;
  /**
   * Publishes an event to the subscribers of the topic of this name. The event comes first and the topic second, unlike in NATS, in Redis and
   * on the command line. Resolves with the number of buses that it reached, if known.
   */
  publish(event: unknown, target: string | Topic, options?: PublishOptions): Promise<number | undefined>;
  /** Publishes an instance of an event class to the topic of its class. Resolves with the number of buses that it reached, if known. */
  publish(event: object, options?: PublishOptions): Promise<number | undefined>;
  publish(event: unknown, target?: unknown, options?: unknown): Promise<number | undefined> {
    try {
      return this.#engine.publisher.publish(event, target, options);
    } catch (error) {
      return Promise.reject(error);
    }
  }

  /**
   * Subscribes a handler to the events of a class. Equal subscriptions share one subscription of the transport.
   *
   * @throws {ValidationError} when an argument is invalid
   * @throws {ClosedError} when the bus is closed or closing
   */
  subscribe<T>(target: EventClass<T>, handler: Handler<T>, options?: SubscribeOptions<undefined>): Subscription;
  /** Subscribes a handler to a typed topic. */
  subscribe<T, I>(target: Topic<T, I>, handler: Handler<T>, options?: SubscribeOptions<undefined>): Subscription;
  /** Subscribes a handler to any target, with a schema whose output the handler receives. */
  subscribe<S extends StandardSchemaV1>(
    target: Target,
    handler: Handler<StandardSchemaV1.InferOutput<S>>,
    options: SubscribeOptions<S> & { readonly schema: S },
  ): Subscription;
  /** Subscribes a handler to a topic by its name, or to all topics that a glob matches. */
  subscribe<T = unknown>(target: string, handler: Handler<T>, options?: SubscribeOptions<undefined>): Subscription;
  /** @ignore TypeScript reports the errors of the last overload, so this one describes all arguments. */
  subscribe<
    E = unknown,
    T extends Target | Topic<never, never> = string,
    S extends StandardSchemaV1 | undefined = undefined,
  >(
    target: T,
    handler: Handler<EventOf<E, T, S>>,
    options?: SubscribeOptions<S>,
  ): Subscription;
  subscribe(target: unknown, handler: unknown, options: SubscribeOptions = {}): Subscription {
    return this.#engine.subscriptions.subscribe(target, handler as Handler<never>, options);
  }

  /**
   * Ends the oldest subscription of this handler to this target by name, and the oldest by pattern. A handler that was subscribed twice
   * stays subscribed once. An unknown pair is ignored.
   */
  async unsubscribe<T, I>(
    target: string | Topic<T, I> | EventClass<T>,
    handler: Handler<T> | Handler<never>,
  ): Promise<void> {
    await this.#engine.subscriptions.unsubscribe(target, handler);
  }

  /** Subscribes a function and returns it. As a method decorator, it subscribes the method of each instance. */
  subscriber(target: Target, options: SubscribeOptions = {}): Wrapper {
    return wrapper((fn) => this.#engine.subscriptions.subscribe(target, fn as Handler<never>, options));
  }

  /** Returns a topic with a type and without a schema. */
  topic<T = unknown>(name: string, options?: TopicOptions<undefined>): Topic<T>;
  /** Returns a topic whose events a schema validates, at the publisher and at each subscriber. */
  topic<S extends StandardSchemaV1>(
    name: string,
    options: TopicOptions<S> & { readonly schema: S },
  ): Topic<StandardSchemaV1.InferOutput<S>, StandardSchemaV1.InferInput<S>>;
  topic(name: string, options: TopicOptions = {}): Topic {
    return new Topic(name, options, {
      publish: (event, target, options) => this.publish(event, target, options),
      subscribe: (target, handler, options) => this.subscribe(target, handler, options as SubscribeOptions<undefined>),
    });
  }

  /**
   * Returns a queue with a type and without a schema. Nothing checks the type: an instance of a class arrives as a plain object with its
   * fields, unless the class is one of the `types` of the bus, which makes it an instance again.
   *
   * @throws {ClosedError} when the bus is closed
   */
  queue<T = unknown>(name: string, options?: QueueOptions<undefined>): Queue<T>;
  /** Returns a queue whose items a schema validates, at `put` and when they are received. */
  queue<S extends StandardSchemaV1>(
    name: string,
    options: QueueOptions<S> & { readonly schema: S },
  ): Queue<StandardSchemaV1.InferOutput<S>, StandardSchemaV1.InferInput<S>>;
  queue(name: string, options: QueueOptions = {}): Queue {
    this.#engine.checkOpen("use queue", "", name);
    return new parts.Queue(name, options, this.#engine);
  }

  /**
   * Serves a function as a procedure. Resolves when callers can find it: in an outage, when the transport is reachable again.
   *
   * @throws {ValidationError} when the bus already serves the name, or another class of that name
   * @throws {ClosedError} when the bus is closed or closing
   */
  expose<Serve extends Fn>(procedure: Procedure<Fn, Serve>, fn: NoInfer<Serve>, options?: ExposeOptions): Promise<void>;
  /** Serves a function under this name. Resolves when callers can find it. */
  expose(name: string, fn: Fn, options?: ExposeOptions): Promise<void>;
  /** Serves a function under its own name. Minifiers rename functions, so pass a name in code that is bundled. */
  expose(fn: Fn, options?: ExposeOptions): Promise<void>;
  /** Serves the listed methods of an object, each as `Class.method`. */
  expose<O extends object>(
    object: O,
    methods: FunctionName<O> | readonly FunctionName<O>[],
    options?: ExposeOptions,
  ): Promise<void>;
  /**
   * Serves every method of an object as `Class.method`, where `Class` is the `static topic` of the class, or else its name.
   *
   * It serves the methods of the class and of its superclasses, up to the first class of the platform. It leaves out methods that
   * `@remote` already serves, and methods whose names begin with `_`. TypeScript's `private` does not exist at run time, so private
   * methods are served. If the class extends a class of a library, the methods of that class are served too; list the methods to avoid
   * that. A plain object serves its own functions under their keys.
   */
  expose<O extends Exposable>(object: O, options?: ExposeOptions): Promise<void>;
  /** @ignore TypeScript reports the errors of the last overload, so this one describes all arguments. */
  expose<T extends string | object>(
    target: T,
    second: ExposeArgument<T>,
    options?: LastExposeArgument<T>,
  ): Promise<void>;
  async expose(target: unknown, second?: unknown, third?: unknown): Promise<void> {
    this.#engine.checkNotClosing("expose", "", target);
    const { server } = this.#engine;
    await serveAll(server, exposures(target, second, third, server.exposures));
  }

  /** Stops serving a name, a procedure, a function under all its names, or an object. An unknown target is ignored. */
  async unexpose(target: string | Fn | Procedure | object): Promise<void> {
    checkUnexposeTarget(target);
    const { server, state } = this.#engine;
    if (state === "closed") return;
    const ended = server.exposures.filter((exposure) => exposure.isOf(target));
    await Promise.all(ended.map(({ name }) => server.unexpose(name)));
  }

  /**
   * Serves a function and returns it. As a method decorator, it serves the method of each instance. The default name is that of the
   * function, or `Class.method`.
   */
  remote(name?: string): Wrapper {
    return wrapper((fn, self, method) => {
      const expose = async () => await this.expose(remoteExposure(name, fn, self, method));
      expose().catch((error) => this.#engine.report(error, name ?? method ?? fn.name));
    });
  }

  /**
   * Returns a function that calls a procedure on every server and resolves with one settled result for each. {@linkcode MultiStub} lists
   * the errors of a call.
   */
  stub<Call extends Fn>(
    target: Procedure<Call, Fn> & NotStream<Call>,
    options: StubOptions & { readonly multi: true },
  ): MultiStub<Call>;
  /** Returns a function that calls a procedure on one server. {@linkcode Stub} lists the errors of a call. */
  stub<Call extends Fn>(target: Procedure<Call, Fn> & NotStream<Call>, options?: StubOptions): Stub<Call>;
  /** Returns an object with every method of a class. Each method calls every server; {@linkcode MultiStub} lists the errors. */
  stub<C>(target: Class<C>, options: StubOptions & { readonly multi: true }): MultiObjectStub<C>;
  /** Returns an object with every method of a class. Each method calls one server; {@linkcode Stub} lists the errors. */
  stub<C>(target: Class<C>, options?: StubOptions): ObjectStub<C>;
  /** Returns a function that calls the remote function of this name on every server. {@linkcode MultiStub} lists the errors of a call. */
  stub<F extends Fn = (...args: unknown[]) => unknown>(
    name: string,
    options: StubOptions & { readonly multi: true },
  ): MultiStub<F>;
  /** Returns a function that calls the remote function of this name on one server. {@linkcode Stub} lists the errors of a call. */
  stub<F extends Fn = (...args: unknown[]) => unknown>(name: string, options?: StubOptions): Stub<F>;
  /** Returns a function that calls the remote function with the same name on every server. {@linkcode MultiStub} lists the errors of a call. */
  stub<F extends Fn>(fn: F & NotStream<F>, options: StubOptions & { readonly multi: true }): MultiStub<F>;
  /**
   * Returns a function that calls the remote function with the same name on one server. {@linkcode Stub} lists the errors of a call.
   *
   * @throws {ValidationError} when another function of this name has a stub on this bus: a minifier can give one name to several functions
   */
  stub<F extends Fn>(fn: F & NotStream<F>, options?: StubOptions): Stub<F>;
  /** @ignore TypeScript reports the errors of the last overload, so this one describes all arguments. */
  stub<F extends Fn = Fn, T = string>(target: T & StubTarget<T>, options?: StubOptions): Stub<F>;
  stub(target: unknown, options: StubOptions = {}): unknown {
    this.#engine.checkOpen("create a stub", " of", target);
    return parts.stubFor(this.#engine, target, options);
  }

  /**
   * Returns a function that reads the values of a served async generator, from one server and in order.
   *
   * The call starts when the first value is read, and the generator runs at most 256 values ahead of its reader. A `break` ends the
   * generator. Reading rejects with the errors of a call, and with `RpcError` "invalid" if the result of the function is not a stream.
   */
  stream<Call extends Fn>(target: Procedure<Call, Fn> & MayStream<Call>, options?: StreamOptions): StreamStub<Call>;
  /** Returns a function that reads the stream of the remote function of this name. */
  stream<F extends Fn = (...args: unknown[]) => AsyncIterable<unknown>>(
    name: string,
    options?: StreamOptions,
  ): StreamStub<F>;
  /** Returns a function that reads the stream of the remote function with the same name. */
  stream<F extends Fn>(fn: F & MayStream<F>, options?: StreamOptions): StreamStub<F>;
  /** @ignore TypeScript reports the errors of the last overload, so this one describes all arguments. */
  stream<F extends Fn = Fn, T = string>(target: T & StreamTarget<T>, options?: StreamOptions): StreamStub<F>;
  stream(target: unknown, options: StreamOptions = {}): unknown {
    this.#engine.checkOpen("read a stream", " of", target);
    return parts.streamFor(this.#engine, target, options);
  }

  /** Returns the state of the bus, its last error, and the numbers of pending calls and running handlers. */
  health(): Health {
    return this.#engine.health;
  }

  /**
   * Closes the bus: it stops receiving, waits for running handlers and for events that are being published, closes the transport, and
   * removes everything that the bus created. Once it has begun, it never rejects.
   *
   * The last quarter of the timeout, at most a second, is reserved for the transport. A second call resolves with the same report as the
   * first; its timeout can only shorten the time that is left.
   *
   * If a handler of this bus calls it, the promise resolves when all other work has ended. The transport is closed when that handler has
   * ended too, or at the deadline; then `closed` resolves.
   *
   * @throws {ValidationError} when an option is invalid; the bus stays open
   */
  async close(options: CloseOptions = {}): Promise<CloseReport> {
    return await this.#engine.close(options);
  }

  /** Closes the bus with the default timeout. */
  async [Symbol.asyncDispose](): Promise<void> {
    await this.close();
  }
}
