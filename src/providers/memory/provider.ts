/**
 * The in-memory provider: a broker in a worker, for tests and for programs of one process.
 *
 * @module
 */
import * as v from "valibot";
import { ClosedError } from "../../errors.ts";
import { amount, fields, parseOptions, workerUrl } from "../../internal/options.ts";
import type {
  Provider,
  QueueInspector,
  QueuePeeker,
  RegisteredServer,
  Sender,
  SenderContext,
  SendOptions,
} from "../../provider/provider.ts";
import type { Contents } from "./admin.ts";

/** Options of {@linkcode memory}. */
export interface MemoryOptions {
  /** The number of items that a queue holds before it is full. Default: no limit. */
  readonly capacity?: number;
  /**
   * The worker's module, in a program that is bundled into other files: `new URL("./worker.js", import.meta.url)`, where `worker.ts` imports
   * "@tsmq/tsmq/workers/memory". Default: the module of the package.
   */
  readonly worker?: URL;
}

/** The options of the receivers. */
export interface Settings {
  /** The number of items that a queue holds before it is full. */
  readonly capacity: number;
  /** The id of the broker: the buses of one provider value share it. It changes when a bus opens after all others have closed. */
  broker: string;
}

const OPTIONS = fields({
  capacity: v.optional(amount("a number of items, at least 1", 1), Infinity),
  worker: v.optional(workerUrl()),
});

/**
 * Creates a provider whose broker runs in a worker of this process. Buses that are opened with the same provider value share the
 * broker. It ends, with all its messages, when the last of these buses closes.
 *
 * @throws {ValidationError} when an option is invalid
 */
export function memory(options: MemoryOptions = {}): Provider {
  const { capacity, worker } = parseOptions(OPTIONS, options, "Cannot create a memory provider");
  const settings: Settings = { capacity, broker: crypto.randomUUID() };
  const open = new Set<MemorySender>();
  return {
    name: "memory",
    features: {
      counts: true,
      ordered: true,
      durable: false,
      shared: false,
      capacity,
      maxBody: Infinity,
      exactSize: true,
      exactAttempts: true,
      maxDelay: Infinity,
      maxPutDelay: Infinity,
      peek: true,
      groups: true,
      latency: 100,
    },
    worker: worker ?? new URL("../../../workers/memory.ts", import.meta.url),
    options: settings,
    open: (context) => {
      if (open.size === 0) settings.broker = crypto.randomUUID();
      const sender = new MemorySender(context, () => open.delete(sender));
      open.add(sender);
      return Promise.resolve(sender);
    },
    admin: {
      open: async (namespace) => {
        const { MemoryAdmin } = await import("./admin.ts");
        return new MemoryAdmin(() => [...open].find((sender) => sender.namespace === namespace)?.contents());
      },
    },
  };
}

/** The sending half: asks the broker in the worker. The port batches its requests. */
class MemorySender implements Sender {
  readonly inspector: QueueInspector = {
    stats: (queue) => this.#ask("stats", [queue]),
  };
  readonly peeker: QueuePeeker = {
    peek: (queue, offset, limit) => this.#ask("peek", [queue, offset, limit]),
  };
  #context: SenderContext;
  #closed: () => void;
  #lastSend = 0;

  constructor(context: SenderContext, closed: () => void) {
    this.#context = context;
    this.#closed = closed;
  }

  /** The namespace of the bus. */
  get namespace(): string {
    return this.#context.namespace;
  }

  /** Returns what the namespace contains. */
  contents(): Promise<Contents> {
    return this.#ask("contents", []);
  }

  publish(topic: string, body: string): Promise<number> {
    return this.#ask("publish", [topic, body]);
  }

  post(inbox: string, body: string): Promise<boolean> {
    return this.#ask("post", [inbox, body]);
  }

  servers(topic: string): Promise<RegisteredServer[]> {
    return this.#ask("servers", [topic]);
  }

  async send(queue: string, body: string, options: SendOptions): Promise<void> {
    const { wait, signal, delay = 0 } = options;
    signal?.throwIfAborted();
    const id = ++this.#lastSend;
    const cancel = () => void this.#ask("unsend", [queue, id]).catch(() => {}); // if it fails, the send rejects too
    signal?.addEventListener("abort", cancel, { once: true });
    try {
      if (await this.#ask<boolean>("send", [queue, body, wait, id, delay])) return;
      signal?.throwIfAborted();
      throw new ClosedError(); // the receiver has ended, and all waiting puts with it
    } finally {
      signal?.removeEventListener("abort", cancel);
    }
  }

  size(queue: string): Promise<number> {
    return this.#ask("size", [queue]);
  }

  drop(queue: string): Promise<void> {
    return this.#ask("drop", [queue]);
  }

  close(): Promise<void> {
    this.#closed();
    return Promise.resolve();
  }

  #ask<T>(verb: string, argument: unknown[]): Promise<T> {
    return this.#context.ask(verb, argument) as Promise<T>;
  }
}
