/**
 * The names that namespaces, topics, queues and buses have in the kernel and in the file system.
 *
 * Names that PyMQ supports are PyMQ's names. Any other name becomes `~` and its SHA-256: a name with a `/`, one that is longer
 * than the kernel allows, or one that would leave its directory.
 *
 * PyMQ's names are ambiguous in one case: the queue `b_c` of namespace `a` and the queue `c` of namespace `a_b` are the same.
 *
 * @module
 */
import { createHash } from "node:crypto";

/** Bytes of the name of a file or queue: the kernel's NAME_MAX. */
const NAME_BYTES = 255;
/** Bytes of a topic's path in the tree: PATH_MAX (4,096), less room for the directories above and the name below. */
const PATH_BYTES = 3_000;
/** Bytes of a namespace, which leave room for the rest of a name. */
const NAMESPACE_BYTES = 100;

/** The suffix of a bus's inbox queue. */
const INBOX = ".inbox";

const encoder = new TextEncoder();

function bytesOf(text: string): number {
  return encoder.encode(text).length;
}

/** A file name for any text: `~` and its SHA-256. */
export function hashed(name: string): string {
  return `~${createHash("sha256").update(name).digest("base64url")}`;
}

/** The name of a namespace's directory. */
export function directoryOf(namespace: string): string {
  const plain = /^[^~/][^/]*$/.test(namespace) && !/^\.+$/.test(namespace) && bytesOf(namespace) <= NAMESPACE_BYTES;
  return plain ? namespace : hashed(namespace);
}

/** The names in one namespace. */
export class Names {
  readonly #prefix: string;

  /** `directory` is the name of the namespace's directory. */
  constructor(directory: string) {
    this.#prefix = `pymq_${directory}_`;
  }

  /** The kernel's name of a queue. */
  queue(name: string): string {
    const plain = `/${this.#prefix}${name}`;
    const usable = !/^[$~]|_\$|\//.test(name) && bytesOf(plain) <= NAME_BYTES;
    return usable ? plain : `/${this.#prefix}${hashed(name)}`;
  }

  /** Whether a kernel queue may belong to this namespace, by its name. */
  owns(queue: string): boolean {
    return queue.startsWith(`/${this.#prefix}`);
  }

  /** The directory of a topic's subscribers. It is `shared` with PyMQ if PyMQ can name it. */
  topic(topic: string): { readonly path: string; readonly shared: boolean } {
    const segments = topic.split("/");
    const usable = bytesOf(topic) <= PATH_BYTES &&
      segments.every((segment) =>
        segment !== "" && segment !== "." && segment !== ".." && bytesOf(segment) <= NAME_BYTES &&
        !segment.startsWith(`${this.#prefix}$`)
      );
    return usable ? { path: `subscribers/${topic}`, shared: true } : { path: `topics/${hashed(topic)}`, shared: false };
  }

  /** The directory of a function's servers. */
  servers(topic: string): string {
    return `servers/${hashed(topic)}`;
  }

  /** The name of a new bus of this process: of its queues, its links, and its address for direct messages. */
  newBus({ pid, start, pidNamespace }: Process, eventfd: number): string {
    const random = crypto.getRandomValues(new Uint32Array(2)).reduce((text, word) => text + word.toString(16), "");
    return `${this.#prefix}$${pid}_${start}_${pidNamespace}.${eventfd}.${random}`;
  }

  /** Parses the name of a bus; undefined if it is not a bus of this namespace. */
  parseBus(name: string): ParsedBus | undefined {
    if (!name.startsWith(`${this.#prefix}$`)) return undefined;
    return parseBus(name.slice(this.#prefix.length));
  }
}

/** A process, distinct from earlier ones with the same id, and from those of other pid namespaces. */
export interface Process {
  readonly pid: number;
  /** When it started, in clock ticks after the boot. */
  readonly start: number;
  /** The inode of its pid namespace. */
  readonly pidNamespace: number;
}

/** The parts of the name of a bus. PyMQ's names contain only a pid. */
export interface ParsedBus extends Partial<Process> {
  readonly pid: number;
  /** Whether it is a PyMQ bus. */
  readonly pymq: boolean;
  /** The descriptor that wakes its worker, in its own process. */
  readonly eventfd?: number;
}

function parseBus(name: string): ParsedBus | undefined {
  const tsmq = /^\$(\d+)_(\d+)_(\d+)\.(\d+)\.[0-9a-f]+$/.exec(name);
  if (tsmq) {
    const [pid, start, pidNamespace, eventfd] = tsmq.slice(1).map(Number) as [number, number, number, number];
    return { pid, start, pidNamespace, eventfd, pymq: false };
  }
  const pymq = /^\$(\d+)$/.exec(name);
  return pymq ? { pid: Number(pymq[1]), pymq: true } : undefined;
}

/** One of the queues of a bus. */
export interface Address {
  /** The name of the bus. */
  readonly bus: string;
  readonly queue: string;
  /** Whether it is a PyMQ bus, which reads nothing but PyMQ's events. */
  readonly pymq: boolean;
}

/** The kernel queue of a bus's events. */
export function eventsOf(bus: string): string {
  return `/${bus}`;
}

/** The kernel queue of a bus's direct messages. */
export function inboxOf(bus: string): string {
  return `/${bus}${INBOX}`;
}
