/**
 * The bus: one sender, one link to the receiver's worker, and the verbs over both.
 *
 * @module
 */
import { Closing } from "./closing.ts";
import { Codec, type EventClass } from "./codec/codec.ts";
import type { Accept, Core } from "./core.ts";
import { type Wrapper, wrapper } from "./pubsub/decorate.ts";
import { Dispatch } from "./pubsub/dispatch.ts";
import { type BusError, ClosedError, RpcError, ValidationError } from "./errors.ts";
import { BusErrorEvent, type Gap } from "./events.ts";
import { checkCount, checkFunction, checkNumber, checkSchema, checkSignal } from "./internal/arguments.ts";
import {
  type BusOptions,
  type BusState,
  checkOptions,
  checkProvider,
  type CloseOptions,
  type CloseReport,
  type Health,
} from "./options.ts";
import { Link } from "./port/link.ts";
import type { Provider, Sender } from "./provider/provider.ts";
import { Publisher } from "./pubsub/publisher.ts";
import { Queue, type QueueOptions } from "./queue/queue.ts";
import { Caller } from "./rpc/caller.ts";
import { checkUnexposeTarget, type ExposeOptions, exposures, remoteExposure } from "./rpc/exposure.ts";
import type { Class } from "./rpc/methods.ts";
import type {
  Fn,
  FunctionName,
  MultiObjectStub,
  MultiStub,
  ObjectStub,
  Procedure,
  Stub,
  StubOptions,
} from "./rpc/procedure.ts";
import { Server } from "./rpc/server.ts";
import { stubFor } from "./rpc/stub.ts";
import { ANSWER, CANCEL, REQUEST } from "./rpc/wire.ts";
import type { StandardSchemaV1 } from "./codec/schema.ts";
import { Telemetry } from "./telemetry.ts";
import { complain, guard, isA } from "./internal/thrown.ts";
import { withDeadline } from "./internal/time.ts";
import {
  type Handler,
  resolveTarget,
  type SubscribeOptions,
  type Subscription,
  type Target,
  Topic,
  type TopicOptions,
} from "./pubsub/topic.ts";
import { PendingWork } from "./internal/pending_work.ts";

/** A bus. Events: `"error"` ({@linkcode BusErrorEvent}), `"gap"` (detail: {@linkcode Gap}), `"state"` (detail: {@linkcode BusState}). */
export class Bus extends EventTarget implements AsyncDisposable {
  /** The namespace. */
  readonly namespace: string;
  /** Resolves when the bus has been closed; with the reason if it was not by `close`. */
  readonly closed: Promise<BusError | undefined>;
  #options: ReturnType<typeof checkOptions>;
  #codec: Codec;
  #telemetry!: Telemetry;
  #sender!: Sender;
  #link!: Link;
  #dispatch!: Dispatch;
  #publisher!: Publisher;
  #server!: Server;
  #caller!: Caller;
  #state: BusState = "up";
  #down = { receiver: false, sender: false };
  #upSince = -Infinity;
  #reconnects = 0;
  #lastError: unknown;
  /** What the bus calls in place of each listener: a listener that throws must not end the process. */
  #guards = new WeakMap<object, EventListener>();
  /** Who listens for errors. */
  #listening = new Set<EventListenerOrEventListenerObject>();
  #core!: Core;
  #handlers = new PendingWork();
  #decodings = new PendingWork();
  #handlings = new Set<Handling>();
  #closing = new AbortController();
  #end: Closing | undefined;
  #resolveClosed: (error: BusError | undefined) => void;

  private constructor(options: BusOptions) {
    super();
    this.#options = checkOptions(options);
    this.namespace = this.#options.namespace;
    this.#codec = new Codec(this.#options.types);
    const { promise, resolve } = Promise.withResolvers<BusError | undefined>();
    this.closed = promise;
    this.#resolveClosed = resolve;
  }

  /**
   * Opens a bus of one's own; several may live side by side. It keeps the process alive until it is closed.
   *
   * @throws {ProviderError} "unavailable" or "denied" when the transport cannot be reached within `connectTimeout`
   * @throws {UnsupportedError} where the platform lacks the transport
   * @throws {ValidationError} when an option is not what it must be
   */
  static async open(provider: Provider, options: BusOptions = {}): Promise<Bus> {
    checkProvider(provider);
    const bus = new Bus(options);
    await bus.#open(provider);
    return bus;
  }

  async #open(provider: Provider): Promise<void> {
    const { namespace, connectTimeout, sendTimeout, log } = this.#options;
    this.#telemetry = new Telemetry(namespace, provider.name, log);
    const opening = Promise.withResolvers<Link>();
    opening.promise.catch(() => {});
    const sender = provider.open({
      namespace,
      connectTimeout,
      sendTimeout,
      ask: async (verb, argument) => (await opening.promise).request<"ask">({ kind: "ask", verb, argument }),
      state: (connected, error) => this.#connection("sender", connected, error),
    });
    const link = Link.open(provider, { namespace, connectTimeout }, {
      died: (error) => this.#caller?.fail(error), // it may die while the sender is still being opened
      state: (connected, error) => this.#connection("receiver", connected, error),
      gap: (reason, lost) => this.#gap({ reason, lost }),
      fault: (error) => this.#report(error, ""),
      inbox: (bodies) => this.#inbox(bodies),
      posted: () => this.#sender?.waker?.wake(this.#link.inbox),
    });
    link.then(opening.resolve, opening.reject);
    // both halves are awaited even if one fails, so that neither is left behind
    const [opened, linked] = await Promise.allSettled([sender, link]);
    if (opened.status === "rejected" || linked.status === "rejected") {
      if (opened.status === "fulfilled") await opened.value.close(connectTimeout);
      if (linked.status === "fulfilled") await withDeadline(connectTimeout, (over) => linked.value.close(over));
      throw opened.status === "rejected" ? opened.reason : (linked as PromiseRejectedResult).reason;
    }
    this.#sender = opened.value;
    this.#link = linked.value;
    this.#sender.waker?.wake(this.#link.inbox);
    const core: Core = this.#core = {
      link: this.#link,
      sender: this.#sender,
      features: provider.features,
      codec: this.#codec,
      telemetry: this.#telemetry,
      handlers: this.#handlers,
      receives: new PendingWork(),
      decodings: this.#decodings,
      closing: this.#closing.signal,
      checkOpen: () => this.#checkOpen(),
      checkNotClosing: () => this.#checkNotClosing(),
      recovering: (ms) => this.#recovering(ms),
      decode: (body, name, accept) => this.#decode(body, name, accept),
      report: (error, name) => this.#report(error, name),
      gap: (detail) => this.#gap(detail),
    };
    this.#dispatch = new Dispatch(core, sendTimeout);
    this.#publisher = new Publisher(core, this.#dispatch);
    this.#server = new Server(core, (id) => this.#caller.workOf(id));
    this.#caller = new Caller(core, this.#server);
    this.#telemetry.log({ level: "info", event: "open" });
  }

  /**
   * Publishes an event to all who subscribed its topic; resolves with how many transport subscriptions it reached
   * (buses, not handlers), where the transport knows. Without a target the event's class names the topic.
   *
   * @throws {ValidationError} when the event has no class to name its topic, is not what a schema says, or cannot be sent
   * @throws {ClosedError} when the bus is closed
   */
  publish<I>(event: I, target: Topic<never, I>): Promise<number | undefined>;
  /** To a topic by its name. */
  publish(event: unknown, target: string | Topic): Promise<number | undefined>;
  /** To the topic of the event's class. */
  publish(event: object): Promise<number | undefined>;
  publish(event: unknown, target?: string | Topic): Promise<number | undefined> {
    try {
      this.#checkOpen();
      return this.#publisher.publish(event, target);
    } catch (error) {
      return Promise.reject(error);
    }
  }

  /**
   * Subscribes a handler to a topic, a glob, or an event class. Equal subscriptions share one of the transport.
   *
   * @throws {ValidationError} when an argument is not what it must be
   * @throws {ClosedError} when the bus is closed
   */
  subscribe<T>(target: EventClass<T>, handler: Handler<T>, options?: SubscribeOptions<undefined>): Subscription;
  /** A topic with its type. */
  subscribe<T, I>(target: Topic<T, I>, handler: Handler<T>, options?: SubscribeOptions<undefined>): Subscription;
  /** Whatever it is, with a schema whose output the handler gets. */
  subscribe<S extends StandardSchemaV1>(
    target: Target,
    handler: Handler<StandardSchemaV1.InferOutput<S>>,
    options: SubscribeOptions<S> & { readonly schema: S },
  ): Subscription;
  /** A name or a glob. */
  subscribe<T = unknown>(target: string, handler: Handler<T>, options?: SubscribeOptions<undefined>): Subscription;
  subscribe(target: unknown, handler: unknown, options: SubscribeOptions = {}): Subscription {
    return this.#listen(target, handler as Handler<never>, options);
  }

  /**
   * Ends the oldest subscription of this handler to this target: one by name, and one by pattern. A handler that was subscribed
   * twice stays subscribed once. Nothing happens for an unknown pair.
   */
  async unsubscribe<T, I>(
    target: string | Topic<T, I> | EventClass<T>,
    handler: Handler<T> | Handler<never>,
  ): Promise<void> {
    const { topic } = resolveTarget(target, Codec.nameOf);
    const all = [...this.#handlings].filter((one) => one.topic === topic && one.handler === handler);
    const oldest = [false, true].map((pattern) => all.find((one) => one.pattern === pattern));
    await Promise.all(oldest.map((one) => one?.unsubscribe()));
  }

  /** Subscribes a function, which it returns, or as a decorator each instance's method. */
  subscriber(target: Target, options: SubscribeOptions = {}): Wrapper {
    return wrapper((fn) => this.#listen(target, fn as unknown as Handler<never>, options));
  }

  /** A topic with its type. */
  topic<S extends StandardSchemaV1>(
    name: string,
    options: TopicOptions<S> & { readonly schema: S },
  ): Topic<StandardSchemaV1.InferOutput<S>, StandardSchemaV1.InferInput<S>>;
  /** Of events that no schema checks. */
  topic<T = unknown>(name: string, options?: TopicOptions<undefined>): Topic<T>;
  topic(name: string, options: TopicOptions = {}): Topic {
    return new Topic(name, options, {
      publish: (event, target) => this.publish(event, target),
      subscribe: (target, handler, options) => this.#listen(target, handler, options),
    });
  }

  /**
   * A queue by its name.
   *
   * @throws {ClosedError} when the bus is closed
   */
  queue<S extends StandardSchemaV1>(
    name: string,
    options: QueueOptions<S> & { readonly schema: S },
  ): Queue<StandardSchemaV1.InferOutput<S>, StandardSchemaV1.InferInput<S>>;
  /** Of items that no schema checks. */
  queue<T = unknown>(name: string, options?: QueueOptions<undefined>): Queue<T>;
  queue(name: string, options: QueueOptions = {}): Queue {
    this.#checkOpen();
    return new Queue(name, options, this.#core);
  }

  /**
   * Serves a function as a procedure. Resolves when callers can find it.
   *
   * @throws {ValidationError} when there is nothing to serve, or this bus serves the name, or another class of that name, already
   */
  expose<Call extends Fn, Serve extends Fn>(
    procedure: Procedure<Call, Serve>,
    fn: NoInfer<Serve>,
    options?: ExposeOptions,
  ): Promise<void>;
  /** Serves a function under a given name. */
  expose(name: string, fn: Fn, options?: ExposeOptions): Promise<void>;
  /** Serves a function under its own name. Minifiers rename functions: what is bundled is better given a name. */
  expose(fn: Fn, options?: ExposeOptions): Promise<void>;
  /** Serves one method of an object, or some of them, as `Class.method`. */
  expose<O extends object>(
    object: O,
    methods: FunctionName<O> | readonly FunctionName<O>[],
    options?: ExposeOptions,
  ): Promise<void>;
  /**
   * Serves each method of an object as `Class.method`, where `Class` is the class's own `static topic` or else its name: those of
   * its class and of the classes that this extends, up to the first one of the platform; not what `@remote` serves already, and
   * none that begins with `_`. TypeScript's `private` ends with the compiler: such methods are served. Where a library's class is
   * extended, its methods are served too, unless the methods to serve are listed. A plain object serves its own functions, under
   * their keys.
   */
  expose(object: object, options?: ExposeOptions): Promise<void>;
  async expose(target: unknown, second?: unknown, third?: unknown): Promise<void> {
    this.#checkNotClosing();
    const all = exposures(target, second, third, this.#server.exposures);
    const done = await Promise.allSettled(all.map((exposure) => this.#server.expose(exposure)));
    const failed = done.find((result) => result.status === "rejected");
    if (!failed) return;
    // all of an object or nothing of it
    await Promise.all(
      all.map(({ name }, i) => done[i]!.status === "fulfilled" ? this.#server.unexpose(name) : undefined),
    );
    throw failed.reason;
  }

  /**
   * Ends the serving of a name or a procedure, of a function under all its names, or of all methods of an object. Nothing happens
   * if it was not served.
   */
  async unexpose(target: string | Fn | Procedure | object): Promise<void> {
    checkUnexposeTarget(target);
    if (this.#state === "closed") return;
    const ended = this.#server.exposures.filter((exposure) => exposure.isOf(target));
    await Promise.all(ended.map(({ name }) => this.#server.unexpose(name)));
  }

  /** Exposes a function, which it returns, or as a decorator each instance's method. Default name: the function's, or `Class.method`. */
  remote(name?: string): Wrapper {
    return wrapper((fn, self, method) => {
      const expose = async () => await this.expose(remoteExposure(name, fn, self, method));
      expose().catch((error) => this.#report(error, name ?? method ?? fn.name));
    });
  }

  /**
   * Something to call a remote function with: by name, by function, by procedure, or an object with every method of a class.
   *
   * The calls reject with `NoSuchRemoteError`, `RemoteInvocationError`, `TimeoutError`, `ProviderError`, or the signal's reason.
   */
  stub<Call extends Fn, Serve extends Fn>(
    target: Procedure<Call, Serve>,
    options: StubOptions & { readonly multi: true },
  ): MultiStub<Call>;
  /** By a procedure. */
  stub<Call extends Fn, Serve extends Fn>(target: Procedure<Call, Serve>, options?: StubOptions): Stub<Call>;
  /** Every method of a class, each at every server. */
  stub<C>(target: Class<C>, options: StubOptions & { readonly multi: true }): MultiObjectStub<C>;
  /** Every method of a class. */
  stub<C>(target: Class<C>, options?: StubOptions): ObjectStub<C>;
  /** By a name, at every server. */
  stub<F extends Fn = (...args: unknown[]) => unknown>(
    name: string,
    options: StubOptions & { readonly multi: true },
  ): MultiStub<F>;
  /** By a name. */
  stub<F extends Fn = (...args: unknown[]) => unknown>(name: string, options?: StubOptions): Stub<F>;
  /** By a function, at every server. */
  stub<F extends Fn>(fn: F, options: StubOptions & { readonly multi: true }): MultiStub<F>;
  /** By a function. */
  stub<F extends Fn>(fn: F, options?: StubOptions): Stub<F>;
  stub(target: unknown, options: StubOptions = {}): unknown {
    this.#checkOpen();
    return stubFor(this.#caller, target, { ...options, timeout: options.timeout ?? this.#options.timeout });
  }

  /** How the bus is. */
  health(): Health {
    return {
      state: this.#state,
      lastReceive: this.#link.lastHeard,
      lastError: this.#lastError,
      pending: { calls: this.#caller.pending, handlers: this.#handlers.running },
      subscriptions: this.#dispatch.size,
      reconnects: this.#reconnects,
      restarts: this.#link.restarts,
    };
  }

  /**
   * Takes nothing more, lets handlers finish, then closes the transport: removes everything that the bus created. Never rejects.
   *
   * The last quarter of the timeout, at most a second, is kept for the transport. A further call joins the first and gets its report;
   * a timeout of its own can only bring the end forward.
   *
   * Called by one of its own handlers, it counts that handler as finished: it resolves when all other work has ended, and the
   * transport is closed when that handler has ended, too, or at the deadline. `closed` tells when.
   */
  close(options: CloseOptions = {}): Promise<CloseReport> {
    const { timeout } = options;
    if (timeout !== undefined) checkNumber("a timeout", timeout);
    const own = this.#handlers.excludeCaller();
    if (!this.#end) this.#close(timeout ?? 5_000);
    else if (timeout !== undefined) this.#end.bringForward(timeout);
    return own ? this.#end!.stopped : this.#end!.report;
  }

  #close(timeout: number): void {
    this.#closing.abort(new ClosedError());
    const closing = this.#end = new Closing(this.#core, {
      dispatch: this.#dispatch,
      server: this.#server,
      caller: this.#caller,
      publisher: this.#publisher,
    }, timeout);
    closing.report.then((report) => {
      this.#setState("closed");
      this.#resolveClosed(undefined);
      this.#telemetry.log({ level: report.clean ? "info" : "warn", event: "close", detail: report });
    });
    this.#setState("closing");
  }

  /** Closes the bus. */
  async [Symbol.asyncDispose](): Promise<void> {
    await this.close();
  }

  /** As of `EventTarget`. Errors that nobody listens for go to the console. */
  override addEventListener(...args: Parameters<EventTarget["addEventListener"]>): void {
    const [type, listener, options] = args;
    super.addEventListener(type, this.#guarded(listener), options);
    const { once, signal } = (typeof options === "object" ? options : undefined) ?? {};
    if (type !== "error" || listener === null || signal?.aborted) return;
    const gone = () => this.#listening.delete(listener);
    this.#listening.add(listener);
    if (once) super.addEventListener(type, gone, { once });
    signal?.addEventListener("abort", gone, { once: true });
  }

  /** As of `EventTarget`. */
  override removeEventListener(...args: Parameters<EventTarget["removeEventListener"]>): void {
    const [type, listener, options] = args;
    super.removeEventListener(type, this.#guarded(listener), options);
    if (type === "error" && listener !== null) this.#listening.delete(listener);
  }

  #guarded(listener: EventListenerOrEventListenerObject | null): EventListener | null {
    if (listener === null) return null;
    let guarded = this.#guards.get(listener);
    if (!guarded) {
      guarded = (event) =>
        guard(
          `a listener for "${event.type}"`,
          () => typeof listener === "function" ? listener.call(this, event) : listener.handleEvent(event),
        );
      this.#guards.set(listener, guarded);
    }
    return guarded;
  }

  #checkOpen(): void {
    if (this.#state === "closed") throw new ClosedError();
  }

  #checkNotClosing(): void {
    if (this.#state === "closing" || this.#state === "closed") throw new ClosedError();
  }

  #listen(target: unknown, handler: Handler<never>, options: SubscribeOptions): Subscription {
    this.#checkNotClosing();
    checkFunction("a handler", handler);
    const { topic, pattern = options.pattern ?? false, type, ...own } = resolveTarget(target, Codec.nameOf);
    const schema = options.schema ?? own.schema;
    const concurrency = checkCount("a concurrency", options.concurrency ?? 1);
    checkSchema(schema);
    checkSignal(options.signal);
    if (type) this.#codec.register(type);
    const { promise: closed, resolve } = Promise.withResolvers<void>();
    const ended = () => {
      options.signal?.removeEventListener("abort", abort);
      this.#handlings.delete(handling);
      resolve();
    };
    const { ready, remove: unsubscribe } = this.#dispatch.add({
      topic,
      pattern,
      type,
      schema,
      concurrency,
      handler,
      ended,
    });
    const abort = () => void unsubscribe().catch((error) => this.#report(error, topic));
    options.signal?.addEventListener("abort", abort, { once: true });
    const handling: Handling = {
      topic,
      pattern,
      ready,
      closed,
      handler,
      unsubscribe,
      [Symbol.asyncDispose]: unsubscribe,
    };
    this.#handlings.add(handling);
    return handling;
  }

  #inbox(bodies: string[]): void {
    for (const body of bodies) {
      this.#decode(body, "", ({ value, type }, unreadable) => {
        if (type === ANSWER) this.#caller.handleAnswer(value, unreadable);
        else if (type === REQUEST) this.#server.handleRequest(value, unreadable);
        else if (unreadable) return;
        else if (type === CANCEL && Array.isArray(value)) this.#server.cancel(String(value[0]));
        else {this.#report(
            new RpcError("invalid", "Cannot take a message from the inbox: it is of no kind of ours"),
            "",
          );}
      });
    }
  }

  /**
   * Takes what a body says; what a schema takes its time for is waited for when the bus closes. What cannot be read is reported, and
   * taken with that as far as it goes: somebody may wait for the outcome.
   */
  #decode(body: string, topic: string, accept: Accept): void {
    const fail = (error: unknown) => {
      this.#report(error, topic);
      if (!isA(error, ValidationError) || error.body !== body) return;
      const outline = Codec.outline(body);
      if (outline) accept(outline, error);
    };
    try {
      const decoded = this.#codec.decode(body);
      if (decoded instanceof Promise) void this.#decodings.track(decoded.then((said) => accept(said)).catch(fail));
      else accept(decoded);
    } catch (error) {
      fail(error);
    }
  }

  #recovering(ms: number): boolean {
    return this.#state === "down" || performance.now() - this.#upSince < ms;
  }

  #connection(half: "receiver" | "sender", connected: boolean, error: unknown): void {
    if (this.#down[half] === !connected) return;
    this.#down[half] = !connected;
    if (error !== undefined) this.#lastError = error;
    if (this.#state === "closing" || this.#state === "closed") return;
    const down = this.#down.receiver || this.#down.sender;
    if (!down) {
      this.#upSince = performance.now();
      this.#reconnects++;
    }
    if ((this.#state === "down") !== down) this.#setState(down ? "down" : "up");
  }

  #setState(state: BusState): void {
    this.#state = state;
    this.#telemetry.log({ level: state === "down" ? "warn" : "info", event: "state", detail: state });
    this.dispatchEvent(new CustomEvent("state", { detail: state }));
  }

  #gap(detail: Gap): void {
    this.#telemetry.log({ level: "warn", event: "gap", name: detail.topic, detail });
    this.dispatchEvent(new CustomEvent("gap", { detail }));
  }

  #report(error: unknown, topic: string): void {
    this.#lastError = error;
    this.#telemetry.log({ level: "error", event: "error", ...topic && { name: topic }, error });
    if (this.#listening.size === 0) return complain(topic ? `on "${topic}":` : "", error);
    this.dispatchEvent(new BusErrorEvent(error, topic));
  }
}

interface Handling extends Subscription {
  readonly handler: unknown;
}
