/** Runs the sending halves of another process's buses, so that they send from this runtime. */
import { fromPlain, type PlainError, toPlain } from "../../src/errors.ts";
import { ipc } from "../../src/providers/ipc/provider.ts";
import { loadPosix, POLLOUT } from "../../src/providers/ipc/posix.ts";
import type { Sender } from "../../src/provider/provider.ts";
import { say, told } from "../support/peer_side.ts";

interface Command {
  id: number;
  bus: number;
  verb: string;
  args: unknown[];
  signal?: number;
}

type Verbs = Record<string, (...args: unknown[]) => unknown>;

const posix = await loadPosix();
const senders = new Map<number, Promise<Sender>>();
const asks = new Map<number, PromiseWithResolvers<unknown>>();
const aborts = new Map<number, AbortController>();
let asked = 0;

async function writable(descriptor: number, ms: number): Promise<boolean> {
  const entry = new DataView(new ArrayBuffer(8));
  entry.setInt32(0, descriptor, true);
  entry.setInt16(4, POLLOUT, true);
  for (const end = performance.now() + ms; performance.now() < end;) {
    if (posix.poll(new Uint8Array(entry.buffer), 1, 0) > 0) return true;
    await new Promise((resolve) => setTimeout(resolve, 1));
  }
  return false;
}

async function run({ bus, verb, args, signal }: Command): Promise<unknown> {
  const abort = new AbortController();
  if (signal !== undefined) aborts.set(signal, abort);
  if (verb === "open") {
    const ask = (verb: string, argument: unknown) => {
      if (verb === "writable") return writable(...argument as [number, number]); // the worker is in the other process
      const id = ++asked;
      asks.set(id, Promise.withResolvers());
      say({ ask: id, bus, verb, argument });
      return asks.get(id)!.promise;
    };
    const [namespace, sendTimeout] = args as [string, number];
    senders.set(
      bus,
      ipc({ messageSize: 1_024 }).open({
        namespace,
        connectTimeout: 10_000,
        sendTimeout,
        maxReceive: Infinity,
        ask,
        state() {},
      }),
    );
    await senders.get(bus);
    return;
  }
  const sender = await senders.get(bus)!;
  const [part, member] = verb.split(".") as [keyof Sender, string | undefined];
  if (member !== undefined) return await (sender[part] as unknown as Verbs)[member]!(...args);
  if (verb !== "send") return await (sender as unknown as Verbs)[verb]!(...args);
  const [queue, body, wait, delay] = args as [string, string, number | null, number | null];
  await sender.send(queue, body, { wait: wait ?? Infinity, signal: abort.signal, delay: delay ?? Infinity });
}

type Message = Command | { answer: number; value?: unknown; error?: PlainError } | { abort: number };

function handle(message: Message): void {
  if ("abort" in message) aborts.get(message.abort)?.abort("aborted");
  else if ("answer" in message) {
    const { resolve, reject } = asks.get(message.answer)!;
    if (message.error) reject(fromPlain(message.error));
    else resolve(message.value);
  } else {
    run(message).then(
      (value) => say({ id: message.id, value }),
      (error) => say({ id: message.id, error: toPlain(error) }),
    );
  }
}

for await (const messages of told<Message[]>()) messages.forEach(handle);
