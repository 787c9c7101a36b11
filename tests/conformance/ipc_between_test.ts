import { afterAll, beforeAll, describe } from "@std/testing/bdd";
import { fromPlain, type PlainError, toPlain } from "../../src/errors.ts";
import type {
  Provider,
  QueueStats,
  RegisteredServer,
  Sender,
  SenderContext,
  SendOptions,
  WaitingItem,
} from "../../src/provider/provider.ts";
import { ipc } from "../../src/providers/ipc/provider.ts";
import { Peer, there } from "../support/peer.ts";
import { keepWorkers, KEPT } from "../ipc/kept_workers.ts";
import { ALL, sample } from "../support/share.ts";
import { kit } from "./run.ts";

// Buses receive in this runtime, and send from a process of the other one.
// run: kernel-queues

type Said =
  | { id: number; value?: unknown; error?: PlainError }
  | { ask: number; bus: number; verb: string; argument: unknown };

/** The sending halves, in the other process. */
class Elsewhere {
  #peer = Peer.start<Said>(new URL("../ipc/sender_peer.ts", import.meta.url), { runtime: there });
  #pending = new Map<number, PromiseWithResolvers<unknown>>();
  #contexts = new Map<number, SenderContext>();
  /** The messages of this turn. They are handled in one turn there, because the result of a call may depend on other calls of its turn. */
  #messages: Record<string, unknown>[] = [];
  #last = 0;
  #listening = this.#listen();

  async open(context: SenderContext): Promise<Sender> {
    const bus = ++this.#last;
    this.#contexts.set(bus, context);
    // the eventfd belongs to this process
    const local = await ipc().open(context);
    const call = (verb: string, ...args: unknown[]) => this.#call({ bus, verb, args });
    await call("open", context.namespace, context.sendTimeout);
    return {
      publish: (topic, body) => call("publish", topic, body) as Promise<number>,
      post: (inbox, body) => call("post", inbox, body) as Promise<boolean>,
      servers: (topic) => call("servers", topic) as Promise<RegisteredServer[]>,
      size: (queue) => call("size", queue) as Promise<number>,
      drop: (queue) => call("drop", queue) as Promise<never>,
      send: (queue, body, options) => this.#send(bus, queue, body, options),
      waker: local.waker,
      inspector: { stats: (queue) => call("inspector.stats", queue) as Promise<QueueStats> },
      peeker: { peek: (...range) => call("peeker.peek", ...range) as Promise<WaitingItem[]> },
      replies: {
        lingers: local.replies!.lingers,
        open: (queue) => call("replies.open", queue) as Promise<never>,
        candidates: (topic) => call("replies.candidates", topic) as Promise<number>,
        put: (queue, body) => call("replies.put", queue, body) as Promise<never>,
        register: (topic, inbox) => call("replies.register", topic, inbox) as Promise<never>,
      },
      close: async () => {
        await call("close");
        await local.close();
        this.#contexts.delete(bus);
      },
    };
  }

  async stop(): Promise<void> {
    await this.#peer.kill();
    await this.#listening;
  }

  async #send(bus: number, queue: string, body: string, { wait, signal, delay = 0 }: SendOptions): Promise<void> {
    signal?.throwIfAborted();
    const id = ++this.#last;
    const abort = () => this.#tell({ abort: id });
    signal?.addEventListener("abort", abort, { once: true });
    try {
      await this.#call({ bus, verb: "send", args: [queue, body, wait, delay], signal: id });
    } catch (error) {
      signal?.throwIfAborted();
      throw error;
    } finally {
      signal?.removeEventListener("abort", abort);
    }
  }

  #call(command: Record<string, unknown>): Promise<unknown> {
    const id = ++this.#last;
    const pending = Promise.withResolvers<unknown>();
    this.#pending.set(id, pending);
    this.#tell({ id, ...command });
    return pending.promise;
  }

  #tell(message: Record<string, unknown>): void {
    if (this.#messages.push(message) === 1) queueMicrotask(() => this.#peer.tell(this.#messages.splice(0)));
  }

  async #listen(): Promise<void> {
    try {
      while (true) this.#take(await this.#peer.next(600_000));
    } catch (error) {
      for (const { reject } of this.#pending.values()) reject(error);
    }
  }

  #take(said: Said): void {
    if ("ask" in said) {
      const answer = said.ask;
      this.#contexts.get(said.bus)!.ask(said.verb, said.argument).then(
        (value) => this.#tell({ answer, value }),
        (error) => this.#tell({ answer, error: toPlain(error) }),
      );
      return;
    }
    const pending = this.#pending.get(said.id);
    this.#pending.delete(said.id);
    if (said.error) pending?.reject(fromPlain(said.error));
    else pending?.resolve(said.value ?? undefined);
  }
}

describe("conformance of ipc between Deno and Bun", () => {
  let elsewhere: Elsewhere;
  let endWorkers: (() => void) | undefined;
  beforeAll(() => {
    elsewhere = new Elsewhere();
    endWorkers = keepWorkers();
  });
  afterAll(async () => {
    await elsewhere.stop();
    endWorkers?.();
  });
  const provider = (): Provider => ({
    // what the runtimes send each other does not depend on the age of a worker
    ...ipc({ messageSize: 1_024, ...!ALL && { worker: KEPT } }),
    open: (context) => elsewhere.open(context),
  });
  kit({ provider }, { which: sample });
});
