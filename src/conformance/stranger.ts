/**
 * Someone else on the same transport: sends raw bodies, reads raw items, and can die without a word.
 *
 * @module
 */
import { ClosedError, fromPlain } from "../errors.ts";
import { Link } from "../port/link.ts";
import type { ToMain, ToWorker } from "../port/protocol.ts";
import { spawn } from "../port/spawn.ts";
import type { Delivery, Provider, Sender } from "../provider/provider.ts";
import { withDeadline } from "../internal/time.ts";

/** Milliseconds that opening and sending may take. */
const TIMEOUT = 10_000;

/** The two halves of a provider without a bus over them. */
export class Stranger {
  /** The sending half. */
  sender!: Sender;
  /** What came to the inbox. */
  readonly inbox: string[] = [];
  #link!: Link;

  private constructor() {}

  /** Opens both halves as a bus does. */
  static async open(provider: Provider, namespace: string): Promise<Stranger> {
    const stranger = new Stranger();
    const link = await Link.open(provider, { namespace, connectTimeout: TIMEOUT }, {
      state: () => {},
      died: () => {},
      gap: () => {},
      fault: () => {},
      inbox: (bodies) => stranger.inbox.push(...bodies),
      posted: () => stranger.sender?.waker?.wake(stranger.#link.inbox),
    });
    stranger.#link = link;
    stranger.sender = await provider.open({
      namespace,
      connectTimeout: TIMEOUT,
      sendTimeout: TIMEOUT,
      ask: (verb, argument) => link.request<"ask">({ kind: "ask", verb, argument }),
      state: () => {},
    });
    return stranger;
  }

  /** Publishes a body as it is. */
  publish(topic: string, body: string): Promise<number | undefined> {
    return this.sender.publish(topic, body);
  }

  /** Puts a body as it is. */
  put(queue: string, body: string): Promise<void> {
    return this.sender.send(queue, body, { wait: TIMEOUT });
  }

  /** Closes its connections. */
  async close(): Promise<void> {
    await withDeadline(TIMEOUT, (over) => this.#link.close(over));
    await this.sender.close();
  }
}

/**
 * Takes one item under a lease and dies holding it, before or after its handler has started: its worker is ended, nothing is settled,
 * nothing is closed. Resolves with what removes what is left of it, as the sending half of a bus does.
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
    ask: () => Promise.reject(new ClosedError()),
    state: () => {},
  });
  const { port1, port2 } = new MessageChannel();
  const post = (frame: ToWorker) => port1.postMessage([frame]);
  let inbox = "";
  const spawned = await spawn(provider, TIMEOUT, reject);
  port1.onmessage = async (event) => {
    for (const frame of event.data as ToMain[]) {
      if (frame.kind === "ready") {
        post({ kind: "receive", id: 1, queue, max: 1, wait: TIMEOUT, lease });
        sender.waker?.wake(inbox = frame.inbox);
      }
      if (frame.kind === "ask") {
        post({ ...frame, kind: "answer", value: await provider.askHandler?.answer(frame.verb, frame.argument) });
      }
      if (frame.kind === "done" && frame.id === 1 && started) {
        const receipts = (frame.value as Delivery[]).map(({ receipt }) => receipt);
        post({ kind: "start", id: 2, queue, receipts });
        sender.waker?.wake(inbox);
      } else if (frame.kind === "done") resolve();
      if (frame.kind === "failed" || frame.kind === "fatal") reject(fromPlain(frame.error));
    }
  };
  const { options } = provider;
  spawned.greet({ kind: "tsmq:hello", port: port2, namespace, options, connectTimeout: TIMEOUT });
  try {
    await held;
  } finally {
    spawned.release(true);
    port1.close();
  }
  return () => sender.close();
}
