/**
 * The message bus for Deno and Bun: pub/sub, queues and RPC over transports that people already run.
 *
 * This module is a thin global API over one default bus; `Bus.open` opens further buses.
 *
 * @example
 * ```ts ignore
 * import { expose, init, memory, publish, shutdown, stub, subscribe } from "@tsmq/tsmq";
 *
 * await init(memory());
 * subscribe("greetings", (text) => console.log(text));
 * await publish("hello", "greetings");
 * await expose("add", (a: number, b: number) => a + b);
 * console.log(await stub("add")(1, 2));
 * await shutdown();
 * ```
 *
 * @module
 */
import { Bus } from "./src/bus.ts";
import { decorating, type Wrapper, wrapper } from "./src/pubsub/decorate.ts";
import { BusError, NotInitializedError } from "./src/errors.ts";
import type { Provider } from "./src/provider/provider.ts";
import { checkCount, checkFunction, checkSchema, checkSignal } from "./src/internal/arguments.ts";
import type { BusOptions, CloseOptions } from "./src/options.ts";
import type { Queue, QueueOptions } from "./src/queue/queue.ts";
import {
  checkUnexposeTarget,
  type ExposeOptions,
  type Exposure,
  exposures,
  remoteExposure,
} from "./src/rpc/exposure.ts";
import type { Fn, Procedure, StubOptions } from "./src/rpc/procedure.ts";
import { complain } from "./src/internal/thrown.ts";
import {
  type Handler,
  resolveTarget,
  type SubscribeOptions,
  type Subscription,
  type Target,
  Topic,
  type TopicOptions,
} from "./src/pubsub/topic.ts";

export { Bus } from "./src/bus.ts";
export type { Wrapper } from "./src/pubsub/decorate.ts";
export type { EventClass } from "./src/codec/codec.ts";
export * from "./src/errors.ts";
export { BusErrorEvent } from "./src/events.ts";
export type { Gap } from "./src/events.ts";
export type { BusOptions, BusState, CloseOptions, CloseReport, Health } from "./src/options.ts";
export type {
  AskHandler,
  Features,
  Provider,
  RegisteredServer,
  ReplyQueues,
  Sender,
  SenderContext,
  SendOptions,
  ServersOptions,
  Waker,
} from "./src/provider/provider.ts";
export { memory } from "./src/providers/memory/provider.ts";
export type { MemoryOptions } from "./src/providers/memory/provider.ts";
export type { ConsumeOptions, Consumer } from "./src/queue/consumer.ts";
export type { DeadLetter, Lease } from "./src/queue/deliveries.ts";
export type { Queue, QueueOptions, ReceiveOptions, WaitOptions } from "./src/queue/queue.ts";
export type { ExposeOptions } from "./src/rpc/exposure.ts";
export type { Class } from "./src/rpc/methods.ts";
export { procedure } from "./src/rpc/procedure.ts";
export type {
  ArgsSchema,
  Arguments,
  Contract,
  Fn,
  FunctionName,
  Given,
  Made,
  MethodName,
  MultiObjectStub,
  MultiStub,
  ObjectStub,
  Procedure,
  Result,
  RpcResponse,
  Served,
  Stub,
  StubOptions,
} from "./src/rpc/procedure.ts";
export type { StandardSchemaV1 } from "./src/codec/schema.ts";
export type { Log, LogRecord, Verb } from "./src/telemetry.ts";
export type { Handler, Message, SubscribeOptions, Subscription, Target, TopicOptions } from "./src/pubsub/topic.ts";
export { Topic } from "./src/pubsub/topic.ts";

let bus: Bus | undefined;
let opening: Promise<Bus> | undefined;
let closing: Bus | undefined;

/** What was subscribed or exposed before `init`: applied by it, forgotten by `shutdown`. */
interface Remembered {
  /** What was exposed, unless it is a subscription: that has the rest. */
  readonly exposure?: Exposure;
  readonly topic?: string;
  readonly handler?: unknown;
  readonly pattern?: boolean;
  apply(bus: Bus): Promise<void>;
  forget?(): void;
}
const remembered = new Set<Remembered>();

function forget(entry: Remembered): void {
  remembered.delete(entry);
  entry.forget?.();
}

/**
 * Opens the default bus and applies what was subscribed and exposed before.
 *
 * @throws {BusError} "already_open" when it is open, or opening, already
 */
export async function init(provider: Provider, options?: BusOptions): Promise<Bus> {
  if (bus || opening) throw new BusError("already_open", "Cannot init: the default bus is open; call shutdown() first");
  opening = open(provider, options);
  try {
    return await opening;
  } finally {
    opening = undefined;
  }
}

async function open(provider: Provider, options?: BusOptions): Promise<Bus> {
  // what is subscribed, exposed or taken back from now on goes to the bus itself
  const opened = bus = await Bus.open(provider, options);
  try {
    const applied = [...remembered].map((entry) =>
      entry.apply(opened).catch((error) => {
        if (remembered.has(entry)) throw error; // not one that was just taken back
      })
    );
    await Promise.all(applied);
  } catch (error) {
    bus = undefined;
    await opened.close();
    throw error;
  }
  return opened;
}

/** Closes the default bus; nothing to shut down: does nothing. `init` may follow again. */
export async function shutdown(options?: CloseOptions): Promise<void> {
  await opening?.catch(() => {}); // init() itself rejects with its failure
  const ended = (bus ?? closing)?.close(options); // first of all: it may refuse its options
  if (bus) {
    const ending = closing = bus;
    ending.closed.then(() => closing = closing === ending ? undefined : closing);
  }
  remembered.forEach(forget);
  bus = undefined;
  await ended;
}

function current(): Bus {
  if (!bus) throw new NotInitializedError();
  return bus;
}

/** As {@linkcode Bus.publish}, on the default bus. */
export const publish: Bus["publish"] = (event: unknown, target?: unknown): Promise<number | undefined> =>
  bus ? bus.publish(event, target as string) : Promise.reject(new NotInitializedError());

/** As {@linkcode Bus.subscribe}, on the default bus; before `init` it is remembered. */
export const subscribe: Bus["subscribe"] = (
  target: unknown,
  handler: Handler<never>,
  options: SubscribeOptions = {},
): Subscription => listen(target, handler, options);

function listen(target: unknown, handler: Handler<never>, options: SubscribeOptions): Subscription {
  const apply = (bus: Bus) => bus.subscribe(target as string, handler, options as SubscribeOptions<undefined>);
  if (bus) return apply(bus);
  const { topic, pattern = options.pattern ?? false } = resolveTarget(target);
  const { promise: closed, resolve: end } = Promise.withResolvers<void>();
  let live: Subscription | undefined;
  const entry: Remembered = {
    topic,
    handler,
    pattern,
    apply: async (bus) => {
      live = apply(bus);
      live.closed.then(end);
      await live.ready;
    },
    forget: () => live ?? end(),
  };
  const unsubscribe = async () => {
    forget(entry);
    await live?.unsubscribe();
  };
  checkFunction("a handler", handler);
  checkCount("a concurrency", options.concurrency ?? 1);
  checkSchema(options.schema);
  checkSignal(options.signal);
  options.signal?.addEventListener("abort", () => forget(entry), { once: true });
  remembered.add(entry);
  return { topic, pattern, ready: Promise.resolve(), closed, unsubscribe, [Symbol.asyncDispose]: unsubscribe };
}

/** As {@linkcode Bus.unsubscribe}, on the default bus or of what is remembered. */
export const unsubscribe: Bus["unsubscribe"] = async (target, handler) => {
  const { topic } = resolveTarget(target);
  const all = [...remembered].filter((entry) => entry.topic === topic && entry.handler === handler);
  for (const pattern of [false, true]) {
    const oldest = all.find((entry) => entry.pattern === pattern);
    if (oldest) forget(oldest);
  }
  await bus?.unsubscribe(target, handler);
};

/** As {@linkcode Bus.subscriber}, on the default bus. */
export function subscriber(target: Target, options: SubscribeOptions = {}): Wrapper {
  return wrapper((fn) => listen(target, fn as unknown as Handler<never>, options));
}

/** As {@linkcode Bus.topic}, on whatever is the default bus when it is used. */
export const topic: Bus["topic"] = (name: string, options: TopicOptions = {}): Topic<never> =>
  new Topic(name, options, { publish, subscribe: listen });

/** As {@linkcode Bus.queue}, on the default bus. */
export const queue: Bus["queue"] = (name: string, options?: QueueOptions): Queue<never> =>
  current().queue(name, options as QueueOptions<undefined>);

/** As {@linkcode Bus.expose}, on the default bus; before `init` it is remembered. */
export const expose: Bus["expose"] = async (target: unknown, second?: unknown, third?: unknown): Promise<void> => {
  if (bus) return await bus.expose(target as string, second as Fn, third as ExposeOptions);
  const served = [...remembered].flatMap(({ exposure }) => exposure ?? []);
  const all = exposures(target, second, third, served);
  for (const exposure of all) exposure.checkUnused(served);
  for (const exposure of all) remembered.add({ exposure, apply: (bus) => bus.expose(exposure) });
};

/** As {@linkcode Bus.unexpose}, on the default bus or of what is remembered. */
export async function unexpose(target: string | Fn | Procedure | object): Promise<void> {
  checkUnexposeTarget(target);
  for (const entry of remembered) if (entry.exposure?.isOf(target)) forget(entry);
  await bus?.unexpose(target);
}

/** As {@linkcode Bus.remote}, on the default bus; before `init` it is remembered. */
export function remote(name?: string): Wrapper {
  return wrapper((fn, self, method) => {
    if (bus) return bus.remote(name)(fn, decorating(self, method));
    const remember = async () => await expose(remoteExposure(name, fn, self, method));
    remember().catch((error) => complain(`on "${name ?? method ?? fn.name}":`, error));
  });
}

/** As {@linkcode Bus.stub}, on the default bus. */
export const stub: Bus["stub"] = (target: unknown, options?: StubOptions): never =>
  current().stub(target as string, options) as never;
