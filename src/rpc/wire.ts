/**
 * The text of requests, answers and cancellations: PyMQ's named tuples with one more element, which PyMQ ignores.
 *
 * @module
 */
import type { Written } from "../codec/codec.ts";
import { MAX_HEAD, type Signed } from "../codec/envelope.ts";
import { type MessageHeaders, parseHeaders, readHeaders } from "../codec/headers.ts";
import { writeMarks } from "../codec/marks.ts";
import { reservedKey } from "../codec/tags.ts";
import { type BusError, ProviderError, RpcError, TimeoutError, type ValidationError } from "../errors.ts";
import { LONGEST } from "../internal/arguments.ts";
import { CLOCK_SKEW } from "../internal/time.ts";

/** The tag of a request. */
export const REQUEST = "pymq.core.RpcRequest";
/** The tag of an answer. */
export const ANSWER = "pymq.core.RpcResponse";
/** The tag of a cancellation. */
export const CANCEL = "tsmq:cancel";

/**
 * The reason why a server does not run a request. "gone": it does not serve the function. "busy": it has reached its limit of calls.
 * "late": the deadline has passed, or the request was signed in the future. "forgotten": it may have served the call before. "running": it
 * is running the call. "here": the request is for servers of PyMQ, and this server offers itself.
 */
export type Refusal = "gone" | "busy" | "late" | "forgotten" | "running" | "here";

/** The largest number of characters in the id of a call, and in the name of PyMQ's answer queue. The ids of tsmq have 36. */
const MAX_ID = 64;
/** Matches a text that V8 hashes without a secret: a peer can choose many that collide in a `Map`, which then takes a millisecond for each. */
export const PREDICTABLE = /^\d+$/;
/** The largest number of characters in the address of an inbox, which may contain the namespace. */
const MAX_INBOX = 4_096;
/** The largest number of characters of all headers of a call: twice as many as a bus sends. */
const MAX_HEADERS = 16_384;

/** The fifth element of an answer until the server fills it in. */
export const UNADDRESSED = { id: "", server: "" };

/** A request: `[fn, response_channel, args, kwargs, { id, inbox, deadline, headers }]`. */
export interface Request {
  readonly fn: string;
  /** PyMQ's answer queue for this call. Empty if the request is for one server of tsmq. */
  readonly channel: string;
  readonly args: readonly unknown[];
  readonly kwargs: Readonly<Record<string, unknown>>;
  /** The part for servers of tsmq. Absent in requests of PyMQ. */
  readonly call?: {
    readonly id: string;
    readonly inbox: string;
    readonly deadline: number;
    /** Only PyMQ's servers run this request. A server of tsmq answers "here", and runs the call when the request comes to its inbox. */
    readonly offer?: true;
    /** The number of the attempt: a single call is sent to one server after the other. A server never runs an attempt that it has refused. */
    readonly attempt?: number;
    /** The milliseconds since the request was sent for the first time. Only repeated requests have it. */
    readonly age?: number;
    /** Whether the caller reads the result as a stream. */
    readonly stream?: true;
    /** Whether the caller confirms a large answer with a cancellation. */
    readonly confirms?: true;
    /** Whether the caller reads several messages in one: see `posts.ts`. */
    readonly joins?: true;
    readonly headers?: MessageHeaders;
  };
  /** The id of the key that signed the request. Not a part of its text. */
  readonly key?: string;
}

/** An answer: `[fn, result, result_type, is_error, { id, server, … }]`. */
export interface Answer<Result = unknown> {
  readonly fn: string;
  readonly result: Result;
  /** The type mark of the result, if the result is already JSON text. */
  readonly mark?: string;
  readonly resultType: string;
  readonly isError: boolean;
  /** The part for callers of tsmq. Absent in answers of PyMQ. */
  readonly call?: {
    readonly id: string;
    readonly server: string;
    /** Whether the server reads several messages in one: see `posts.ts`. */
    readonly joins?: true;
    readonly refused?: Refusal;
    /** The number of the refused attempt, from the request. */
    readonly attempt?: number;
    /** Whether the result is `undefined`, which Python does not have. */
    readonly void?: boolean;
    /** Whether the server did not run the call because its hook `authorize` does not allow it. */
    readonly denied?: boolean;
    /** Whether the server did not run the call because it refused the arguments. */
    readonly invalid?: boolean;
    /** Whether the server waits for a cancellation that confirms this answer. */
    readonly confirm?: boolean;
    /** Whether the result is a stream: the answer opens it for a caller that reads a stream, and is an error for other callers. */
    readonly stream?: boolean;
    readonly stack?: string;
  };
}

/** Writes a request. */
export function writeRequest(fn: string, channel: string, args: Written, call: Request["call"]): string {
  const headers = call?.headers;
  // as an object they would be read as a tag
  const text = headers && Object.keys(headers).some(reservedKey) ? JSON.stringify(headers) : undefined;
  return `{"__obj":[${JSON.stringify(fn)},"${channel}",${args.json},{},${
    JSON.stringify(text === undefined ? call : { ...call, headers: text })
  }],"__type":"${REQUEST}"}` +
    writeMarks(args.mark && `{"__obj":{"2":${args.mark}}}`);
}

/** Reads a request from the value of its body, and its signature, if it has one. Returns undefined if it is malformed. */
export function readRequest(value: unknown, signed?: Signed): Request | undefined {
  if (!Array.isArray(value)) return undefined;
  const [fn, channel, args, kwargs, part] = value;
  if (typeof fn !== "string" || typeof channel !== "string" || !Array.isArray(args ?? [])) return undefined;
  if (channel.length > MAX_ID || (part !== undefined && !isCall(part))) return undefined;
  let call = part && callOf(part);
  const latest = (signed?.time ?? Date.now()) + LONGEST + CLOCK_SKEW;
  if (call && call.deadline > latest) {
    if (signed) return undefined; // no bus sets such a deadline, and the server would have to remember the call until then
    call = { ...call, deadline: latest };
  }
  const request: Request = { fn, channel, args: args ?? [], kwargs: isRecord(kwargs) ? kwargs : {}, call };
  return signed ? { ...request, key: signed.key } : request;
}

/** Writes an answer whose result is already JSON text. */
export function writeAnswer({ fn, result, mark, resultType, isError, call }: Answer<string>): string {
  const rest = call ? `,${JSON.stringify(call)}` : "";
  return `{"__obj":[${JSON.stringify(fn)},${result},${
    JSON.stringify(resultType)
  },${isError}${rest}],"__type":"${ANSWER}"}${writeMarks(mark && `{"__obj":{"1":${mark}}}`)}`;
}

/** Reads an answer from the value of its body. Returns undefined if it is malformed. If the result is `unreadable`, the answer contains that error. */
export function readAnswer(value: unknown, unreadable?: ValidationError): Answer | undefined {
  if (!Array.isArray(value)) return undefined;
  const [fn, result, resultType, isError, part] = value;
  if (typeof fn !== "string") return undefined;
  if (part !== undefined && !(isRecord(part) && typeof part.id === "string" && isInbox(part.server))) return undefined;
  const typed = part?.stack === undefined || typeof part.stack === "string";
  const call = (typed ? part : { ...part, stack: undefined }) as Answer["call"];
  if (unreadable) {
    const { name, message } = unreadable;
    return { fn, result: [message], resultType: name, isError: true, call };
  }
  return {
    fn,
    result: call?.void === true ? undefined : result,
    resultType: typeof resultType === "string" ? resultType : "NoneType",
    isError: isError === true,
    call,
  };
}

/** Creates the answer for a call that has no result. */
export function refusal(fn: string, call: Answer["call"]): Answer<string> {
  return { fn, result: "null", resultType: "NoneType", isError: true, call };
}

/** Creates the answer of a function that returned `undefined`. Python does not have that value, so the answer is marked for tsmq. */
export function voidAnswer(fn: string, resultType: string): Answer<string> {
  return { fn, isError: false, result: "null", resultType, call: { ...UNADDRESSED, void: true } };
}

/** Creates the answer that opens a stream. */
export function openAnswer(fn: string): Answer<string> {
  return { fn, isError: false, result: "null", resultType: "NoneType", call: { ...UNADDRESSED, stream: true } };
}

/** Creates the answer for a caller that does not read the result as a stream. */
export function streamAnswer(fn: string): Answer<string> {
  const result = JSON.stringify(["the result is a stream"]);
  return { fn, isError: true, result, resultType: "RpcError", call: { ...UNADDRESSED, stream: true } };
}

/** Returns the error of the caller for a refusal, or undefined if the caller should act as if the server did not exist. */
export function denial(fn: string, refused: Refusal): BusError | undefined {
  if (refused === "busy") return new RpcError("busy", `Cannot call "${fn}": every server is at its limit of calls`);
  if (refused === "late") {
    const why = "by its server's clock the deadline has passed, or the call was made in the future";
    return new TimeoutError(`Cannot call "${fn}": ${why}`);
  }
  return undefined;
}

/** Returns the error of the caller when a server that may have the request is gone. */
export function serverGone(fn: string, server = "its server"): ProviderError {
  return new ProviderError("unavailable", `Cannot call "${fn}": ${server} is gone, and may have served the call`);
}

/** Returns the error of a call whose server does not know its outcome any more. */
export function outcomeForgotten(fn: string, server = "its server"): ProviderError {
  const why = `${server} has closed, or has run it and does not have the answer any more`;
  const what = "if its results are large, make fewer calls at once, or serve a stream";
  return new ProviderError("unavailable", `Cannot call "${fn}": ${why}; ${what}`);
}

/** Writes a cancellation. It also confirms a large answer: the caller needs nothing more of the call. */
export function writeCancel(id: string): string {
  return `{"__obj":[${JSON.stringify(id)}],"__type":"${CANCEL}"}`;
}

function isCall(value: unknown): value is NonNullable<Request["call"]> {
  return isRecord(value) && typeof value.id === "string" && value.id.length <= MAX_ID && !PREDICTABLE.test(value.id) &&
    isInbox(value.inbox) && Number.isFinite(value.deadline) &&
    (value.offer === undefined || value.offer === true) && (value.stream === undefined || value.stream === true) &&
    (value.confirms === undefined || value.confirms === true) &&
    (value.joins === undefined || value.joins === true) &&
    (value.attempt === undefined || typeof value.attempt === "number") &&
    (value.age === undefined || typeof value.age === "number");
}

function isInbox(value: unknown): value is string {
  return typeof value === "string" && value !== "" && value.length <= MAX_INBOX;
}

/** Returns the known fields of a call: a server holds them until it has sent the answer. Versions without headers have a trace in their place. */
function callOf(call: NonNullable<Request["call"]> & { readonly traceparent?: unknown }): NonNullable<Request["call"]> {
  const { id, inbox, deadline, offer, attempt, age, stream, confirms, joins, traceparent } = call;
  const headers: unknown = call.headers ?? (traceparent === undefined ? undefined : { traceparent });
  return { id, inbox, deadline, offer, attempt, age, stream, confirms, joins, headers: headersOf(headers) };
}

/** Reads the headers of a call. Returns undefined if they are not valid, or too long. */
function headersOf(headers: unknown): MessageHeaders | undefined {
  if (headers === undefined) return undefined; // most calls
  if (typeof headers === "string" && headers.length > MAX_HEAD) return undefined;
  const read = typeof headers === "string" ? parseHeaders(headers) : readHeaders(headers);
  let size = 0;
  for (const name in read) size += name.length + read[name]!.length;
  return size > MAX_HEADERS ? undefined : read;
}

function isRecord(value: unknown): value is Record<string, unknown> {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}
