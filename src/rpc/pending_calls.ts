/**
 * The calls that wait for answers. Those that take long are looked after: their servers may be gone, and what was said may be lost.
 *
 * @module
 */
import type { ValidationError } from "../errors.ts";
import type { Link } from "../port/link.ts";
import type { Sender } from "../provider/provider.ts";
import type { Call } from "./call.ts";
import type { Directory } from "./directory.ts";
import { type Answer, readAnswer, writeCancel } from "./wire.ts";

/** Milliseconds after a reconnect in which a function that nobody serves may just not be registered again yet. */
export const RECOVERY = 3_000;
/** Milliseconds between two attempts while the transport recovers. */
export const RETRY = 100;
/** Milliseconds between looks after calls that take long. */
const WATCH = 1_000;
/** Looks in a row that must miss a server: it may be about to connect again. */
const MISSES = 3;

/** A call that waits for answers. */
export interface Waiting {
  /** The call. */
  readonly call: Call;
  /** PyMQ's answer queue for it, if there is one. */
  readonly channel: string;
  /** Servers that are to answer, with how often they were not found since. */
  readonly servers: Map<string, number>;
  /** An answer has come. */
  answer(answer: Answer, server: string): void;
  /** A server says that it has the function, and did not run the request. */
  offered?(server: string): void;
  /** The server is gone; whether it served the call nobody knows. */
  lost(server: string): void;
}

/** What is needed of the bus. */
export interface WaitsHome {
  readonly link: Link;
  readonly sender: Sender;
  readonly directory: Directory;
  /** True while a connection is down or has been up again for less than `ms`. */
  recovering(ms: number): boolean;
}

/** See the module. */
export class Waits {
  #home: WaitsHome;
  #waiting = new Map<string, Waiting>();
  #watch: ReturnType<typeof setInterval> | undefined;
  #looking: Promise<void> | undefined;

  /** The calls of this bus. */
  constructor(home: WaitsHome) {
    this.#home = home;
  }

  /** How many calls wait. */
  get size(): number {
    return this.#waiting.size;
  }

  /** Waits for the answers to a call. */
  add(waiting: Waiting): void {
    if (waiting.call.over) return;
    this.#waiting.set(waiting.call.id, waiting);
    // looks that wait for one reply after another would all see the same moment
    this.#watch ??= setInterval(() => this.#looking ??= this.#look().finally(() => this.#looking = undefined), WATCH);
  }

  /** The call of this id, while it waits. */
  get(id: string): Call | undefined {
    return this.#waiting.get(id)?.call;
  }

  /** The call is over. */
  delete(call: Call): void {
    this.#waiting.delete(call.id);
  }

  /** Takes what came to the inbox as an answer; false if no call waits for it. One that is unreadable is an error. */
  take(value: unknown, unreadable?: ValidationError): boolean {
    const answer = readAnswer(value, unreadable);
    const waiting = answer?.call && this.#waiting.get(answer.call.id);
    if (!answer || !waiting) return false;
    const { server, refused } = answer.call!;
    if (refused === "running") {
      if (waiting.servers.has(server)) waiting.servers.set(server, 0);
    } else if (refused === "forgotten") waiting.lost(server);
    else if (refused === "here") waiting.offered?.(server);
    else waiting.answer(answer, server);
    return true;
  }

  /** Looks no more. */
  close(): void {
    clearInterval(this.#watch);
  }

  /** Looks after the calls that take long: asks again, and whether their servers are still there. So many looks in a row must agree. */
  async #look(): Promise<void> {
    if (this.#waiting.size === 0) {
      clearInterval(this.#watch);
      this.#watch = undefined;
    }
    const old = [...this.#waiting.values()].filter(({ call }) => call.age > WATCH);
    const recovering = this.#home.recovering(RECOVERY);
    await Promise.all(
      old.filter(({ call }) => recovering || call.age > call.again).map((waiting) => this.#again(waiting)),
    );
    if (recovering) return;
    for (const fn of new Set(old.map(({ call }) => call.fn))) {
      let live: string[];
      try {
        live = (await this.#home.directory.ask(fn)).present;
      } catch {
        return; // out of reach: the next look may judge
      }
      for (const waiting of old.filter(({ call }) => call.fn === fn)) {
        for (const [server, misses] of waiting.servers) {
          const missed = live.includes(server) ? 0 : misses + 1;
          waiting.servers.set(server, missed);
          if (missed >= MISSES) waiting.lost(server);
          // one that serves the function to nobody else any more may still be at this call, and says so
          else if (missed > 0) await this.#ask(waiting, server);
        }
      }
    }
  }

  /** The request or its answer may have gone into a connection that was dead already: the servers are asked again. */
  async #again(waiting: Waiting): Promise<void> {
    waiting.call.again = 2 * waiting.call.age;
    await Promise.all([...waiting.servers.keys()].map((server) => this.#ask(waiting, server)));
  }

  async #ask({ call, channel }: Waiting, server: string): Promise<void> {
    const address = await this.#home.link.address();
    if (call.over) return;
    this.#home.sender.post(server, call.request(address, channel)).catch(() => {}); // the next look asks again
  }

  /** Tells the servers of a call that nobody waits any more. */
  cancel(call: Call): void {
    for (const server of this.#waiting.get(call.id)?.servers.keys() ?? []) {
      this.#home.sender.post(server, writeCancel(call.id)).catch(() => {}); // it will find out by the deadline
    }
  }
}

/** Waits. */
export function pause(ms: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, ms));
}
