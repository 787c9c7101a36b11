/**
 * The IPC provider: events, queues and calls between the processes of one Linux machine, over POSIX message queues. No server.
 *
 * @module
 */
import * as v from "valibot";
import { fields, must, parseOptions, whole } from "../../internal/options.ts";
import type { Provider } from "../../provider/provider.ts";
import { CAPACITY } from "./mqueues.ts";
import { openSender } from "./sender.ts";
import type { Settings } from "./namespace.ts";

/** Options of {@linkcode ipc}. */
export interface IpcOptions {
  /** The id of a group whose members share the namespace (files get mode 0660). Default: only this user may (0600). */
  readonly group?: number;
  /** The directory, in memory, below which each namespace has its own. Default `/dev/shm`. */
  readonly directory?: string;
  /**
   * The largest message in bytes of a named queue that is made here; larger items go into a file that the message names, which
   * PyMQ cannot read. Default 8,192: PyMQ's, and the most that Linux allows a plain user. A queue takes 10 times as much of
   * RLIMIT_MSGQUEUE (819,200 bytes for all queues of a user); what would not fit is made smaller.
   */
  readonly messageSize?: number;
}

/** Bytes of the smallest message in which the name of a file fits. */
const LEAST_MESSAGE = 128;

const PATH = must("an absolute path");
const OPTIONS = fields({
  group: v.optional(whole("the id of a group")),
  directory: v.optional(v.pipe(v.string(PATH), v.startsWith("/", PATH)), "/dev/shm"),
  messageSize: v.optional(whole(`a whole number of bytes, at least ${LEAST_MESSAGE}`, LEAST_MESSAGE), 8_192),
});

/**
 * Makes a provider for the processes of this machine and this user. `init` rejects with `UnsupportedError` where there are no
 * POSIX message queues: elsewhere than on Linux (x86-64, aarch64). Deno needs `--allow-ffi` for it.
 *
 * @throws {ValidationError} when an option is not what it must be
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
  const { group, directory, messageSize } = parseOptions(OPTIONS, options, "Cannot make an IPC provider");
  const settings: Settings = { group, directory, messageSize, pymqDirectory: "/run/shm" };
  return {
    name: "ipc",
    features: {
      counts: true,
      ordered: true,
      durable: true,
      shared: true,
      capacity: CAPACITY,
      maxBody: Infinity,
      exactSize: true,
      exactAttempts: true,
      maxDelay: Infinity,
      latency: 50,
    },
    worker: new URL("../../../workers/ipc.ts", import.meta.url),
    options: settings,
    open: (context) => openSender(settings, context),
  };
}
