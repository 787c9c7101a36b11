/**
 * The calls that wait for answers. Long calls are checked once a second, because their servers may die, and requests or answers may be
 * lost.
 *
 * @module
 */
import type { Signed } from "../codec/envelope.ts";
import type { Core } from "../core.ts";
import { inParallel } from "../internal/in_parallel.ts";
import { TextMap, textSet } from "../internal/text_map.ts";
import { isUnavailable, type ValidationError } from "../errors.ts";
import type { Call } from "./call.ts";
import type { Directory } from "./directory.ts";
import { LARGE } from "./sizes.ts";
import { type Answer, readAnswer, writeCancel } from "./wire.ts";

/** Milliseconds after a reconnect during which servers may not be registered again yet. */
export const RECOVERY = 3_000;
/** Milliseconds between checks of long calls. */
const CHECK = 1_000;
/** The number of servers to which a request is sent again at once: others can register any number. */
export const PARALLEL = 16;
/** The number of consecutive checks that must miss a server before it counts as gone, because it may reconnect. */
const MISSES = 3;

/** A call that waits for answers. */
export interface PendingCall {
  /** The call. */
  readonly call: Call;
  /** PyMQ's answer queue for the call, or empty. */
  readonly channel: string;
  /** The servers that should answer, each with the number of consecutive checks that have missed it. */
  readonly servers: TextMap<number>;
  /** Server → the time when it signed its last answer that it is running the call. */
  running?: TextMap<number>;
  /** Called with each answer. `held` returns the bytes that it takes (`heldBytes`). */
  answer(answer: Answer, server: string, held: () => number): void;
  /** Called when a server has the function and did not run the request. */
  offered?(server: string): void;
  /** Called when a server is gone, or has `forgotten` the call. The server may have served it. */
  lost(server: string, forgotten?: boolean): void;
  /** Called when a server has neither a registration nor an inbox any more, as after it closed: see {@linkcode Server.abandon}. */
  closed?(server: string): void;
}

/** The calls of a bus that wait for answers. */
export class PendingCalls {
  #core: Core;
  #directory: Directory;
  #calls = new TextMap<PendingCall>();
  /** The calls whose requests are being sent again. */
  #repeating = new TextMap<true>();
  #timer: ReturnType<typeof setInterval> | undefined;
  #checking: Promise<void> | undefined;

  /** Creates an empty list of calls. */
  constructor(core: Core, directory: Directory) {
    this.#core = core;
    this.#directory = directory;
  }

  /** The number of waiting calls. */
  get size(): number {
    return this.#calls.size;
  }

  /** Adds a call that waits for answers. */
  add(pending: PendingCall): void {
    if (pending.call.over) return;
    this.#calls.set(pending.call.id, pending);
    // checks never overlap: checks that wait for the registry would all see the same state
    this.#timer ??= setInterval(
      () => this.#checking ??= this.#check().finally(() => this.#checking = undefined),
      CHECK,
    );
  }

  /** Returns the waiting call with this id. */
  get(id: string): Call | undefined {
    return this.#calls.get(id)?.call;
  }

  /** Removes a call that has ended. */
  delete(call: Call): void {
    this.#calls.delete(call.id);
  }

  /** Sends all requests again at the next check, because answers were dropped. */
  dropped(): void {
    for (const { call } of this.#calls.values()) call.repeatAt = 0;
  }

  /**
   * Passes an answer to its call. `held` returns the bytes that it takes. Returns false if no call waits for it. An `unreadable` answer is
   * an error. A bus with keys has verified that the answer is `signed`.
   */
  handleAnswer(value: unknown, held: () => number, unreadable?: ValidationError, signed?: Signed): boolean {
    const answer = readAnswer(value, unreadable);
    if (!answer?.call) return false;
    const { id, server, joins, refused, confirm } = answer.call;
    const pending = this.#calls.get(id);
    // one that no call waits for would keep others from being sent to this bus; no server asks for the confirmation of a short one
    if (confirm === true && (pending || held() > LARGE)) this.#cancel(id, server);
    if (!pending) return false;
    if (joins === true && pending.servers.has(server)) this.#core.joins(server);
    if (refused === "running") {
      if (pending.servers.has(server) && !repeated(pending, server, signed)) pending.servers.set(server, 0);
    } else if (refused === "forgotten") pending.lost(server, true);
    else if (refused === "here") pending.offered?.(server);
    else pending.answer(answer, server, held);
    return true;
  }

  /** Ends the checks. */
  close(): void {
    clearInterval(this.#timer);
  }

  /** Sends old requests again, and counts how many consecutive checks have missed each server of an old call. */
  async #check(): Promise<void> {
    if (this.#calls.size === 0) {
      clearInterval(this.#timer);
      this.#timer = undefined;
    }
    const old = [...this.#calls.values()].filter(({ call }) => call.age > CHECK);
    const recovering = this.#core.recovering(RECOVERY);
    for (const pending of old) if (recovering || pending.call.age > pending.call.repeatAt) void this.#repeat(pending);
    if (recovering) return;
    for (const fn of new Set(old.map(({ call }) => call.fn))) {
      let registered: string[], present: string[];
      try {
        ({ registered, present } = await this.#directory.all(fn));
      } catch (error) {
        if (isUnavailable(error)) return; // the next check decides
        continue; // others may write anything into the registry of one function
      }
      const [there, listed] = [textSet(present), textSet(registered)]; // a multi-call may have 10,000 servers
      for (const pending of old.filter(({ call }) => call.fn === fn)) {
        const missing: (readonly [server: string, ended: boolean])[] = [];
        for (const [server, misses] of pending.servers) {
          const missed = there.has(server) ? 0 : misses + 1;
          pending.servers.set(server, missed);
          if (missed >= MISSES) pending.lost(server);
          else if (missed > 0) missing.push([server, missed > 1 && !listed.has(server)]);
        }
        void this.#recall(pending, missing);
      }
    }
  }

  /** Sends a request again, because it or its answer may have been lost with a connection. */
  async #repeat(pending: PendingCall): Promise<void> {
    const { call, servers } = pending;
    if (this.#repeating.has(call.id)) return;
    call.repeatAt = 2 * call.age;
    this.#repeating.set(call.id, true);
    await inParallel([...servers.keys()], PARALLEL, (server) => this.#send(pending, server));
    this.#repeating.delete(call.id);
  }

  /** Sends a request again to servers that no longer serve the function. Each may still run the call, and then answers "running". */
  async #recall(pending: PendingCall, missing: readonly (readonly [server: string, ended: boolean])[]): Promise<void> {
    await inParallel(missing, PARALLEL, async ([server, ended]) => {
      const there = await this.#send(pending, server);
      if (there === false && ended) pending.closed?.(server); // it has had a second to say that it ran the call
    });
  }

  /** Sends the request of a call again. Resolves with false if the server is gone. */
  async #send(pending: PendingCall, server: string): Promise<boolean | undefined> {
    const { call, channel } = pending;
    try {
      // the reply must not overtake an answer that this thread has not read yet
      const inbox = this.#core.recovering(0) ? undefined : call.answerInbox;
      const address = inbox ?? await this.#core.link.address();
      // if the call is at another server by now, this server has refused it, and would take the request for a further attempt
      if (this.#calls.get(call.id) !== pending) return undefined;
      return await this.#core.post(server, call.request(address, channel));
    } catch {
      return undefined; // the next check sends it again
    }
  }

  /** Cancels a call at its servers. */
  cancel(call: Call, servers: Iterable<string> = this.#calls.get(call.id)?.servers.keys() ?? []): void {
    for (const server of servers) this.#cancel(call.id, server);
  }

  #cancel(id: string, server: string): void {
    this.#core.post(server, writeCancel(id)).catch(() => {}); // the deadline ends the call at the server
  }
}

/** Returns whether the server has signed a later answer that it is running the call: anybody can send an old one again after it has died. */
function repeated(pending: PendingCall, server: string, signed: Signed | undefined): boolean {
  if (!signed) return false;
  const running = pending.running ??= new TextMap();
  const last = running.get(server) ?? -Infinity;
  if (signed.time > last) running.set(server, signed.time);
  return signed.time <= last;
}
