/**
 * Finds out which registered servers have a key. A registration names an inbox, and every peer on the broker can write one. So a bus with
 * keys sends a question to each inbox before its first call, and the server signs its answer. The question contains a random id, so that an
 * old answer is of no use.
 *
 * @module
 */
import type { Core } from "../core.ts";
import { LimitedTextMap } from "../internal/caches.ts";
import { after, pause } from "../internal/time.ts";
import { readAnswer, writeRequest } from "./wire.ts";

/** Milliseconds for which a proof is valid. The next call after that asks again. */
const VALID = 60_000;
/** Milliseconds for which an expired proof is used while its server is asked again, because a busy server answers late. */
const EXPIRED = 30_000;
/** Milliseconds to wait for a proof. A server with a busy thread answers late. */
const WAIT = 5_000;
/** Milliseconds for which an inbox that did not answer is ignored. */
const IGNORED = 60_000;
/** Milliseconds for which a server that is disconnected for the moment is ignored. */
const AWAY = 500;
/** The number of servers that are asked without a pause. */
const PART = 256;
/** The largest number of inboxes that are remembered: more than a call asks, because it would ask all of them again. */
const MAX = 16_384;
/** Milliseconds after which proofs that are of no use any more are forgotten. */
const KEPT = 60_000;

interface Proof {
  /** Whether the server has a key; undefined until that is known. */
  proven: boolean | undefined;
  expires: number;
  /** Whether the server is being asked. */
  asking: boolean;
  /** The id of the last question. An answer counts until the proof is forgotten or the server is asked again. */
  question: string;
  /** Resolves when `proven` is known. */
  known: Promise<void>;
}

/** Asks servers for proofs, and remembers them. */
export class Proofs {
  #core: Core;
  #proofs = new LimitedTextMap<Proof>(MAX);
  /** Id of a question → the function that receives the answer. */
  #asked = new LimitedTextMap<() => void>(MAX);
  /** The time when useless proofs were forgotten, by `performance.now()`. */
  #cleaned = performance.now();
  /** The functions that end the waits for answers. */
  #waiting = new Set<() => void>();

  /** Creates an empty memory of proofs. */
  constructor(core: Core) {
    this.#core = core;
  }

  /** Resolves with the servers of a function that have a key, when all have answered or the wait is over. */
  async all(fn: string, servers: readonly string[]): Promise<string[]> {
    const proofs: Proof[] = [];
    for (const server of servers) {
      proofs.push(this.#proof(fn, server));
      if (proofs.length % PART === 0) await pause(0); // others can register any number
    }
    await Promise.all(proofs.map(({ proven, known }) => proven === undefined ? known : undefined));
    return servers.filter((_, i) => proofs[i]!.proven);
  }

  /**
   * Resolves with servers of a function that have a key, as soon as one of them has answered. `later` is called with all of them when the
   * others have answered.
   */
  async some(fn: string, servers: readonly string[], later: (servers: string[]) => void): Promise<string[]> {
    const proofs = servers.map((server) => this.#proof(fn, server));
    const proven = () => servers.filter((_, i) => proofs[i]!.proven);
    const unknown = proofs.filter((proof) => proof.proven === undefined);
    if (unknown.length > 0 && proven().length === 0) {
      await new Promise<void>((resolve) => {
        let left = unknown.length;
        for (const proof of unknown) proof.known.then(() => (--left === 0 || proof.proven) && resolve());
      });
    }
    const first = proven();
    if (unknown.some((proof) => proof.proven === undefined)) {
      void Promise.all(unknown.map(({ known }) => known)).then(() => proven().length > first.length && later(proven()));
    }
    return first;
  }

  /** Passes an answer to its question. Returns false if there is no such question. */
  handleAnswer(value: unknown): boolean {
    if (this.#asked.size === 0) return false;
    const call = readAnswer(value)?.call;
    const asked = call && this.#asked.get(call.id);
    if (!asked) return false;
    this.#asked.delete(call.id);
    asked(); // also if it does not have the function any more
    return true;
  }

  /** Ends all waits. */
  close(): void {
    for (const end of this.#waiting) end();
  }

  #proof(fn: string, server: string): Proof {
    const key = JSON.stringify([fn, server]);
    const found = this.#proofs.get(key);
    const now = performance.now();
    if (found && (found.proven === undefined || now < found.expires)) return found;
    if (found?.proven && now < found.expires + EXPIRED) {
      if (!found.asking) void this.#ask(fn, server, found);
      return found;
    }
    if (now > this.#cleaned + KEPT) this.#clean(now);
    if (found) this.#asked.delete(found.question);
    const proof: Proof = { proven: undefined, expires: 0, asking: false, question: "", known: Promise.resolve() };
    proof.known = this.#ask(fn, server, proof);
    this.#proofs.set(key, proof);
    return proof;
  }

  /** Forgets proofs that are of no use, for example those of forged registrations. */
  #clean(now: number): void {
    this.#cleaned = now;
    for (const [key, { asking, expires, question }] of this.#proofs) {
      if (asking || now < expires + EXPIRED) continue;
      this.#proofs.delete(key);
      this.#asked.delete(question);
    }
  }

  /** Asks a server, and waits for its answer. An answer that arrives after the wait counts too. Without one, an expired proof stays. */
  async #ask(fn: string, server: string, proof: Proof): Promise<void> {
    const id = crypto.randomUUID();
    const { promise, resolve } = Promise.withResolvers<void>();
    const settle = (proven: boolean, time: number) => {
      if (proven || !proof.proven) {
        proof.proven = proven;
        proof.expires = performance.now() + time;
      }
      resolve();
    };
    proof.asking = true;
    this.#asked.delete(proof.question);
    proof.question = id;
    this.#asked.set(id, () => settle(true, VALID));
    const stop = after(WAIT, () => settle(false, IGNORED));
    const end = () => settle(false, 0);
    this.#waiting.add(end);
    try {
      const inbox = await this.#core.link.address();
      const deadline = Date.now() + WAIT;
      const question = writeRequest(fn, "", { json: "[]" }, { id, inbox, deadline, offer: true });
      if (await this.#core.post(server, question) === false) settle(false, AWAY);
    } catch {
      settle(false, AWAY);
    }
    await promise;
    proof.asking = false;
    stop();
    this.#waiting.delete(end);
  }
}
