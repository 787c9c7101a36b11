/**
 * The directory of a bus: which servers have which functions.
 *
 * @module
 */
import { LimitedMap } from "../internal/caches.ts";
import { type TextMap, textSet } from "../internal/text_map.ts";
import type { RegisteredServer, Sender } from "../provider/provider.ts";
import type { Proofs } from "./proofs.ts";

/** Milliseconds for which the servers of a function are cached. A new server receives calls after that time. */
export const SERVERS_TTL = 1_000;
/** The largest number of servers among which single calls are distributed. If there are more, each read of the registry takes a different sample. */
const SAMPLE = 64;
/** The largest number of servers of one multi-call. */
export const MAX_SERVERS = 10_000;
/** The largest number of functions whose servers are cached. */
const MAX_FUNCTIONS = 10_000;

interface Servers {
  inboxes: string[];
  next: number;
  expires: number;
  refreshing: boolean;
}

/** The servers of the functions that a bus calls, by their inboxes. */
export class Directory {
  #sender: Sender;
  #proofs: Proofs | undefined;
  #known = new LimitedMap<Servers>(MAX_FUNCTIONS);

  /** Creates a directory that reads the registry of this transport. With `proofs`, calls are made only to servers that have a key. */
  constructor(sender: Sender, proofs?: Proofs) {
    this.#sender = sender;
    this.#proofs = proofs;
  }

  /** Returns whether the function had servers at the last read of the registry. */
  has(fn: string): boolean {
    return this.#known.has(fn);
  }

  /**
   * Reads all registered servers of a function, up to one more than {@linkcode MAX_SERVERS}, and which of them listen now, if the transport
   * knows.
   */
  async all(fn: string): Promise<{ registered: string[]; present: string[] }> {
    const servers = await this.#sender.servers(fn, { max: MAX_SERVERS + 1, listening: true });
    const present = servers.filter(({ listening }) => listening !== false);
    return { registered: inboxesOf(servers), present: inboxesOf(present) };
  }

  /**
   * Reads all servers of a function, as {@linkcode all} does. On a bus with keys, `registered` contains only the servers that have proved
   * that they have a key, and `listed` contains all.
   */
  async proven(fn: string): Promise<{ listed: string[]; registered: string[]; present: string[] }> {
    const { registered, present } = await this.all(fn);
    if (!this.#proofs) return { listed: registered, registered, present };
    const proven = textSet(await this.#proofs.all(fn, present));
    return {
      listed: registered,
      registered: registered.filter((inbox) => proven.has(inbox)),
      present: [...proven.keys()],
    };
  }

  /** Reads all registered servers of a function, as {@linkcode all} does, and does not ask which of them listen. */
  async registered(fn: string): Promise<string[]> {
    return inboxesOf(await this.#sender.servers(fn, { max: MAX_SERVERS + 1 }));
  }

  /**
   * Returns the next server of a function, round-robin. If the cached list of servers is old, it is read again in the background, so that
   * no call waits.
   */
  pick(fn: string, except: TextMap<true>): string | undefined | Promise<string | undefined> {
    const known = this.#known.get(fn);
    const first = known && known.expires >= performance.now() ? next(known, except) : undefined;
    return first ?? this.#pick(fn, except);
  }

  async #pick(fn: string, except: TextMap<true>): Promise<string | undefined> {
    let known = this.#known.get(fn);
    const fresh = known === undefined;
    if (!known || (known.expires < performance.now() && !known.refreshing)) {
      const refreshed = this.#refresh(fn, known);
      if (known) refreshed.catch(() => {});
      else known = await refreshed;
    }
    const first = next(known, except);
    if (first !== undefined || fresh) return first;
    return next(await this.#refresh(fn, known, except.size >= SAMPLE), except);
  }

  /**
   * Reads the registry again. If a whole sample of servers was `gone`, it reads all servers and takes a sample of those that listen now.
   */
  async #refresh(fn: string, known: Servers | undefined, gone = false): Promise<Servers> {
    if (known) known.refreshing = true;
    try {
      const { registered, present } = gone ? await this.all(fn) : await this.#some(fn);
      const listed = sample(present.length > 0 ? present : registered);
      const inboxes = this.#proofs ? await this.#proofs.some(fn, listed, (all) => this.add(fn, all)) : listed;
      const start = known ? known.next : Math.floor(Math.random() * inboxes.length);
      return this.#remember(fn, inboxes, start);
    } finally {
      if (known) known.refreshing = false;
    }
  }

  async #some(fn: string): Promise<{ registered: string[]; present: string[] }> {
    const registered = inboxesOf(await this.#sender.servers(fn, { max: SAMPLE }));
    return { registered, present: registered };
  }

  /** Adds servers that are not in the registry. */
  add(fn: string, servers: readonly string[]): void {
    const known = this.#known.get(fn);
    const all = textSet([...known?.inboxes ?? [], ...servers]);
    this.#remember(fn, [...all.keys()], known?.next ?? 0);
  }

  #remember(fn: string, inboxes: string[], next: number): Servers {
    const servers = { inboxes, next, expires: performance.now() + SERVERS_TTL, refreshing: false };
    if (inboxes.length > 0) this.#known.set(fn, servers);
    else this.#known.delete(fn);
    return servers;
  }

  /** Ignores a server until the registry is read again. */
  remove(fn: string, server: string): void {
    const known = this.#known.get(fn);
    if (known) known.inboxes = known.inboxes.filter((inbox) => inbox !== server);
  }
}

/** Returns up to {@linkcode SAMPLE} consecutive inboxes, from a random position. */
function sample(inboxes: string[]): string[] {
  const first = Math.floor(Math.random() * inboxes.length);
  return inboxes.length > SAMPLE ? [...inboxes.slice(first), ...inboxes.slice(0, first)].slice(0, SAMPLE) : inboxes;
}

function inboxesOf(servers: readonly RegisteredServer[]): string[] {
  return servers.map(({ inbox }) => inbox);
}

function next(servers: Servers, except: TextMap<true>): string | undefined {
  for (let i = 0; i < servers.inboxes.length; i++) {
    const inbox = servers.inboxes[servers.next++ % servers.inboxes.length]!;
    if (!except.has(inbox)) return inbox;
  }
  return undefined;
}
