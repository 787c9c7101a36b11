/**
 * The message bus for Deno and Bun: pub/sub, queues and RPC over transports that people already run.
 *
 * The functions of this module use one default bus, which `init` opens. `Bus.open` opens further buses.
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
export { Bus } from "./src/bus.ts";
export {
  expose,
  init,
  publish,
  queue,
  remote,
  shutdown,
  stream,
  stub,
  subscribe,
  subscriber,
  topic,
  unexpose,
  unsubscribe,
} from "./src/global.ts";
export type { Wrapper } from "./src/pubsub/decorate.ts";
export type { MessageHeaders } from "./src/codec/headers.ts";
export type { EventClass } from "./src/codec/codec.ts";
export {
  BusError,
  ClosedError,
  NoSuchRemoteError,
  NotInitializedError,
  ProviderError,
  QueueEmptyError,
  QueueFullError,
  RemoteInvocationError,
  RpcError,
  TimeoutError,
  UnsupportedError,
  ValidationError,
} from "./src/errors.ts";
export type { BusErrorOptions, ErrorCode, InvalidPart, Issue } from "./src/errors.ts";
export { BusErrorEvent, BusEvents, BusStateEvent } from "./src/events.ts";
export type { BusEventListener, BusEventMap, BusState, ErrorContext, Gap } from "./src/events.ts";
export type { Authorize, CallToAuthorize, ExposedError, ExposeErrors } from "./src/hooks.ts";
export type { BusKey, BusOptions, CloseOptions, CloseReport, Health } from "./src/options.ts";
export type {
  AskHandler,
  Features,
  Provider,
  QueueInspector,
  QueuePeeker,
  QueueStats,
  RegisteredServer,
  ReplyQueues,
  Sender,
  SenderContext,
  SendOptions,
  ServersOptions,
  WaitingItem,
  Waker,
} from "./src/provider/provider.ts";
export { memory } from "./src/providers/memory/provider.ts";
export type { MemoryOptions } from "./src/providers/memory/provider.ts";
export type { ConsumeOptions, Consumer } from "./src/queue/consumer.ts";
export type { DeadLetters, RetryOptions, SelectOptions } from "./src/queue/dead_letters.ts";
export type { Lease } from "./src/queue/lease.ts";
export type { DeadLetter, LetterFields, ReadableLetter, UnreadableLetter } from "./src/queue/letter.ts";
export type { Peeked, PeekOptions, Unreadable } from "./src/queue/peek.ts";
export type { ItemOptions, PutOptions } from "./src/queue/put.ts";
export type { Queue, QueueOptions, ReceiveOptions, WaitOptions } from "./src/queue/queue.ts";
export type { ExposeOptions } from "./src/rpc/exposure.ts";
export type { Class } from "./src/rpc/methods.ts";
export { currentCall } from "./src/rpc/current_call.ts";
export type { CurrentCall } from "./src/rpc/current_call.ts";
export { procedure } from "./src/rpc/procedure.ts";
export type {
  ArgsSchema,
  Arguments,
  CallName,
  Contract,
  Fn,
  FunctionName,
  Given,
  IfTuple,
  IsStream,
  Made,
  MayStream,
  MethodName,
  MultiObjectStub,
  MultiStub,
  NotStream,
  ObjectStub,
  Procedure,
  Result,
  RpcResponse,
  Served,
  StreamContract,
  StreamOptions,
  StreamStub,
  Stub,
  StubOptions,
  Yielded,
} from "./src/rpc/procedure.ts";
export type { StandardSchemaV1 } from "./src/codec/schema.ts";
export type { Log, LogRecord } from "./src/telemetry/telemetry.ts";
export type { Verb } from "./src/telemetry/opentelemetry.ts";
export type {
  Handler,
  Message,
  PublishOptions,
  SubscribeOptions,
  Subscription,
  Target,
  TopicOptions,
} from "./src/pubsub/topic.ts";
export { Topic } from "./src/pubsub/topic.ts";
