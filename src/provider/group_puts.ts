/**
 * Puts published events into the queues of groups, for transports whose publishers do that themselves. A publisher reads the bindings at
 * most once a second, and only while it publishes, and caches them for that second. So every publisher knows a changed binding after
 * {@linkcode BINDING_DELAY}.
 *
 * @module
 */
import { BoundQueues, checkCopies } from "./bindings.ts";
import { inWords } from "../errors.ts";
import { TextMap } from "../internal/text_map.ts";
import { writeTopic } from "./topic_mark.ts";

/** Milliseconds for which a publisher caches the bindings that it has read. */
const CACHE_TIME = 1_000;
/** Milliseconds after which every publisher knows of a change: the timers of two threads differ a little. */
export const BINDING_DELAY: number = CACHE_TIME + 50;

/** The operations of a transport that groups need. */
export interface GroupQueues {
  /** Returns the texts of all bindings of the namespace, or an error with which the publishes of the next second reject. */
  read(): Promise<readonly string[] | Error>;
  /** Puts an item at the end of a queue. Items of one queue are put in the order of the calls. */
  put(queue: string, item: string): Promise<unknown>;
}

/** The bindings of a namespace at one moment. */
interface CachedBindings {
  readonly bound: BoundQueues;
  /** The error of publishes, if the bindings could not be used. */
  readonly fault?: Error;
  /** The time until which they are used, by `performance.now()`. */
  readonly until: number;
}

/** A request for the bindings. */
interface BindingsRequest {
  /** The time until which its result is used, counted from the request. */
  readonly until: number;
  /** The events that wait for the reply, in order. */
  readonly puts: ((cached: CachedBindings) => void)[];
  /** Settles with the request. */
  readonly done: Promise<void>;
}

/** An event that is being put into the queues of its groups. */
export interface EventPuts {
  /** Resolves when the event is in the queues of the groups that are known. */
  readonly put: Promise<unknown>;
  /**
   * Called after the event was published. If that took more than a second, it puts the event into the queues that were bound meanwhile.
   * Resolves when they have it.
   */
  finish(): Promise<unknown>;
}

/** Puts the events of one publisher into the queues of their groups. */
export class GroupPuts {
  #queues: GroupQueues;
  #cached: CachedBindings = { bound: new BoundQueues([]), until: -Infinity };
  #request: BindingsRequest | undefined;

  /** Creates the puts of one publisher. The bindings are read with the first event. */
  constructor(queues: GroupQueues) {
    this.#queues = queues;
  }

  /** The time until which no queue is bound, by `performance.now()`; `-Infinity` if a queue is or may be bound. */
  get noneUntil(): number {
    const { bound, fault, until } = this.#cached;
    return bound.empty && !fault ? until : -Infinity;
  }

  /** Puts an event into the queues of its groups: immediately or, if the bindings have to be read, immediately after that. */
  begin(topic: string, body: string): EventPuts {
    const stored = new TextMap<true>();
    let used = this.#cached;
    const act = (cached: CachedBindings) => this.#put(topic, body, used = cached, stored);
    const put = publishing(topic, performance.now() < used.until ? act(used) : this.#read(act));
    put.catch(() => {}); // the publisher awaits it later
    const finish = async () => {
      await put;
      if (performance.now() >= used.until) await publishing(topic, this.#read(act));
    };
    return { put, finish };
  }

  /**
   * Puts an event for which no queue was bound into the queues that were bound during its publish. Needed if the publish ended after
   * {@linkcode noneUntil}.
   */
  late(topic: string, body: string): Promise<unknown> {
    return publishing(topic, this.#read((cached) => this.#put(topic, body, cached, new TextMap())));
  }

  /** Puts an event into the queues that are bound to its topic, except those in `stored`. */
  async #put(topic: string, body: string, { bound, fault }: CachedBindings, stored: TextMap<true>): Promise<void> {
    if (fault) throw fault;
    if (bound.empty) return;
    const queues = bound.queuesOf(topic);
    checkCopies(queues.size, body);
    const missing = [...queues].filter(([queue]) => !stored.has(queue));
    await Promise.all(missing.map(async ([queue, marked]) => {
      stored.set(queue, true);
      return await this.#queues.put(queue, writeTopic(body, marked ? topic : undefined));
    }));
  }

  /** Reads the bindings, and puts an event with them. Calls that come soon after each other share a request. */
  #read(put: (cached: CachedBindings) => Promise<unknown>): Promise<unknown> {
    const now = performance.now();
    if (!this.#request || now >= this.#request.until) this.#request = this.#ask(now + CACHE_TIME);
    const { puts, done } = this.#request;
    return new Promise((resolve, reject) => {
      puts.push((cached) => void put(cached).then(resolve, reject));
      done.catch(reject);
    });
  }

  #ask(until: number): BindingsRequest {
    const puts: BindingsRequest["puts"] = [];
    const end = () => {
      if (this.#request === request) this.#request = undefined;
    };
    const done = this.#queues.read().then((bindings) => {
      end();
      const before = this.#cached.bound;
      const cached: CachedBindings = this.#cached = bindings instanceof Error
        ? { bound: before, fault: bindings, until }
        : { bound: new BoundQueues(bindings, before), until };
      // before any event that is published from now on, which uses these bindings
      for (const put of puts) put(cached);
    });
    done.catch(end);
    const request: BindingsRequest = { until, puts, done };
    return request;
  }
}

/** Rejects as the publish of an event to this topic: several share a request, and the queues of groups have names of their own. */
function publishing<T>(topic: string, work: Promise<T>): Promise<T> {
  return work.catch((error) => {
    throw inWords(`publish to "${topic}"`, error);
  });
}
