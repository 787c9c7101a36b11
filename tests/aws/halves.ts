/** Both halves of the provider in one thread, without port and worker. Tests use only the interface of the seam. */
import { aws, type AwsOptions } from "../../src/providers/aws/provider.ts";
import { openReceiver } from "../../src/providers/aws/receiver.ts";
import type { Delivery, Filter, Provider, ReceiveOptions, Receiver, Sender } from "../../src/provider/provider.ts";

export interface Halves extends AsyncDisposable {
  readonly provider: Provider;
  readonly namespace: string;
  readonly sender: Sender;
  readonly receiver: Receiver;
  /** The reports of the receiver, in order: `up`, `down`, `gap: …`, `fault: …`. */
  readonly said: string[];
  /** The filter of each gap. */
  readonly gaps: (Filter | undefined)[];
  readonly inbox: string[];
  /** If true, the receiver considers main far behind. */
  congested: boolean;
  receive(queue: string, options?: Partial<ReceiveOptions>): Promise<Delivery[]>;
  bodies(queue: string, options?: Partial<ReceiveOptions>): Promise<string[]>;
  close(): Promise<void>;
}

export const NOW = { wait: 0 };

export function fresh(): string {
  return `test-${crypto.randomUUID().slice(0, 13)}`;
}

export interface Opening {
  readonly namespace?: string;
  readonly connectTimeout?: number;
  readonly sendTimeout?: number;
}

export async function open(options: AwsOptions, opening: Opening = {}): Promise<Halves> {
  const { namespace = fresh(), connectTimeout = 5_000, sendTimeout = 5_000 } = opening;
  const provider = aws(options);
  const said: string[] = [];
  const gaps: (Filter | undefined)[] = [];
  const inbox: string[] = [];
  const box = { congested: false };
  const receiver = await openReceiver({
    namespace,
    options: structuredClone(provider.options),
    connectTimeout,
    maxReceive: Infinity,
    origin: {},
    inbox: (body) => inbox.push(body),
    state: (connected) => said.push(connected ? "up" : "down"),
    gap: (reason, filter) => {
      said.push(`gap: ${reason}`);
      gaps.push(filter);
    },
    fault: (error) => said.push(`fault: ${error}`),
    get congested() {
      return box.congested;
    },
    arrived: 0,
    due: Infinity,
    ask: async (verb, argument) => await provider.askHandler!.answer(verb, argument),
  });
  const sender = await provider.open({
    namespace,
    connectTimeout,
    sendTimeout,
    maxReceive: Infinity,
    ask: async (verb, argument) => await receiver.askHandler!.answer(verb, argument),
    state: () => {},
  });
  const receive = (queue: string, options: Partial<ReceiveOptions> = {}) =>
    receiver.receive(queue, { max: 1, wait: 0, signal: new AbortController().signal, ...options });
  const close = async () => void await Promise.all([sender.close(), receiver.close()]);
  return {
    provider,
    namespace,
    sender,
    receiver,
    said,
    gaps,
    inbox,
    get congested() {
      return box.congested;
    },
    set congested(value) {
      box.congested = value;
    },
    receive,
    bodies: async (queue, options) => (await receive(queue, options)).map(({ body }) => body),
    close,
    [Symbol.asyncDispose]: close,
  };
}
