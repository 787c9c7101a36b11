/** Both halves of the provider in one thread, without port and worker: what the seam says, and nothing else. */
import { assertEquals } from "@std/assert";
import { redis, type RedisOptions } from "../../src/providers/redis/provider.ts";
import { openReceiver } from "../../src/providers/redis/receiver.ts";
import type { Delivery, ReceiveOptions, Receiver, Sender } from "../../src/provider/provider.ts";
import { pause, quickest } from "../support/until.ts";

export interface Halves extends AsyncDisposable {
  readonly namespace: string;
  readonly sender: Sender;
  readonly receiver: Receiver;
  /** The reports of the receiver, in order: `up`, `down`, `gap`, `fault: …`. */
  readonly said: string[];
  /** The same of the sender. */
  readonly senderSaid: string[];
  readonly inbox: string[];
  receive(queue: string, options?: Partial<ReceiveOptions>): Promise<Delivery[]>;
  bodies(queue: string, options?: Partial<ReceiveOptions>): Promise<string[]>;
  close(): Promise<void>;
}

export const NOW = { wait: 0 };

/**
 * Milliseconds until who waits for the queue "q" has the "x" that is put: the least of five times, `after` so many ms of waiting.
 */
export function delivery(
  bus: Halves,
  put: () => Promise<unknown>,
  after: (round: number) => number = () => 50,
  lease?: number,
): Promise<number> {
  return quickest(async (round) => {
    const waits = bus.bodies("q", { wait: 10_000, lease });
    await pause(after(round));
    const start = performance.now();
    await put();
    assertEquals(await waits, ["x"]);
    return performance.now() - start;
  });
}

export function fresh(): string {
  return `test-${crypto.randomUUID()}`;
}

export interface Opening {
  readonly namespace?: string;
  readonly connectTimeout?: number;
  readonly sendTimeout?: number;
  /** Where the receiver connects, if elsewhere. */
  readonly receiver?: RedisOptions;
}

export async function open(options: RedisOptions, opening: Opening = {}): Promise<Halves> {
  const { namespace = fresh(), connectTimeout = 5_000, sendTimeout = 2_000 } = opening;
  const provider = redis(options);
  const said: string[] = [];
  const senderSaid: string[] = [];
  const inbox: string[] = [];
  const ask = () => Promise.reject(new Error("nothing to ask"));
  const sender = await provider.open({
    namespace,
    connectTimeout,
    sendTimeout,
    ask,
    state: (connected) => senderSaid.push(connected ? "up" : "down"),
  });
  const receiver = await openReceiver({
    namespace,
    options: structuredClone(opening.receiver ? redis(opening.receiver).options : provider.options),
    connectTimeout,
    inbox: (body) => inbox.push(body),
    state: (connected) => said.push(connected ? "up" : "down"),
    gap: () => said.push("gap"),
    fault: (error) => said.push(`fault: ${error}`),
    congested: false,
    arrived: 0,
    due: Infinity,
    ask,
  });
  const receive = (queue: string, options: Partial<ReceiveOptions> = {}) =>
    receiver.receive(queue, { max: 1, wait: 0, signal: new AbortController().signal, ...options });
  const close = async () => void await Promise.all([sender.close(), receiver.close()]);
  return {
    namespace,
    sender,
    receiver,
    said,
    senderSaid,
    inbox,
    receive,
    bodies: async (queue, options) => (await receive(queue, options)).map(({ body }) => body),
    close,
    [Symbol.asyncDispose]: close,
  };
}
