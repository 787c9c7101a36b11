/**
 * The names that namespaces, topics, queues and buses have in the kernel and in the file tree.
 *
 * What PyMQ can name is named as PyMQ names it. Everything else, such as a name with a `/`, one of more bytes than the
 * kernel takes, or one that would leave its directory, goes by `~` and its SHA-256.
 *
 * PyMQ's names leave one thing open: the queue `b_c` of namespace `a` and the queue `c` of namespace `a_b` are one.
 *
 * @module
 */
import { createHash } from "node:crypto";

/** Bytes of a file's or queue's name that the kernel takes. */
const NAME_BYTES = 255;
/** Bytes of a topic's path that we give it in the tree: PATH_MAX (4,096) less room for what is before and after. */
const PATH_BYTES = 3_000;
/** Bytes of a namespace that leave room for the rest of a name. */
const NAMESPACE_BYTES = 100;

/** What the inbox queue of a bus is called beside its loop queue. */
const INBOX = ".inbox";

const encoder = new TextEncoder();

function bytesOf(text: string): number {
  return encoder.encode(text).length;
}

/** A name that no plain one is equal to. */
export function hashed(name: string): string {
  return `~${createHash("sha256").update(name).digest("base64url")}`;
}

/** The directory of a namespace, in the directory of all. */
export function directoryOf(namespace: string): string {
  const plain = /^[^~/][^/]*$/.test(namespace) && !/^\.+$/.test(namespace) && bytesOf(namespace) <= NAMESPACE_BYTES;
  return plain ? namespace : hashed(namespace);
}

/** The names of one namespace. */
export class Names {
  readonly #prefix: string;

  /** The names of the namespace that has this directory. */
  constructor(directory: string) {
    this.#prefix = `pymq_${directory}_`;
  }

  /** The kernel's queue of a queue. */
  queue(name: string): string {
    const plain = `/${this.#prefix}${name}`;
    const usable = !/^[$~]|_\$|\//.test(name) && bytesOf(plain) <= NAME_BYTES;
    return usable ? plain : `/${this.#prefix}${hashed(name)}`;
  }

  /** Whether a kernel's queue has a name that a queue of this namespace may have. */
  owns(queue: string): boolean {
    return queue.startsWith(`/${this.#prefix}`);
  }

  /** The path of a topic's subscriptions below the directory of the namespace; PyMQ's, or one that PyMQ cannot name. */
  topic(topic: string): { readonly path: string; readonly shared: boolean } {
    const segments = topic.split("/");
    const usable = bytesOf(topic) <= PATH_BYTES &&
      segments.every((segment) =>
        segment !== "" && segment !== "." && segment !== ".." && bytesOf(segment) <= NAME_BYTES &&
        !segment.startsWith(`${this.#prefix}$`)
      );
    return usable ? { path: `subscribers/${topic}`, shared: true } : { path: `topics/${hashed(topic)}`, shared: false };
  }

  /** The path of a function's servers. */
  servers(topic: string): string {
    return `servers/${hashed(topic)}`;
  }

  /** The name of a new bus: of its loop queue, of its links, and of its inbox to others. */
  loop({ pid, start, space }: Process, bell: number): string {
    const random = crypto.getRandomValues(new Uint32Array(2)).reduce((text, word) => text + word.toString(16), "");
    return `${this.#prefix}$${pid}_${start}_${space}.${bell}.${random}`;
  }

  /** What a link's name says of its bus; undefined if it is no bus of this namespace. */
  readLoop(name: string): Loop | undefined {
    if (!name.startsWith(`${this.#prefix}$`)) return undefined;
    return readLoop(name.slice(this.#prefix.length));
  }
}

/** A process, told apart from those that had its id before, and from those of other pid namespaces. */
export interface Process {
  readonly pid: number;
  /** Clock ticks after the boot at which it started. */
  readonly start: number;
  /** The inode of its pid namespace. */
  readonly space: number;
}

/** A bus, by what its name says. */
export interface Loop extends Partial<Process> {
  readonly pid: number;
  /** PyMQ's names say no more than a pid. */
  readonly ours: boolean;
  /** The descriptor of its doorbell, in its own process. */
  readonly bell?: number;
}

function readLoop(name: string): Loop | undefined {
  const ours = /^\$(\d+)_(\d+)_(\d+)\.(\d+)\.[0-9a-f]+$/.exec(name);
  if (ours) {
    const [pid, start, space, bell] = ours.slice(1).map(Number) as [number, number, number, number];
    return { pid, start, space, bell, ours: true };
  }
  const pymq = /^\$(\d+)$/.exec(name);
  return pymq ? { pid: Number(pymq[1]), ours: false } : undefined;
}

/** One of a bus's queues. */
export interface Address {
  /** The bus. */
  readonly loop: string;
  readonly queue: string;
  /** It understands nothing but PyMQ's events. */
  readonly pymq: boolean;
}

/** The kernel's queue of a bus's events. */
export function eventsOf(loop: string): string {
  return `/${loop}`;
}

/** The kernel's queue of what is posted to a bus. */
export function inboxOf(loop: string): string {
  return `/${loop}${INBOX}`;
}
