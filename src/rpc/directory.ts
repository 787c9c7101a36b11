/**
 * Who serves what, as this bus knows it.
 *
 * @module
 */
import type { Sender } from "../provider/provider.ts";

/** Milliseconds for which the servers of a function are remembered. */
export const SERVERS_TTL = 1_000;
/** Servers that single calls are spread over: of more, others each time that the registry is asked. */
const SAMPLE = 64;
/** Servers that one call may be sent to. */
export const MOST = 10_000;
/** Functions whose servers are remembered. */
const REMEMBERED = 10_000;

interface Servers {
  inboxes: string[];
  next: number;
  until: number;
  refreshing: boolean;
}

/** The servers of the functions that a bus calls. */
export class Directory {
  #sender: Sender;
  #known = new Map<string, Servers>();

  /** Asks the registry of this transport. */
  constructor(sender: Sender) {
    this.#sender = sender;
  }

  /** Whether the function had servers when the registry was asked last. */
  has(fn: string): boolean {
    return this.#known.has(fn);
  }

  /** Those that are registered, up to one more than {@linkcode MOST}, and those of them that are there just now, as far as the transport can tell. */
  async ask(fn: string): Promise<{ registered: string[]; present: string[] }> {
    const registered = await this.#sender.servers(fn, MOST + 1);
    return { registered, present: await this.#sender.present?.(registered) ?? registered };
  }

  /** The next server of a function, in turn; asks the registry when what is known is old, without making a call wait for it. */
  async pick(fn: string, except: ReadonlySet<string>): Promise<string | undefined> {
    let known = this.#known.get(fn);
    const asked = known === undefined;
    if (!known || (known.until < performance.now() && !known.refreshing)) {
      const refreshed = this.#refresh(fn, known);
      if (known) refreshed.catch(() => {});
      else known = await refreshed;
    }
    const first = next(known, except);
    if (first !== undefined || asked) return first;
    return next(await this.#refresh(fn, known), except);
  }

  async #refresh(fn: string, known: Servers | undefined): Promise<Servers> {
    if (known) known.refreshing = true;
    try {
      const inboxes = sample(await this.#sender.servers(fn, SAMPLE));
      const start = known ? known.next : Math.floor(Math.random() * inboxes.length);
      return this.#remember(fn, inboxes, start);
    } finally {
      if (known) known.refreshing = false;
    }
  }

  /** Takes up servers that the registry does not have (yet, or no longer). */
  add(fn: string, servers: readonly string[]): void {
    const known = this.#known.get(fn);
    this.#remember(fn, [...new Set([...known?.inboxes ?? [], ...servers])], known?.next ?? 0);
  }

  #remember(fn: string, inboxes: string[], next: number): Servers {
    const servers = { inboxes, next, until: performance.now() + SERVERS_TTL, refreshing: false };
    this.#known.delete(fn); // the functions that were asked for last stand last
    if (inboxes.length === 0) return servers;
    this.#known.set(fn, servers);
    if (this.#known.size > REMEMBERED) this.#known.delete(this.#known.keys().next().value!);
    return servers;
  }

  /** Leaves a server out until the registry is asked again. */
  forget(fn: string, server: string): void {
    const known = this.#known.get(fn);
    if (known) known.inboxes = known.inboxes.filter((inbox) => inbox !== server);
  }
}

/** At most so many of them, in a row from anywhere. */
function sample(inboxes: string[]): string[] {
  const first = Math.floor(Math.random() * inboxes.length);
  return inboxes.length > SAMPLE ? [...inboxes.slice(first), ...inboxes.slice(0, first)].slice(0, SAMPLE) : inboxes;
}

function next(servers: Servers, except: ReadonlySet<string>): string | undefined {
  for (let i = 0; i < servers.inboxes.length; i++) {
    const inbox = servers.inboxes[servers.next++ % servers.inboxes.length]!;
    if (!except.has(inbox)) return inbox;
  }
  return undefined;
}
