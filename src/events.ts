/**
 * The events that a bus emits, and their listeners.
 *
 * @module
 */
import { BusError } from "./errors.ts";
import { complain, guard } from "./internal/complain.ts";
import { recognise } from "./internal/copies.ts";
import { isA, nameOf, stackOf, textOf } from "./internal/thrown.ts";

/** The origin of an error, and what the bus does next. */
export interface ErrorContext {
  /** The verb that the user called: its handler or function threw, or its message could not be read. */
  readonly verb?: "subscribe" | "consume" | "expose";
  /**
   * The number of the failed attempt of an item. One event of an attempt has it; further errors, such as that of giving the item back, do
   * not, nor `next`.
   */
  readonly attempt?: number;
  /**
   * The next step of the bus: the item is retried after `delay` milliseconds, the item moves to its dead-letter queue, the event (or an
   * item of a memory queue that was lost with its worker) is dropped, or the caller receives the error. "dead-letter" after the last
   * attempt, or if `backoff` returned `Infinity`. Absent if the lease was lost: another consumer may have finished the item.
   */
  readonly next?: "retry" | "dead-letter" | "drop" | "answer";
  /** Milliseconds until the next attempt; absent if the bus does not know it, as after a lost lease. */
  readonly delay?: number;
  /** The item or the event that was handled, or its body if it could not be read. */
  readonly item?: unknown;
  /** The headers of the item or the event. */
  readonly headers?: Readonly<Record<string, string>>;
}

/** The `"error"` event of a bus: a handler threw, a body could not be read, the transport reported a fault. */
export class BusErrorEvent extends Event {
  /** The error. */
  readonly error: unknown;
  /** The text of the error. */
  readonly message: string;
  /** The same as {@linkcode BusErrorEvent.name}, also for a queue or a function. */
  readonly topic: string;
  /** The verb whose handler or function threw, or whose message could not be read; absent for other errors. */
  readonly verb?: ErrorContext["verb"];
  /** The number of the failed attempt of an item, as in {@linkcode ErrorContext.attempt}. */
  readonly attempt?: number;
  /** The next step of the bus, as in {@linkcode ErrorContext.next}. Absent if it is not known. */
  readonly next?: ErrorContext["next"];
  /** Milliseconds until the next attempt, if `next` is "retry" and the time is known. */
  readonly delay?: number;
  /**
   * The item or the event that was handled, or its body if it could not be read; absent for other errors. It may contain secrets, so neither
   * `toJSON` nor `console.log` shows it.
   */
  readonly item?: unknown;
  /** The headers of the item or the event. Neither `toJSON` nor `console.log` shows them. */
  readonly headers?: Readonly<Record<string, string>>;

  /** Created by the bus. */
  constructor(error: unknown, topic: string, context: ErrorContext = {}) {
    super("error");
    const { verb, attempt, next, delay, item, headers } = context;
    this.error = error;
    this.message = textOf(error);
    this.topic = topic;
    this.verb = verb;
    this.attempt = attempt;
    this.next = next;
    this.delay = delay;
    this.item = item;
    this.headers = headers;
  }

  /** The topic, queue or function where the error occurred, or an empty text. For a group, it is the queue `<topic>@<group>`. */
  get name(): string {
    return this.topic;
  }

  /** The same as `error`, as in a `CustomEvent`. */
  get detail(): unknown {
    return this.error;
  }

  /** Returns the members for a log, without the item and its headers. */
  toJSON(): Readonly<Record<string, unknown>> {
    const { message } = this;
    return { ...contextOf(this), message, error: plain(this.error) };
  }
}

/**
 * The detail of a `"gap"` event: events may have been missed. Each subscription has its own `"gap"`, between the events before and
 * after it.
 */
export interface Gap {
  /**
   * The reason why events may have been missed, as a text for people: a broken connection, a dead worker, or events that the bus dropped.
   */
  readonly reason: string;
  /** The number of missed events; absent if it is not known. */
  readonly lost?: number;
  /** The topic or glob of the subscription; absent if the bus has no subscription. */
  readonly topic?: string;
}

/** The states of a bus. */
export type BusState = "up" | "down" | "closing" | "closed";

/** The `"state"` event of a bus. */
export class BusStateEvent extends CustomEvent<BusState> {
  /** The new state of the bus; also the `detail` of the event. */
  readonly state: BusState;
  /** The reason why the state is "down"; undefined for other states. */
  readonly error: BusError | undefined;

  /** Created by the bus. */
  constructor(state: BusState, error?: BusError) {
    super("state", { detail: state });
    this.state = state;
    this.error = error;
  }

  /** Returns the members for a log. */
  toJSON(): Readonly<Record<string, unknown>> {
    const { state, error } = this;
    return { state, ...error && { error: plain(error) } };
  }
}

/** The `"gap"` event of a bus: a `CustomEvent` that a log shows with its detail. */
export class GapEvent extends CustomEvent<Gap> {
  /** Created by the bus. */
  constructor(detail: Gap) {
    super("gap", { detail });
  }

  /** Returns the members for a log. */
  toJSON(): Gap {
    return this.detail;
  }
}

recognise({ BusErrorEvent, BusStateEvent });
prints(BusErrorEvent, "BusErrorEvent", (event) => ({ ...contextOf(event), error: event.error }));
prints(BusStateEvent, "BusStateEvent", ({ state, error }) => ({ state, ...error && { error } }));
prints(GapEvent, "GapEvent", ({ detail }) => detail);

/** Returns the members of an error event that say where the error occurred and what the bus does next, without those that are absent. */
function contextOf({ topic, verb, attempt, next, delay }: BusErrorEvent): Readonly<Record<string, unknown>> {
  const members = Object.entries({ name: topic || undefined, verb, attempt, next, delay });
  return Object.fromEntries(members.filter(([, value]) => value !== undefined));
}

/** Returns an error as plain data. JSON omits the name, the message and the stack of an `Error`. */
function plain(error: unknown): Readonly<Record<string, unknown>> {
  const code = isA(error, BusError) ? error.code : undefined;
  return { name: nameOf(error), ...code && { code }, message: textOf(error), stack: stackOf(error) };
}

/** Makes `console.log` print these members of an event. Otherwise, it would print the members that every event has, or all members. */
function prints<E extends object>(type: { readonly prototype: E }, name: string, members: (event: E) => object): void {
  type Inspect = (value: unknown, options: unknown) => string;
  const print = (event: E, inspect: Inspect, options: unknown) => `${name} ${inspect(members(event), options)}`;
  Object.defineProperties(type.prototype, {
    [Symbol.for("Deno.customInspect")]: {
      value(this: E, inspect: Inspect, options: unknown): string {
        return print(this, inspect, options);
      },
    },
    [Symbol.for("nodejs.util.inspect.custom")]: {
      value(this: E, _depth: number, options: unknown, inspect: Inspect): string {
        return print(this, inspect, options);
      },
    },
  });
}

/** The events of a bus, by their types. */
export interface BusEventMap {
  /** A handler threw, a body could not be read, or the transport reported a fault. */
  readonly error: BusErrorEvent;
  /** Events may have been missed. */
  readonly gap: CustomEvent<Gap>;
  /** The state of the bus has changed. */
  readonly state: BusStateEvent;
}

/** A listener for one type of event of a bus: a function, or an object with the method `handleEvent`. */
export type BusEventListener<E extends Event> = ((event: E) => unknown) | { handleEvent(event: E): unknown };

// The types of options are those of `EventTarget`, because only the library `dom` has names for them.
/** The listeners of a bus. An error that a listener throws does not end the process. */
export class BusEvents extends EventTarget {
  /** The function that is called in place of each listener. */
  #guarded = new WeakMap<object, EventListener>();
  /** Events that reached a listener. */
  #heard = new WeakSet<Event>();

  /** Adds a listener, as `EventTarget` does. An error that no listener receives is written to the console. */
  override addEventListener<K extends keyof BusEventMap>(
    type: K,
    listener: BusEventListener<BusEventMap[K]> | null,
    options?: Parameters<EventTarget["addEventListener"]>[2],
  ): void;
  /** Adds a listener for events of any other type. */
  override addEventListener(...args: Parameters<EventTarget["addEventListener"]>): void;
  override addEventListener(
    type: string,
    listener: unknown,
    options?: Parameters<EventTarget["addEventListener"]>[2],
  ): void {
    super.addEventListener(type, this.#guard(listener as EventListener | null), options);
  }

  /** Removes a listener, as `EventTarget` does. */
  override removeEventListener<K extends keyof BusEventMap>(
    type: K,
    listener: BusEventListener<BusEventMap[K]> | null,
    options?: Parameters<EventTarget["removeEventListener"]>[2],
  ): void;
  /** Removes a listener for events of any other type. */
  override removeEventListener(...args: Parameters<EventTarget["removeEventListener"]>): void;
  override removeEventListener(
    type: string,
    listener: unknown,
    options?: Parameters<EventTarget["removeEventListener"]>[2],
  ): void {
    super.removeEventListener(type, this.#guard(listener as EventListener | null), options);
  }

  /** Emits an event. Writes an error that no listener receives to the console. */
  protected emit(event: Event): void {
    this.dispatchEvent(event);
    if (!(event instanceof BusErrorEvent) || this.#heard.has(event)) return;
    complain(originOf(event), event.error);
  }

  /** Wraps a listener, so that an error that it throws does not end the process. */
  #guard(listener: EventListenerOrEventListenerObject | null): EventListener | null {
    if (listener === null) return null;
    let guarded = this.#guarded.get(listener);
    if (!guarded) {
      guarded = (event) => {
        this.#heard.add(event);
        guard(
          `a listener for "${event.type}"`,
          () => typeof listener === "function" ? listener.call(this, event) : listener.handleEvent(event),
        );
      };
      this.#guarded.set(listener, guarded);
      this.#guarded.set(guarded, guarded); // Deno itself removes a listener whose signal aborts
    }
    return guarded;
  }
}

const OUTCOMES = {
  retry: "it is retried",
  "dead-letter": "it moves to the dead-letter queue",
  drop: "it is dropped",
  answer: "the caller receives the error",
} as const;

/** Returns the origin of an error as a prefix of its text: `on "jobs" (consume, attempt 1, it is retried in 100 ms):`. */
function originOf({ topic, verb, attempt, next, delay }: BusErrorEvent): string {
  if (!topic) return "";
  const parts: string[] = verb ? [verb] : [];
  if (attempt !== undefined) parts.push(`attempt ${attempt}`);
  if (next) parts.push(`${OUTCOMES[next]}${delay === undefined ? "" : ` in ${delay} ms`}`);
  return `on "${topic}"${parts.length > 0 ? ` (${parts.join(", ")})` : ""}:`;
}
