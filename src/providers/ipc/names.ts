/**
 * The names that namespaces, topics, queues and buses have in the kernel and in the file system.
 *
 * Names that PyMQ supports are PyMQ's names. Any other name becomes `~` and its SHA-256: a name with a `/`, one that is longer
 * than the kernel allows, or one that would leave its directory.
 *
 * PyMQ's names are ambiguous in one case: the queue `b_c` of namespace `a` and the queue `c` of namespace `a_b` are the same. So a bus also
 * checks whose queue it is: see `MessageQueues`.
 *
 * @module
 */
import { builtin } from "../../internal/builtin.ts";
import { Budget, WeighedTextMap } from "../../internal/caches.ts";

/** The largest number of bytes of the name of a file or queue: the kernel's NAME_MAX. */
const NAME_BYTES = 255;
/** The largest number of bytes of a topic's path in the tree: PATH_MAX (4,096), minus room for the directories above and the name below. */
const PATH_BYTES = 3_000;
/** The largest number of directories of a topic's path in the tree. The time to open one grows with their number. */
export const TOPIC_LEVELS = 32;
/** The largest number of bytes of a namespace, which leaves room for the rest of a name. */
const NAMESPACE_BYTES = 100;
/** The largest number of bytes of a pattern or binding. A binding has the topic twice, and the topic of a stored event has at most 48 KiB. */
export const MAX_PATTERN: number = 2 ** 17;

/**
 * The largest number of buses whose names one operation looks at. Members of a group can create any number of such names; the limits of
 * the kernel allow far fewer buses.
 */
export const MAX_BUSES = 1_024;

/** The largest number of queues, directories, items or processes that one map caches. Members of a group can create any number of them. */
export const MAX_CACHED = 1_024;

/** The largest number of characters of the names that are kept for messages. Members of a group choose those of bound queues. */
const HASHED = 2 ** 20;

/** The queues that PyMQ creates for one process, without the prefix. No other namespace can have queues of these names. */
const PYMQ_QUEUE = /^(?:\$\d{1,10}|__rpc_[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12})$/;

/** The suffix of a bus's inbox queue. */
const INBOX = ".inbox";

const encoder = new TextEncoder();

function bytesOf(text: string): number {
  return encoder.encode(text).length;
}

/** Returns a file name for any text: `~` and its SHA-256. */
export function hashed(name: string): string {
  // events and queues rarely need it, and an import would cost each worker 6 to 10 ms
  const { createHash } = builtin<typeof import("node:crypto")>("crypto")!;
  return `~${createHash("sha256").update(name).digest("base64url")}`;
}

/** Returns the name of a namespace's directory. */
export function directoryOf(namespace: string): string {
  const plain = /^[^~/][^/]*$/.test(namespace) && !/^\.+$/.test(namespace) && bytesOf(namespace) <= NAMESPACE_BYTES;
  return plain ? namespace : hashed(namespace);
}

/** The names in one namespace. */
export class Names {
  readonly #prefix: string;
  /** The users' names of the queues that have hashed names. */
  readonly #hashed = new WeighedTextMap<string>(new Budget(HASHED), ({ length }) => HASHED / MAX_CACHED + length);

  /** Creates the names of the namespace whose directory has this name. */
  constructor(directory: string) {
    this.#prefix = `pymq_${directory}_`;
  }

  /** Returns the name of a queue in the kernel. */
  queue(name: string): string {
    const plain = `/${this.#prefix}${name}`;
    const usable = !/^[$~]|_\$|\//.test(name) && bytesOf(plain) <= NAME_BYTES;
    if (usable) return plain;
    const queue = `/${this.#prefix}${hashed(name)}`;
    this.#hashed.set(queue, name);
    return queue;
  }

  /** Describes a kernel queue in the user's words, for error messages. */
  title(queue: string): string {
    const name = queue.slice(this.#prefix.length + 1);
    return name.startsWith("$") ? "a queue of a bus" : `queue "${this.#hashed.get(queue) ?? name}"`;
  }

  /** Returns whether a kernel queue of this name may belong to this namespace. */
  owns(queue: string): boolean {
    return queue.startsWith(`/${this.#prefix}`);
  }

  /** Returns whether a kernel queue of this name may be a named queue of this namespace, and no queue of a bus. */
  ownsNamed(queue: string): boolean {
    return this.owns(queue) && !queue.startsWith(`/${this.#prefix}$`);
  }

  /** Returns whether PyMQ creates a kernel queue of this name, for one process: the queue of a bus, or that for an answer. */
  madeByPymq(queue: string): boolean {
    return this.owns(queue) && PYMQ_QUEUE.test(queue.slice(this.#prefix.length + 1));
  }

  /** Returns the directory of a topic's subscribers. It is `shared` with PyMQ if PyMQ can name it. */
  topic(topic: string): { readonly path: string; readonly shared: boolean } {
    const segments = topic.split("/");
    const usable = bytesOf(topic) <= PATH_BYTES && segments.length <= TOPIC_LEVELS &&
      segments.every((segment) =>
        segment !== "" && segment !== "." && segment !== ".." && bytesOf(segment) <= NAME_BYTES &&
        !segment.startsWith(`${this.#prefix}$`)
      );
    return usable ? { path: `subscribers/${topic}`, shared: true } : { path: `topics/${hashed(topic)}`, shared: false };
  }

  /** Returns the directory of a function's servers. */
  servers(topic: string): string {
    return `servers/${hashed(topic)}`;
  }

  /** Returns a name for a new bus of this process. Its queues and links have this name, and it is the address for direct messages. */
  newBus({ pid, start, pidNamespace }: Process, eventfd: number): string {
    const random = crypto.getRandomValues(new Uint32Array(2)).reduce((text, word) => text + word.toString(16), "");
    return `${this.#prefix}$${pid}_${start}_${pidNamespace}.${eventfd}.${random}`;
  }

  /** Parses the name of a bus. Returns undefined if it is not a bus of this namespace. */
  parseBus(name: string): ParsedBus | undefined {
    if (!name.startsWith(`${this.#prefix}$`)) return undefined;
    return parseBus(name.slice(this.#prefix.length));
  }
}

/** The identity of a process. It differs from earlier processes with the same id, and from processes of other pid namespaces. */
export interface Process {
  readonly pid: number;
  /** The time when the process started, in clock ticks after the boot. */
  readonly start: number;
  /** The inode of the process's pid namespace. */
  readonly pidNamespace: number;
}

/** The parts of the name of a bus. PyMQ's names contain only a pid. */
export interface ParsedBus extends Partial<Process> {
  readonly pid: number;
  /** Whether the bus is PyMQ's. */
  readonly pymq: boolean;
  /** The eventfd that wakes the worker of the bus, as a descriptor of the bus's process. */
  readonly eventfd?: number;
}

function parseBus(name: string): ParsedBus | undefined {
  const tsmq = /^\$(\d{1,10})_(\d{1,20})_(\d{1,20})\.(\d{1,10})\.[0-9a-f]{1,16}$/.exec(name);
  if (tsmq) {
    const [pid, start, pidNamespace, eventfd] = tsmq.slice(1).map(Number) as [number, number, number, number];
    return { pid, start, pidNamespace, eventfd, pymq: false };
  }
  const pymq = /^\$(\d{1,10})$/.exec(name);
  return pymq ? { pid: Number(pymq[1]), pymq: true } : undefined;
}

/** One of the queues of a bus. */
export interface Address {
  /** The name of the bus. */
  readonly bus: string;
  readonly queue: string;
  /** Whether the bus is PyMQ's. It then reads only events in PyMQ's format. */
  readonly pymq: boolean;
}

/** Returns the name of a queue that a bus creates only to check whether the limits of this user leave room for it. */
export function probeOf(user: number, i: number): string {
  return `/tsmq_probe_${user}_${i}`;
}

/** Returns the name of the kernel queue for a bus's events. */
export function eventsOf(bus: string): string {
  return `/${bus}`;
}

/** Returns the name of the kernel queue for a bus's direct messages. */
export function inboxOf(bus: string): string {
  return `/${bus}${INBOX}`;
}

/** Returns whether PyMQ may have created the directories of a path in a namespace. */
export function mayBePymqs(path: string): boolean {
  return path.split("/", 1)[0] === "subscribers";
}
