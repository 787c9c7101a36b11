/**
 * Requests and answers as text: PyMQ's named tuples, with one more element that PyMQ ignores.
 *
 * @module
 */
import type { Written } from "../codec/codec.ts";
import { checkedHeaders, type MessageHeaders } from "../codec/envelope.ts";
import { writeMarks } from "../codec/marks.ts";
import { type BusError, RpcError, TimeoutError, type ValidationError } from "../errors.ts";

/** The tag of a request. */
export const REQUEST = "pymq.core.RpcRequest";
/** The tag of an answer. */
export const ANSWER = "pymq.core.RpcResponse";
/** The tag of a cancellation. */
export const CANCEL = "tsmq:cancel";

/**
 * Why a server does not serve a request: it does not have the function, it is at its limit, the deadline has passed, it cannot tell
 * whether it served the call before, it is running the call, or the request asked only whether the function is here.
 */
export type Refusal = "gone" | "busy" | "late" | "forgotten" | "running" | "here";

/** Characters of an id that is remembered; ours have 36. */
const MAX_ID = 64;

/** A request: `[fn, response_channel, args, kwargs, { id, inbox, deadline, headers }]`. */
export interface Request {
  readonly fn: string;
  /** PyMQ's answer queue for this call; empty where PyMQ cannot be meant. */
  readonly channel: string;
  readonly args: readonly unknown[];
  readonly kwargs: Readonly<Record<string, unknown>>;
  /** What a server of ours needs; absent in PyMQ's requests. */
  readonly call?: {
    readonly id: string;
    readonly inbox: string;
    readonly deadline: number;
    /** Only PyMQ's servers run this request. A server of ours answers "here", and runs the call when it comes to its inbox. */
    readonly offer?: true;
    /** Milliseconds since it was asked for the first time, where it is asked again. */
    readonly age?: number;
    readonly headers?: MessageHeaders;
  };
}

/** An answer: `[fn, result, result_type, is_error, { id, server, … }]`. */
export interface Answer<Result = unknown> {
  readonly fn: string;
  readonly result: Result;
  /** The mark of a result that is text. */
  readonly mark?: string;
  readonly resultType: string;
  readonly isError: boolean;
  /** Absent in PyMQ's answers. */
  readonly call?: {
    readonly id: string;
    readonly server: string;
    readonly refused?: Refusal;
    /** The result was `undefined`, which Python does not have. */
    readonly void?: boolean;
    readonly stack?: string;
  };
}

/** Writes a request. */
export function writeRequest(fn: string, channel: string, args: Written, call: Request["call"]): string {
  return `{"__obj":[${JSON.stringify(fn)},"${channel}",${args.json},{},${
    JSON.stringify(call)
  }],"__type":"${REQUEST}"}` +
    writeMarks(args.mark && `{"__obj":{"2":${args.mark}}}`);
}

/** Reads the value of a request's body; undefined if it is none. */
export function readRequest(value: unknown): Request | undefined {
  if (!Array.isArray(value)) return undefined;
  const [fn, channel, args, kwargs, call] = value;
  if (typeof fn !== "string" || typeof channel !== "string" || !Array.isArray(args ?? [])) return undefined;
  if (call !== undefined && !isCall(call)) return undefined;
  return { fn, channel, args: args ?? [], kwargs: isRecord(kwargs) ? kwargs : {}, call: call && withHeaders(call) };
}

/** Writes an answer around a result that is text already. */
export function writeAnswer({ fn, result, mark, resultType, isError, call }: Answer<string>): string {
  const rest = call ? `,${JSON.stringify(call)}` : "";
  return `{"__obj":[${JSON.stringify(fn)},${result},${
    JSON.stringify(resultType)
  },${isError}${rest}],"__type":"${ANSWER}"}${writeMarks(mark && `{"__obj":{"1":${mark}}}`)}`;
}

/** Reads the value of an answer's body; undefined if it is none. One whose result is unreadable is an error. */
export function readAnswer(value: unknown, unreadable?: ValidationError): Answer | undefined {
  if (!Array.isArray(value)) return undefined;
  const [fn, result, resultType, isError, call] = value;
  if (typeof fn !== "string") return undefined;
  if (call !== undefined && !(isRecord(call) && typeof call.id === "string" && typeof call.server === "string")) {
    return undefined;
  }
  if (unreadable) {
    const { name, message } = unreadable;
    return { fn, result: [message], resultType: name, isError: true, call: call as Answer["call"] };
  }
  return {
    fn,
    result: call?.void === true ? undefined : result,
    resultType: typeof resultType === "string" ? resultType : "NoneType",
    isError: isError === true,
    call: call as Answer["call"],
  };
}

/** What a refusal means to the caller; undefined: the server might as well not be there. */
export function denial(fn: string, refused: Refusal): BusError | undefined {
  if (refused === "busy") return new RpcError("busy", `Cannot call "${fn}": every server is at its limit of calls`);
  if (refused === "late") return new TimeoutError(`Cannot call "${fn}": by its server's clock the deadline has passed`);
  return undefined;
}

/** Writes a cancellation. */
export function writeCancel(id: string): string {
  return `{"__obj":["${id}"],"__type":"${CANCEL}"}`;
}

function isCall(value: unknown): value is NonNullable<Request["call"]> {
  return isRecord(value) && typeof value.id === "string" && value.id.length <= MAX_ID &&
    typeof value.inbox === "string" && Number.isFinite(value.deadline) &&
    (value.offer === undefined || value.offer === true) &&
    (value.age === undefined || typeof value.age === "number");
}

/** Before there were headers, a trace stood in their place. */
function withHeaders(call: NonNullable<Request["call"]> & { readonly traceparent?: unknown }): Request["call"] {
  const { traceparent, headers = { traceparent }, ...rest } = call;
  if (traceparent === undefined && call.headers === undefined) return call;
  return { ...rest, headers: checkedHeaders(headers) };
}

function isRecord(value: unknown): value is Record<string, unknown> {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}
