/**
 * Puts published events into the queues of groups, for transports whose publishers do that themselves. A publisher reads the bindings at
 * most once a second, and only while it publishes, and believes them for that long. So a change of a binding is known after {@linkcode KNOWN}.
 *
 * @module
 */
import { BoundQueues } from "./bindings.ts";
import { writeTopic } from "./topic_mark.ts";

/** Milliseconds for which a publisher believes that there are no other bindings than those that it has read. */
const BELIEF = 1_000;
/** Milliseconds after which every publisher knows of a change: the timers of two threads differ a little. */
export const KNOWN: number = BELIEF + 50;

/** The operations of a transport that groups need. */
export interface GroupQueues {
  /** Returns the texts of all bindings of the namespace. */
  read(): Promise<readonly string[]>;
  /** Puts an item at the end of a queue. Items of one queue are put in the order of the calls. */
  put(queue: string, item: string): Promise<unknown>;
}

/** The bindings of a namespace at one moment. */
interface Known {
  readonly bound: BoundQueues;
  /** The time until which they are believed, by `performance.now()`. */
  readonly until: number;
}

/** A request for the bindings. */
interface Reading {
  /** The time until which they are believed, counted from the request. */
  readonly until: number;
  /** The events that wait for the reply, in order. */
  readonly puts: ((known: Known) => void)[];
  /** Settles with the request. */
  readonly done: Promise<void>;
}

/** An event that is being put into the queues of its groups. */
export interface EventPuts {
  /** Resolves when the event is in the queues of the groups that are known. */
  readonly put: Promise<unknown>;
  /** Called when the event was published. Resolves when it is also in the queues that were bound while that took more than a second. */
  finish(): Promise<unknown>;
}

/** Puts the events of one publisher into the queues of their groups. */
export class GroupPuts {
  #queues: GroupQueues;
  #known: Known = { bound: new BoundQueues([]), until: -Infinity };
  #reading: Reading | undefined;

  /** Creates a publisher's end of the groups of a namespace. It has not read the bindings. */
  constructor(queues: GroupQueues) {
    this.#queues = queues;
  }

  /** The time until which no queue is bound, by `performance.now()`; `-Infinity` if one is, or may be. */
  get noneUntil(): number {
    const { bound, until } = this.#known;
    return bound.empty ? until : -Infinity;
  }

  /** Puts an event into the queues of its groups: immediately or, if the bindings have to be read, immediately after that. */
  begin(topic: string, body: string): EventPuts {
    const stored = new Set<string>();
    let used = this.#known;
    const act = (known: Known) => this.#put(topic, body, used = known, stored);
    const put = performance.now() < used.until ? act(used) : this.#read(act);
    put.catch(() => {}); // the publisher awaits it later
    const finish = async () => {
      await put;
      if (performance.now() >= used.until) await this.#read(act);
    };
    return { put, finish };
  }

  /** Puts an event, for which no queue was bound, into the queues that were bound while its publish took longer than {@linkcode noneUntil}. */
  late(topic: string, body: string): Promise<unknown> {
    return this.#read((known) => this.#put(topic, body, known, new Set()));
  }

  /** Puts an event into the queues of its topic, except those that have it. */
  #put(topic: string, body: string, { bound }: Known, stored: Set<string>): Promise<unknown> {
    if (bound.empty) return Promise.resolve();
    const missing = [...bound.queuesOf(topic)].filter(([queue]) => !stored.has(queue));
    return Promise.all(missing.map(([queue, marked]) => {
      stored.add(queue);
      return this.#queues.put(queue, writeTopic(body, marked ? topic : undefined));
    }));
  }

  /** Reads the bindings, and puts an event with them. Calls that come soon after each other share a request. */
  #read(put: (known: Known) => Promise<unknown>): Promise<unknown> {
    const now = performance.now();
    if (!this.#reading || now >= this.#reading.until) this.#reading = this.#ask(now + BELIEF);
    const { puts, done } = this.#reading;
    return new Promise((resolve, reject) => {
      puts.push((known) => void put(known).then(resolve, reject));
      done.catch(reject);
    });
  }

  #ask(until: number): Reading {
    const puts: Reading["puts"] = [];
    const end = () => {
      if (this.#reading === reading) this.#reading = undefined;
    };
    const done = this.#queues.read().then((bindings) => {
      end();
      const known = this.#known = { bound: new BoundQueues(bindings, this.#known.bound), until };
      // before any event that is published from now on, which knows the bindings
      for (const put of puts) put(known);
    });
    done.catch(end);
    const reading: Reading = { until, puts, done };
    return reading;
  }
}
