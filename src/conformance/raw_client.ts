/**
 * A client of the transport without a bus: it sends raw bodies, and it can die while it holds an item.
 *
 * @module
 */
import { ClosedError, fromPlain } from "../errors.ts";
import { Link } from "../port/link.ts";
import type { ToMain, ToWorker } from "../port/protocol.ts";
import { spawn } from "../port/spawn.ts";
import type { Delivery, Provider, Sender } from "../provider/provider.ts";
import { withDeadline } from "../internal/time.ts";

/** The time limit for opening and for sending, in milliseconds. */
const TIMEOUT = 10_000;

/** The two halves of a provider without a bus over them. */
export class RawClient {
  /** The sending half. */
  sender!: Sender;
  /** The messages that arrived in the inbox. */
  readonly inbox: string[] = [];
  #link!: Link;

  private constructor() {}

  /** Opens both halves as a bus does. */
  static async open(provider: Provider, namespace: string): Promise<RawClient> {
    const client = new RawClient();
    const link = await Link.open(provider, { namespace, connectTimeout: TIMEOUT, maxReceive: Infinity }, {
      state: () => {},
      died: () => {},
      gap: () => {},
      fault: () => {},
      inbox: (bodies) => client.inbox.push(...bodies),
      requests: () => {},
      posted: () => client.sender?.waker?.wake(client.#link.inbox),
    });
    client.#link = link;
    client.sender = await provider.open({
      namespace,
      connectTimeout: TIMEOUT,
      sendTimeout: TIMEOUT,
      maxReceive: Infinity,
      ask: (verb, argument) => link.request<"ask">({ kind: "ask", verb, argument }),
      state: () => {},
    });
    return client;
  }

  /** The address of the inbox. */
  get address(): string {
    return this.#link.inbox;
  }

  /** Publishes a body unchanged. */
  publish(topic: string, body: string): Promise<number | undefined> {
    return this.sender.publish(topic, body);
  }

  /** Puts a body unchanged. */
  put(queue: string, body: string): Promise<void> {
    return this.sender.send(queue, body, { wait: TIMEOUT });
  }

  /** Closes the connections of the client. */
  async close(): Promise<void> {
    await withDeadline(TIMEOUT, (over) => this.#link.close(over));
    await this.sender.close();
  }
}

/**
 * Receives one item under a lease and dies while it holds the item, before or after a start was recorded: its worker is terminated, and the
 * item is not settled. Resolves with a function that removes the remains of the dead client, as the sending half of a bus would.
 */
export async function dieHolding(
  provider: Provider,
  namespace: string,
  queue: string,
  lease: number,
  started: boolean,
): Promise<() => Promise<void>> {
  const { promise: held, resolve, reject } = Promise.withResolvers<void>();
  const sender = await provider.open({
    namespace,
    connectTimeout: TIMEOUT,
    sendTimeout: TIMEOUT,
    maxReceive: Infinity,
    ask: () => Promise.reject(new ClosedError()),
    state: () => {},
  });
  const { port1, port2 } = new MessageChannel();
  const post = (frame: ToWorker) => port1.postMessage([frame]);
  let inbox = "";
  let receipts: string[] = [];
  const listening = Promise.withResolvers<void>();
  const worker = spawn(provider, {
    listening: listening.resolve,
    died: (error) => {
      listening.reject(error);
      reject(error);
    },
  });
  port1.onmessage = async (event) => {
    for (const frame of event.data as ToMain[]) {
      if (frame.kind === "ready") {
        post({ kind: "receive", id: 1, queue, max: 1, wait: TIMEOUT, lease });
        sender.waker?.wake(inbox = frame.inbox);
      }
      if (frame.kind === "ask") {
        post({ ...frame, kind: "answer", value: await provider.askHandler?.answer(frame.verb, frame.argument) });
      }
      if (frame.kind === "done" && frame.id < 3 && started) {
        if (frame.id === 1) receipts = (frame.value as Delivery[]).map(({ receipt }) => receipt);
        post({ kind: "start", id: frame.id + 1, queue, receipts }); // twice, which counts once
        sender.waker?.wake(inbox);
      } else if (frame.kind === "done") resolve();
      if (frame.kind === "failed" || frame.kind === "fatal") reject(fromPlain(frame.error));
    }
  };
  const { options } = provider;
  try {
    await listening.promise;
    worker.greet({
      kind: "tsmq:hello",
      port: port2,
      namespace,
      options,
      origin: {},
      connectTimeout: TIMEOUT,
      maxReceive: Infinity,
    });
    await held;
  } finally {
    worker.terminate();
    port1.close();
  }
  return () => sender.close();
}
