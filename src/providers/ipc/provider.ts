/**
 * The IPC provider: events, queues and calls between the processes of one Linux machine, over POSIX message queues, without a server.
 *
 * @module
 */
import * as v from "valibot";
import { amount, fields, flag, must, parseOptions, whole, workerUrl } from "../../internal/options.ts";
import type { Provider } from "../../provider/provider.ts";
import { openSender } from "./sender.ts";
import type { Settings } from "./namespace.ts";
import { TellingWorkers } from "./worker_thread.ts";

/** Options of {@linkcode ipc}. */
export interface IpcOptions {
  /** The id of a group whose members share the namespace (mode 0660). Default: only this user has access (0600). */
  readonly group?: number;
  /** The directory, in memory, that holds a directory for each namespace. Default `/dev/shm`. */
  readonly directory?: string;
  /**
   * The largest message, in bytes, of a named queue that this bus creates. Larger items go into files, which PyMQ cannot read. Default
   * 8,192, as PyMQ has it: the most that Linux allows a plain user. A queue uses 10 times as much of RLIMIT_MSGQUEUE (819,200 bytes for all
   * queues of a user). When that is used up, the items of new queues are in files.
   */
  readonly messageSize?: number;
  /**
   * The number of items that may wait in a queue before `put` waits for room. Default `Infinity`: only the space in the directory limits
   * it. The kernel's queue holds 10 items; the others are in files.
   */
  readonly capacity?: number;
  /**
   * Whether to raise RLIMIT_MSGQUEUE beyond the hard limit, which needs CAP_SYS_RESOURCE. Default false: a bus raises the soft limit to the
   * hard one.
   */
  readonly raiseLimit?: boolean;
  /**
   * The worker's module, in a program that is bundled into other files: `new URL("./worker.js", import.meta.url)`, where `worker.ts` imports
   * "@tsmq/tsmq/workers/ipc". Default: the module of the package.
   */
  readonly worker?: URL;
}

/** The smallest `messageSize` in bytes: the name of a file fits into it. */
const LEAST_MESSAGE = 128;

const PATH = must("an absolute path");
const OPTIONS = fields({
  group: v.optional(whole("the id of a group")),
  directory: v.optional(v.pipe(v.string(PATH), v.startsWith("/", PATH)), "/dev/shm"),
  messageSize: v.optional(whole(`a whole number of bytes, at least ${LEAST_MESSAGE}`, LEAST_MESSAGE), 8_192),
  capacity: v.optional(amount("a number of items, at least 1", 1), Infinity),
  raiseLimit: v.optional(flag(), false),
  worker: v.optional(workerUrl()),
});

/**
 * Creates a provider that connects the processes of this machine and this user. It needs Linux on x86-64 or aarch64; elsewhere `init`
 * rejects with `UnsupportedError`. Deno needs `--allow-ffi`.
 *
 * @throws {ValidationError} when an option is invalid
 *
 * @example
 * ```ts
 * import { init } from "@tsmq/tsmq";
 * import { ipc } from "@tsmq/tsmq/ipc";
 *
 * await init(ipc());
 * ```
 */
export function ipc(options: IpcOptions = {}): Provider {
  const { group, directory, messageSize, capacity, raiseLimit, worker } = parseOptions(
    OPTIONS,
    options,
    "Cannot create an IPC provider",
  );
  const settings: Settings = { group, directory, messageSize, capacity, raiseLimit, pymqDirectory: "/run/shm" };
  const workers = new TellingWorkers();
  return {
    name: "ipc",
    features: {
      counts: true,
      ordered: true,
      durable: true,
      shared: true,
      capacity,
      maxBody: Infinity,
      exactSize: true,
      exactAttempts: true,
      maxDelay: Infinity,
      maxPutDelay: Infinity,
      peek: true,
      groups: true,
      latency: 50,
    },
    worker: worker ?? new URL("../../../workers/ipc.ts", import.meta.url),
    sharedWorker: false, // a receiver sleeps in `poll`
    options: settings,
    open: (context) => openSender(settings, workers, context),
    askHandler: workers,
    admin: { open: async (namespace) => new (await import("./admin.ts")).IpcAdmin(settings, namespace) },
  };
}
