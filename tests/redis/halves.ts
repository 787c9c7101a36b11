/** Both halves of the provider in one thread, without port and worker. Tests use only the interface of the seam. */
import { assert, assertEquals } from "@std/assert";
import { redis, type RedisOptions } from "../../src/providers/redis/provider.ts";
import { openReceiver } from "../../src/providers/redis/receiver.ts";
import type { Delivery, ReceiveOptions, Receiver, Sender } from "../../src/provider/provider.ts";
import type { RedisServer } from "../support/redis_server.ts";
import { pause, quickest, until } from "../support/until.ts";

export interface Halves extends AsyncDisposable {
  readonly namespace: string;
  readonly sender: Sender;
  readonly receiver: Receiver;
  /** The reports of the receiver, in order: `up`, `down`, `gap`, `fault: …`. */
  readonly said: string[];
  /** The reports of the sender. */
  readonly senderSaid: string[];
  readonly inbox: string[];
  receive(queue: string, options?: Partial<ReceiveOptions>): Promise<Delivery[]>;
  bodies(queue: string, options?: Partial<ReceiveOptions>): Promise<string[]>;
  close(): Promise<void>;
}

export const NOW = { wait: 0 };

/**
 * Asserts that the server wakes a receive that waits for the queue "q" when an "x" is put. The server counts the takes: one at the
 * beginning, none while nothing changes (a receive that is not woken takes five times a second), one for the item, if it is not handed over.
 */
export async function assertWoken(
  server: RedisServer,
  bus: Halves,
  put: () => Promise<unknown>,
  lease?: number,
  most = 2,
): Promise<void> {
  await bus.receive("q", { lease }); // from now on, the server knows the script
  const before = await takes(server);
  const waits = bus.bodies("q", { wait: 30_000, lease });
  await until("it has taken nothing", async () => await takes(server) > before);
  const start = performance.now();
  await pause(500);
  await put();
  assertEquals(await waits, ["x"]);
  const waited = performance.now() - start;
  assert(waited < SLOW_POLL, `it was woken after ${waited} ms, not by the poll that is the safety net`);
  assertEquals(await takes(server) - before, most, "the number of takes");
}

/** The pause between polls of a receive that the server wakes. */
export const SLOW_POLL = 5_000;

/** Returns the number of scripts that the server has run. */
export async function takes(server: RedisServer): Promise<number> {
  const stats = String(await server.run("info", "commandstats"));
  return [...stats.matchAll(/cmdstat_evalsha:calls=(\d+)/g)].reduce((sum, [, calls]) => sum + Number(calls), 0);
}

/**
 * Returns the milliseconds between a put of "x" into the queue "q" and its delivery to a waiting receive, without the time that one take
 * costs at this moment: the least of five rounds, each of which waits for `after` ms before.
 */
export function delivery(
  bus: Halves,
  put: () => Promise<unknown>,
  after: (round: number) => number,
): Promise<number> {
  return quickest(async (round) => {
    const waits = bus.bodies("q", { wait: 10_000 });
    await pause(after(round));
    await put();
    const start = performance.now();
    assertEquals(await waits, ["x"]);
    const arrived = performance.now();
    await bus.receive("q");
    return arrived - start - (performance.now() - arrived);
  });
}

export function fresh(): string {
  return `test-${crypto.randomUUID()}`;
}

export interface Opening {
  readonly namespace?: string;
  readonly connectTimeout?: number;
  readonly sendTimeout?: number;
  readonly maxReceive?: number;
  /** The port of the receiver, if it differs from the sender's. */
  readonly receiver?: RedisOptions;
}

export async function open(options: RedisOptions, opening: Opening = {}): Promise<Halves> {
  const { namespace = fresh(), connectTimeout = 5_000, sendTimeout = 2_000, maxReceive = Infinity } = opening;
  const provider = redis(options);
  const said: string[] = [];
  const senderSaid: string[] = [];
  const inbox: string[] = [];
  const ask = () => Promise.reject(new Error("nothing to ask"));
  const received = opening.receiver ? redis(opening.receiver) : provider;
  const sender = await provider.open({
    namespace,
    connectTimeout,
    sendTimeout,
    maxReceive,
    ask,
    state: (connected) => change(senderSaid, connected),
  });
  const receiver = await openReceiver({
    namespace,
    options: structuredClone(received.options),
    connectTimeout,
    maxReceive,
    origin: {},
    inbox: (body) => inbox.push(body),
    state: (connected) => change(said, connected),
    gap: () => said.push("gap"),
    fault: (error) => said.push(`fault: ${error}`),
    congested: false,
    arrived: 0,
    due: Infinity,
    ask: async (verb, argument) => structuredClone(await received.askHandler!.answer(verb, argument)),
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

/** Adds a change of state. A half that is down may report a newer reason. */
function change(said: string[], connected: boolean): void {
  const state = connected ? "up" : "down";
  if (connected || said.findLast((one) => one === "up" || one === "down") !== "down") said.push(state);
}
