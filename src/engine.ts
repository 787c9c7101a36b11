/**
 * The class `Engine`: it opens both halves of a bus, tracks its state, and closes everything.
 *
 * @module
 */
import { CLOSE_TIMEOUT, Closing } from "./closing.ts";
import { Codec } from "./codec/codec.ts";
import { type Envelopes, UNSIGNED } from "./codec/envelope.ts";
import type { Core } from "./core.ts";
import { BusError, ClosedError, fromPlain, isUnavailable, type PlainError, ProviderError } from "./errors.ts";
import { BusErrorEvent, type BusState, BusStateEvent, type ErrorContext, type Gap, GapEvent } from "./events.ts";
import type { Authorize, ExposeErrors } from "./hooks.ts";
import { verbOn } from "./internal/arguments.ts";
import { PendingWork } from "./internal/pending_work.ts";
import { Work } from "./internal/work.ts";
import { isA, textOf } from "./internal/thrown.ts";
import { backoff, pause, RETRY, withDeadline } from "./internal/time.ts";
import type { Opening } from "./opening.ts";
import {
  type CheckedOptions,
  type CloseReport,
  closeTimeout,
  type Health,
  healthOf,
  suggestWaiting,
  waited,
} from "./options.ts";
import { Link } from "./port/link.ts";
import type { Place } from "./port/pool.ts";
import { WorkerError } from "./port/spawn.ts";
import type { Features, Provider, Sender } from "./provider/provider.ts";
import { Dispatch } from "./pubsub/dispatch.ts";
import { Publisher } from "./pubsub/publisher.ts";
import { Subscriptions } from "./pubsub/subscriptions.ts";
import { Caller } from "./rpc/caller.ts";
import { Decodings } from "./rpc/decodings.ts";
import { Inbox } from "./rpc/inbox.ts";
import { Posts } from "./rpc/posts.ts";
import { Server } from "./rpc/server.ts";
import { Activity } from "./telemetry/activity.ts";
import { Reports } from "./telemetry/reports.ts";
import { Telemetry } from "./telemetry/telemetry.ts";

export { Queue } from "./queue/queue.ts";
export { streamFor, stubFor } from "./rpc/stub.ts";

/** Milliseconds of one attempt to open a bus that waits for its transport: a host that does not answer may answer the next attempt. */
const FIRST_CONNECT = 10_000;
/** Milliseconds before the end of `connectTimeout` at which the last attempt starts, at least: time for it to succeed. */
const LAST_CONNECT = 1_000;

/** The implementation of a bus, without its public verbs. */
export class Engine implements Core {
  readonly namespace: string;
  /** The timeout of a call in milliseconds, unless its stub has its own. */
  readonly timeout: number;
  readonly sendTimeout: number;
  readonly closed: Promise<BusError | undefined>;
  readonly codec: Codec;
  envelopes: Envelopes = UNSIGNED;
  readonly telemetry: Telemetry;
  readonly activity: Activity = new Activity();
  readonly report: Core["report"];
  readonly reject: Core["reject"];
  readonly exposeErrors: ExposeErrors;
  readonly authorize?: Authorize;
  readonly features: Features;
  readonly handlers: PendingWork = new PendingWork();
  readonly receives: PendingWork = new PendingWork();
  readonly decodings: Decodings;
  link!: Link;
  sender!: Sender;
  subscriptions!: Subscriptions;
  publisher!: Publisher;
  server!: Server;
  caller!: Caller;
  #posts!: Posts;
  /** Handles the messages that come to the bus. */
  readonly inbox: Inbox = new Inbox(this);
  #provider: Provider;
  #options: CheckedOptions;
  #emit: (event: Event) => void;
  #dispatch!: Dispatch;
  #state: BusState = "up";
  #down = { receiver: false, sender: false };
  #upSince = -Infinity;
  #reconnects = 0;
  #reports: Reports<ErrorContext>;
  #outage: unknown;
  #repeated = 0;
  #closing = new AbortController();
  #end: Closing | undefined;
  #resolveClosed: (error: BusError | undefined) => void;

  /** Creates a bus over this provider, which `open` opens. It emits its events with `emit`. */
  constructor(provider: Provider, options: CheckedOptions, emit: (event: Event) => void) {
    this.#provider = provider;
    this.#options = options;
    this.#emit = emit;
    const { namespace, timeout, sendTimeout, types, maxReceive, log, exposeErrors, authorize } = this.#options;
    this.namespace = namespace;
    this.timeout = timeout;
    this.sendTimeout = sendTimeout;
    this.codec = new Codec(types, maxReceive);
    const dropped = () => this.caller.dropped();
    const full = () => this.server.load.full !== undefined;
    this.telemetry = new Telemetry(namespace, provider.name, log);
    this.#reports = new Reports(this.telemetry, (...report) => emit(new BusErrorEvent(...report)));
    ({ report: this.report, reject: this.reject } = this.#reports);
    this.decodings = new Decodings({ codec: this.codec, report: this.report, full, dropped });
    this.exposeErrors = exposeErrors;
    this.authorize = authorize;
    this.features = provider.features;
    const { promise, resolve } = Promise.withResolvers<BusError | undefined>();
    this.closed = promise;
    this.#resolveClosed = resolve;
  }

  /**
   * Opens both halves, the receiver in the worker of this place. With `waitOnFirstConnect`, it tries again while the transport is unreachable.
   */
  async open(place: Place, opening: Opening): Promise<void> {
    const { connectTimeout, waitOnFirstConnect } = this.#options;
    const deadline = performance.now() + connectTimeout;
    const last = Math.min(LAST_CONNECT, connectTimeout / 4);
    let known: BusError | undefined; // the last error of the transport itself: the last attempt is short, so its worker may be too slow to say why
    for (let failures = 1;; failures++) {
      opening.stopped.throwIfAborted();
      const left = Math.max(1, Math.ceil(deadline - performance.now()));
      const timeout = waitOnFirstConnect ? Math.min(left, FIRST_CONNECT) : connectTimeout;
      try {
        return await opening.within(this.#open(place, timeout, opening.forced));
      } catch (error) {
        opening.stopped.throwIfAborted();
        const unreachable = isUnavailable(error) && error.retryable;
        if (unreachable && waitOnFirstConnect === undefined && !isA(error, WorkerError)) throw suggestWaiting(error);
        if (!waitOnFirstConnect || !unreachable) throw error;
        if (!isA(error, WorkerError)) known = error;
        const spare = deadline - last - performance.now();
        if (spare <= 0) throw waited(known ?? error, connectTimeout);
        await pause(Math.min(backoff(RETRY.restore, failures), spare), opening.stopped);
      }
    }
  }

  /** Opens the sender and the receiver. If one of them fails to open, or the signal aborts, it closes the other one and rejects. */
  async #open(place: Place, connectTimeout: number, signal: AbortSignal): Promise<void> {
    const { namespace, sendTimeout, keys, encrypt, maxReceive } = this.#options;
    if (keys) {
      const { SignedEnvelopes } = await import("./keys/signed_envelopes.ts"); // not loaded without keys
      this.envelopes = new SignedEnvelopes(namespace, keys, encrypt, maxReceive);
    }
    const opening = Promise.withResolvers<Link>();
    const early: (readonly [error: PlainError, rejected?: boolean])[] = [];
    const fault = (error: PlainError, rejected?: boolean) => {
      if (rejected) return this.reject(() => fromPlain(error), "");
      this.report(fromPlain(error), "");
      if (error.code === "busy") this.caller?.dropped();
    };
    opening.promise.catch(() => {});
    const sender = this.#provider.open({
      namespace,
      connectTimeout,
      sendTimeout,
      maxReceive,
      signal,
      ask: async (verb, argument) => (await opening.promise).request<"ask">({ kind: "ask", verb, argument }),
      state: (connected, error) => this.#connection("sender", connected, error),
    });
    const link = Link.open(
      this.#provider,
      { namespace, connectTimeout, maxReceive },
      {
        died: (error) => this.caller?.fail(error), // the worker may die while the sender is still being opened
        state: (connected, error) => this.#connection("receiver", connected, error),
        gap: (reason, lost) => this.gap({ reason, lost }),
        fault: (...given) => this.server ? fault(...given) : void early.push(given),
        inbox: (bodies) => this.inbox.messages(bodies, this.link.inbox),
        requests: (topics, bodies) => this.inbox.requests(topics, bodies),
        posted: () => this.sender?.waker?.wake(this.link.inbox),
      },
      place,
      signal,
    );
    link.then(opening.resolve, opening.reject);
    // both halves are awaited even if one fails, so that neither is left behind
    const [opened, linked] = await Promise.allSettled([sender, link, Work.load()]);
    if (opened.status === "rejected" || linked.status === "rejected" || signal.aborted) {
      const timeout = signal.aborted ? 0 : connectTimeout;
      if (opened.status === "fulfilled") await opened.value.close(timeout);
      if (linked.status === "fulfilled") await withDeadline(timeout, (over) => linked.value.close(over));
      const reason: unknown = opened.status === "rejected" ? opened.reason : (linked as PromiseRejectedResult).reason;
      // the caller of `Bus.open` receives the error that ended it
      for (const given of early) if (given[0].message !== textOf(reason)) fault(...given);
      throw reason;
    }
    this.sender = opened.value;
    this.link = linked.value;
    this.#posts = new Posts(this.sender, this.envelopes);
    this.sender.waker?.wake(this.link.inbox);
    this.#dispatch = new Dispatch(this);
    this.subscriptions = new Subscriptions(this, this.#dispatch);
    this.publisher = new Publisher(this, this.#dispatch);
    this.server = new Server(this, (id) => this.caller.workOf(id));
    this.caller = new Caller(this, this.server);
    this.telemetry.log({ level: "info", event: "open" });
    for (const given of early) fault(...given);
  }

  get closing(): AbortSignal {
    return this.#closing.signal;
  }

  /** The state of the bus. */
  get state(): BusState {
    return this.#state;
  }

  readonly checkOpen = (verb: string, preposition: string, target?: unknown): void => {
    if (this.#state === "closed") throw closed(verb, preposition, target);
  };

  readonly checkNotClosing = (verb: string, preposition: string, target?: unknown): void => {
    if (this.#state === "closing" || this.#state === "closed") throw closed(verb, preposition, target);
  };

  readonly recovering = (ms: number): boolean => {
    return this.#state === "down" || performance.now() - this.#upSince < ms;
  };

  readonly outage = (): unknown => this.#outage;

  /** The health of the bus. */
  get health(): Health {
    return healthOf({
      state: this.#state,
      lastReceive: this.link.lastHeard,
      lastError: this.#reports.last,
      pending: { calls: this.caller.pending, handlers: this.handlers.running },
      subscriptions: this.#dispatch.size,
      reconnects: this.#reconnects,
      restarts: this.link.restarts,
      ...this.envelopes.signed && { refused: this.#reports.refused, repeated: this.#repeated },
    });
  }

  /**
   * Begins to close. If it is closing already, a timeout can only shorten the time that is left. Resolves when everything has ended; if
   * a handler of this bus calls it, when everything except that handler and the transport has ended.
   */
  close(options: unknown): Promise<CloseReport> {
    const timeout = closeTimeout(options);
    const fromHandler = this.handlers.exclude(Work.ofCaller(this.handlers));
    const end = this.#end ?? this.#startClosing(timeout ?? CLOSE_TIMEOUT);
    if (timeout !== undefined) end.bringForward(timeout);
    return fromHandler ? end.stopped : end.report;
  }

  #startClosing(timeout: number): Closing {
    this.#closing.abort(new ClosedError());
    const { server, caller, publisher } = this;
    const end = this.#end = new Closing(this, { dispatch: this.#dispatch, server, caller, publisher }, timeout);
    end.report.then((report) => {
      this.#reports.flush();
      this.activity.end();
      this.#setState("closed");
      this.#resolveClosed(undefined);
      this.telemetry.log({ level: report.clean ? "info" : "warn", event: "close", detail: report });
    });
    this.#setState("closing");
    return end;
  }

  readonly receiveAnswer = (inbox: string, body: string): void => this.inbox.messages([body], inbox);

  #connection(half: "receiver" | "sender", connected: boolean, error: unknown): void {
    if (!connected && error !== undefined) this.#reports.last = this.#outage = error;
    if (this.#down[half] === !connected) return;
    this.#down[half] = !connected;
    if (this.#state === "closing" || this.#state === "closed") return;
    const down = this.#down.receiver || this.#down.sender;
    if (!down) {
      this.#upSince = performance.now();
      this.#reconnects++;
      this.#reports.last = this.#outage = undefined;
    }
    if ((this.#state === "down") !== down) this.#setState(down ? "down" : "up", asBusError(error));
  }

  #setState(state: BusState, error?: BusError): void {
    this.#state = state;
    this.telemetry.log({
      level: error ? "warn" : "info",
      event: "state",
      detail: state,
      ...error !== undefined && { error },
    });
    this.#emit(new BusStateEvent(state, error));
  }

  readonly gap = ({ lost, ...gap }: Gap): void => {
    const detail: Gap = lost ? { ...gap, lost } : gap; // 0: the number is not known
    this.telemetry.log({ level: "warn", event: "gap", name: detail.topic, detail });
    this.#emit(new GapEvent(detail));
  };

  readonly post = (inbox: string, message: string): Promise<boolean | undefined> => {
    try {
      return this.#posts.post(inbox, this.codec.sendable(message));
    } catch (error) {
      return Promise.reject(error);
    }
  };

  readonly joins = (inbox: string): void => this.#posts.joins(inbox);

  readonly repeated = (): void => {
    this.#repeated++;
  };
}

/** Returns the error of a verb of a closed bus. */
function closed(verb: string, preposition: string, target: unknown): ClosedError {
  return new ClosedError(`Cannot ${verbOn(verb, preposition, target)}: the bus is closed`);
}

/** Returns the reason why a connection is down as an error of tsmq, whatever the provider passed. */
function asBusError(error: unknown): BusError | undefined {
  if (error === undefined || isA(error, BusError)) return error;
  return new ProviderError("unavailable", textOf(error), { cause: error });
}
