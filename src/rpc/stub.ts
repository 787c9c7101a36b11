/**
 * Stubs: functions that call remote functions, and objects of such functions for a class.
 *
 * @module
 */
import { checkHeaders } from "../codec/headers.ts";
import { BusError, ValidationError } from "../errors.ts";
import { checkName, refuseUnknown } from "../internal/arguments.ts";
import type { Caller, CallOptions } from "./caller.ts";
import { className, isClass, methodsOf } from "./methods.ts";
import { Procedure, type RpcResponse, STREAM, type StreamOptions, STUB, type StubOptions } from "./procedure.ts";
import type { Answer } from "./wire.ts";

/** The parts of a bus that a stub uses. */
interface Calling {
  readonly caller: Caller;
  /** The timeout of a call in milliseconds, unless the stub has its own. */
  readonly timeout: number;
}

/** Creates the stub of a name, a function or a procedure, or the object of stubs of a class. */
export function stubFor({ caller, timeout }: Calling, target: unknown, given: StubOptions): unknown {
  const check = refuseUnknown(given, STUB, "create a stub", " of", target);
  const options = { ...given, timeout: check.number("timeout", given.timeout ?? timeout, 1) };
  check.signal(options.signal);
  if (isClass(target)) {
    const name = className(target);
    claim(caller, `class "${name}"`, target, "give each class a static topic");
    const prototype = target.prototype as object;
    const [streams, calls] = [new Set<string>(), new Map<string, unknown>()];
    for (const method of methodsOf(prototype)) {
      if (isGenerator(prototype, method)) streams.add(method);
      else calls.set(method, stub(caller, `${name}.${method}`, options));
    }
    return methodsOnly(name, Object.fromEntries(calls), streams);
  }
  if (target instanceof Procedure) return stub(caller, target.name, options, target);
  if (typeof target !== "function") return stub(caller, target, options);
  if (!target.name) {
    throw new ValidationError('Cannot create a stub of a function that has no name: pass one, as in stub("add")');
  }
  const made = stub(caller, target.name, options);
  claim(caller, `function "${target.name}"`, target, "pass a name or a procedure instead");
  return made;
}

/** The class of async generator functions. */
const AsyncGenerator = (async function* () {}).constructor as new () => unknown;

/** Returns whether a method in a prototype chain is an async generator. It calls no accessors. */
function isGenerator(prototype: object, method: string): boolean {
  for (let link: object | null = prototype; link; link = Object.getPrototypeOf(link)) {
    const own = Object.getOwnPropertyDescriptor(link, method);
    if (own) return own.value instanceof AsyncGenerator;
  }
  return false;
}

/** Creates the function that reads the stream of a name, a function or a procedure. */
export function streamFor({ caller, ...bus }: Calling, target: unknown, options: StreamOptions): unknown {
  const check = refuseUnknown(options, STREAM, "read a stream", " of", target);
  const timeout = check.number("timeout", options.timeout ?? bus.timeout, 1);
  const signal = check.signal(options.signal);
  const headers = checkHeaders(options.headers, "arguments");
  if (isClass(target)) {
    const { name } = target;
    throw new ValidationError(`Cannot read class ${name} as a stream: name the method, as in "${name}.method"`);
  }
  const procedure = target instanceof Procedure ? target : undefined;
  const name = checkName("a function", typeof target === "function" ? target.name : procedure?.name ?? target);
  if (typeof target === "function") claim(caller, `function "${name}"`, target, "pass a name or a procedure instead");
  return (...args: unknown[]) => caller.stream(name, args, { timeout, signal, headers, procedure });
}

/** The functions and classes that have stubs, by kind and name, for each bus. */
const claimed = new WeakMap<Caller, Map<string, object>>();

/**
 * Throws if another function or class with this name has stubs, because both would call the same remote functions. A minifier can give
 * several functions the same name. Functions with the same source count as one function.
 */
function claim(caller: Caller, what: string, target: object, remedy: string): void {
  const targets = claimed.get(caller) ?? new Map<string, object>();
  claimed.set(caller, targets);
  const known = targets.get(what) ?? target;
  if (known !== target && String(known) !== String(target)) {
    throw new ValidationError(`Cannot create a stub of ${what}: another one has the same name; ${remedy}`);
  }
  targets.set(what, known);
}

/** Creates the object with the stubs of a class. Reading a member that is a stream, or that is not a method of the class, throws. */
function methodsOnly(
  name: string,
  stubs: Readonly<Record<string, unknown>>,
  streams: ReadonlySet<string>,
): unknown {
  return new Proxy(stubs, {
    get: (stubs, key) => {
      if (typeof key === "symbol" || key === "then" || key in stubs) return Reflect.get(stubs, key);
      if (streams.has(key)) {
        throw new ValidationError(`Cannot call "${name}.${key}": it is a stream; use stream("${name}.${key}")`);
      }
      throw new ValidationError(
        `Cannot call "${name}.${key}": it is not a method; arrow fields and accessors are not served`,
      );
    },
  });
}

function stub(
  caller: Caller,
  target: unknown,
  options: StubOptions & { timeout: number },
  procedure?: Procedure,
): unknown {
  const name = checkName("a function", target);
  const { timeout, signal, multi } = options;
  const call: CallOptions = { timeout, signal, procedure, headers: checkHeaders(options.headers, "arguments") };
  if (!multi) {
    const single = (...args: unknown[]): Promise<unknown> =>
      caller.observe(name, call, async (call) => caller.unwrap(await caller.single(name, args, call), procedure));
    const rpc = (...args: unknown[]): Promise<RpcResponse> =>
      caller.observe(name, call, async (call) => caller.response(await caller.single(name, args, call)));
    return Object.assign(single, { rpc });
  }
  const result = async (answer: Answer | BusError) => {
    if (answer instanceof BusError) throw answer;
    return await caller.unwrap(answer, procedure);
  };
  const every = (args: unknown[]) => caller.observe(name, call, (call) => caller.multi(name, args, call));
  const all = async (...args: unknown[]): Promise<PromiseSettledResult<unknown>[]> =>
    Promise.allSettled((await every(args)).map(result));
  const rpc = async (...args: unknown[]): Promise<RpcResponse[]> => {
    const answers = (await every(args)).filter((answer) => !(answer instanceof BusError)) as Answer[];
    const responses = await Promise.allSettled(answers.map((answer) => caller.response(answer)));
    return responses.flatMap((response) => response.status === "fulfilled" ? response.value : []);
  };
  return Object.assign(all, { rpc });
}
