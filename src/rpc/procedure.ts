/**
 * The public types of RPC: procedures and stubs.
 *
 * @module
 */
import type { MessageHeaders } from "../codec/headers.ts";
import { recognise } from "../internal/copies.ts";
import { checkName, optionNames, refuseUnknown } from "../internal/arguments.ts";
import { checkSchema, type StandardSchemaV1 } from "../codec/schema.ts";
import type { Class } from "./methods.ts";

/** Any function. */
export type Fn = (...args: never[]) => unknown;

/** A function on a server: it returns the result, or a promise of the result. */
export type Served<F extends Fn> = (...args: Parameters<F>) => Result<F> | Promise<Result<F>>;

/** A contract between callers and servers: the name of a function, and the schemas of its arguments and of its result or its values. */
export class Procedure<Call extends Fn = Fn, Serve extends Fn = Served<Call>> {
  /** The function's name. */
  readonly name: string;
  /** Schema of the tuple of arguments. */
  readonly args: StandardSchemaV1 | undefined;
  /** Schema of the result. */
  readonly returns: StandardSchemaV1 | undefined;
  /** Schema of each value of a stream. */
  readonly yields: StandardSchemaV1 | undefined;
  /** The type of the function for callers; absent at run time. */
  declare readonly "~call": Call;
  /** The type of the function for servers; absent at run time. */
  declare readonly "~serve": Serve;

  /** Creates a procedure. Use {@linkcode procedure} instead, which infers the types. */
  constructor(name: string, contract: Schemas) {
    this.name = checkName("a procedure", name);
    const check = refuseUnknown(contract, SCHEMAS, "create procedure", "", name);
    const { args, returns, yields } = contract;
    // the kind of a schema of valibot or of zod; other libraries do not tell
    const object = /^(\w+_)?object$/.test(String((args as { type?: unknown } | undefined)?.type));
    if (object || Array.isArray(args)) {
      const not = object ? "not of an object" : "as z.tuple([z.number()]) is, not an array of schemas";
      throw check.fault("args", `must be a schema of a tuple (the list of arguments), ${not}`);
    }
    this.args = checkSchema(check, args, "args");
    this.returns = checkSchema(check, returns, "returns");
    this.yields = checkSchema(check, yields, "yields");
    if (returns && yields) {
      throw check.invalid("it has a schema of its result and one of its values");
    }
  }
}

/** The schemas of a procedure. */
interface Schemas {
  args?: StandardSchemaV1;
  returns?: StandardSchemaV1;
  yields?: StandardSchemaV1;
}

const SCHEMAS = optionNames<Schemas>({ args: true, returns: true, yields: true });

recognise({ Procedure });

/** A schema of a tuple of arguments. */
export type ArgsSchema = StandardSchemaV1<readonly unknown[], readonly unknown[]>;

/** Accepts a schema of a tuple. For others, it is the text that the compiler shows. */
export type IfTuple<A> = A extends ArgsSchema | undefined ? unknown
  : "args must be a schema of a tuple (the list of arguments)";

/** The input of a schema, or `unknown` without a schema. */
export type Given<S> = S extends StandardSchemaV1 ? StandardSchemaV1.InferInput<S> : unknown;
/** The output of a schema, or `unknown` without a schema. */
export type Made<S> = S extends StandardSchemaV1 ? StandardSchemaV1.InferOutput<S> : unknown;
/** A list of arguments. */
export type Arguments<T> = T extends readonly unknown[] ? [...T] : unknown[];

/** The type of a procedure with these schemas: callers pass inputs and receive outputs; servers receive outputs and return inputs. */
export type Contract<A, R> = Procedure<
  (...args: Arguments<Given<A>>) => Made<R>,
  (...args: Arguments<Made<A>>) => Given<R> | Promise<Given<R>>
>;

/** The type of a stream with these schemas: callers pass inputs and read outputs; servers receive outputs and yield inputs. */
export type StreamContract<A, Y> = Procedure<
  (...args: Arguments<Given<A>>) => AsyncIterable<Made<Y>>,
  (...args: Arguments<Made<A>>) => AsyncIterable<Given<Y>> | Promise<AsyncIterable<Given<Y>>>
>;

/**
 * Declares a function by its type. One side exposes it, and the other side calls it through a stub. Nothing validates the arguments and
 * the result.
 *
 * @example
 * ```ts ignore
 * const add = procedure<(a: number, b: number) => number>("add");
 * ```
 */
export function procedure<F extends Fn>(name: string): Procedure<F>;
/** Declares a stream by its schemas: the server exposes an async generator, and both sides validate each of its values. */
export function procedure<Y extends StandardSchemaV1, A extends StandardSchemaV1 | undefined = undefined>(
  name: string,
  contract: { args?: A & IfTuple<A>; returns?: undefined; yields: Y },
): StreamContract<A, Y>;
/**
 * Declares a function by its schemas. One side exposes it, and the other side calls it through a stub. Both sides validate the arguments
 * and the result, and infer their types from the schemas.
 *
 * @example
 * ```ts ignore
 * const add = procedure("add", { args: v.tuple([v.number(), v.number()]), returns: v.number() });
 * await bus.expose(add, (a, b) => a + b);
 * const sum = await bus.stub(add)(1, 2); // number
 * ```
 */
export function procedure<
  A extends StandardSchemaV1 | undefined = undefined,
  R extends StandardSchemaV1 | undefined = undefined,
>(
  name: string,
  contract?: { args?: A & IfTuple<A>; returns?: R; yields?: undefined },
): Contract<A, R>;
export function procedure(name: string, contract: Schemas = {}): Procedure {
  return new Procedure(name, contract);
}

/** The raw answer of a server. */
export interface RpcResponse<R = unknown> {
  /** The function's name. */
  readonly fn: string;
  /** The function's result, or the arguments of the error that it threw. */
  readonly result: R;
  /** The name of the result's type in Python, or the name of the error's class. */
  readonly resultType: string;
  /** Whether the function threw. */
  readonly isError: boolean;
}

/** Options of `stub`. They hold for all calls of the stub. A stub is cheap, so a program can make one for each request. */
export interface StubOptions {
  /** Milliseconds for the whole call, at least 1; `Infinity` for no limit. Default: the bus's `timeout`. */
  readonly timeout?: number;
  /** Calls all servers of the function instead of one, and resolves with a `PromiseSettledResult` for each. Default false. */
  readonly multi?: boolean;
  /** Headers of each request. The served function reads them with {@linkcode currentCall}. */
  readonly headers?: MessageHeaders;
  /** A signal that aborts the calls of this stub. They reject with its reason, also if it has aborted before. */
  readonly signal?: AbortSignal;
}

/** The names of the options of `stub`. */
export const STUB = optionNames<StubOptions>({ timeout: true, multi: true, headers: true, signal: true });

/** The awaited result of a function. */
export type Result<F extends Fn> = Awaited<ReturnType<F>>;

/** Options of `stream`. */
export interface StreamOptions {
  /**
   * Milliseconds until the next value, while the reader waits for it: at least 1; `Infinity` for no limit. Default: the bus's `timeout`.
   */
  readonly timeout?: number;
  /** Headers of the request. The served function reads them with {@linkcode currentCall}. */
  readonly headers?: MessageHeaders;
  /** A signal that ends the streams of this function. The next read rejects with its reason. */
  readonly signal?: AbortSignal;
}

/** The names of the options of `stream`. */
export const STREAM = optionNames<StreamOptions>({ timeout: true, headers: true, signal: true });

/** The type of the values of a stream. */
export type Yielded<F extends Fn> = Result<F> extends AsyncIterable<infer T> ? T : unknown;

/** `true` if the result of a function is a stream, such as that of an async generator. */
export type IsStream<F extends Fn> = unknown extends Result<F> ? false
  : [Result<F>] extends [never] ? false
  : Result<F> extends AsyncIterable<unknown> ? true
  : false;

/** Accepts a function that a stub can call. For a stream, it is the text that the compiler shows. */
export type NotStream<F extends Fn> = IsStream<F> extends true ? "its result is a stream: read it with stream()"
  : unknown;

/** Accepts a function whose result is a stream or of an unknown type. For others, it is the text that the compiler shows. */
export type MayStream<F extends Fn> = unknown extends Result<F> ? unknown
  : IsStream<F> extends true ? unknown
  : "its result is not a stream: call it with stub()";

/** Accepts a target of `stub`. For a stream, it is the text that the compiler shows. */
export type StubTarget<T> = T extends Procedure<infer Call, infer _> ? NotStream<Call>
  : T extends Fn ? NotStream<T>
  : string | Class;

/** Accepts a target of `stream`. For a function without a stream, it is the text that the compiler shows. */
export type StreamTarget<T> = T extends Procedure<infer Call, infer _> ? MayStream<Call>
  : T extends Fn ? MayStream<T>
  : string;

/** A function that calls a remote function on one server and iterates over the values that it yields. */
export type StreamStub<F extends Fn = (...args: unknown[]) => AsyncIterable<unknown>> = (
  ...args: Parameters<F>
) => AsyncIterable<Yielded<F>>;

/**
 * A function that calls a remote function on one server.
 *
 * A call rejects with a {@linkcode ValidationError}, whose `part` says whether its `"arguments"` or the server's `"result"` are invalid; with
 * {@linkcode NoSuchRemoteError}, {@linkcode RemoteInvocationError} (the function threw; "invalid": the server refused the arguments),
 * {@linkcode RpcError} "denied", "busy" or "too_large", {@linkcode TimeoutError}, {@linkcode ProviderError} or {@linkcode ClosedError}; or
 * with the reason of its signal.
 */
export type Stub<F extends Fn = (...args: unknown[]) => unknown> = {
  (...args: Parameters<F>): Promise<Result<F>>;
  /** Calls the function and resolves with the raw answer, also if the function threw. */
  rpc(...args: Parameters<F>): Promise<RpcResponse<Result<F>>>;
};

/**
 * A function that calls a remote function on all its servers and resolves with one settled result for each server: an empty list if there is
 * none. A rejected result has one of the errors of {@linkcode Stub}.
 *
 * The call itself rejects with a {@linkcode ValidationError} if its arguments are invalid, with {@linkcode ProviderError} or
 * {@linkcode ClosedError}, or with the reason of its signal.
 */
export type MultiStub<F extends Fn = (...args: unknown[]) => unknown> = {
  (...args: Parameters<F>): Promise<PromiseSettledResult<Result<F>>[]>;
  /** Calls all servers and resolves with the raw answers that arrived, except those whose result does not fit its type. */
  rpc(...args: Parameters<F>): Promise<RpcResponse<Result<F>>[]>;
};

/** The names of the functions of an object that `expose` can serve. */
export type FunctionName<O> = {
  [K in keyof O]: K extends `_${string}` ? never : K extends string ? O[K] extends Fn ? K : never : never;
}[keyof O];

/**
 * The names of the methods of a class that can be served. Arrow fields and getters are not methods. The compiler cannot distinguish an
 * arrow field without parameters from a method, so its name is included, and reading it from a stub throws. It recognises other arrow
 * fields because their parameters are compared in one direction only, and getters because they are readonly.
 */
export type MethodName<C> = {
  [K in FunctionName<C>]: ((...args: never[]) => never) extends C[K]
    ? (<T>() => T extends Pick<C, K> ? 1 : 2) extends (<T>() => T extends { -readonly [P in K]: C[P] } ? 1 : 2) ? K
    : never
    : never;
}[FunctionName<C>];

/** The names of the methods of a class that a stub can call: all except streams. */
export type CallName<C> = {
  [K in MethodName<C>]: C[K] extends Fn ? IsStream<C[K]> extends true ? never : K : never;
}[MethodName<C>];

/** An object with a stub for each method of a class, without its streams. */
export type ObjectStub<C> = { readonly [K in CallName<C>]: C[K] extends Fn ? Stub<C[K]> : never };
/** An object with a multi-stub for each method of a class, without its streams. */
export type MultiObjectStub<C> = { readonly [K in CallName<C>]: C[K] extends Fn ? MultiStub<C[K]> : never };
