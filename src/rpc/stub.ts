/**
 * What callers call: one stub for a function, or an object of stubs for a class.
 *
 * @module
 */
import { BusError, ValidationError } from "../errors.ts";
import { checkName, checkNumber, checkSignal } from "../internal/arguments.ts";
import type { Caller, CallOptions } from "./caller.ts";
import { type Class, className, isClass, methodsOf } from "./methods.ts";
import { Procedure, type RpcResponse, type StubOptions } from "./procedure.ts";
import type { Answer } from "./wire.ts";

/** Makes the stub, or the object of stubs, that a target stands for. */
export function stubFor(caller: Caller, target: unknown, options: StubOptions & { timeout: number }): unknown {
  checkNumber("a timeout", options.timeout);
  checkSignal(options.signal);
  if (isClass(target)) {
    const name = className(target);
    claim(caller, name, target);
    const methods = methodsOf(target.prototype as object);
    return refusing(
      name,
      Object.fromEntries(methods.map((method) => [method, stub(caller, `${name}.${method}`, options)])),
    );
  }
  if (target instanceof Procedure) return stub(caller, target.name, options, target);
  return stub(caller, typeof target === "function" ? target.name : target, options);
}

/** The classes that have stubs, for each bus by their names. */
const claimed = new WeakMap<Caller, Map<string, Class>>();

/** Throws if another class has stubs under the name: calls of both would reach the same functions. */
function claim(caller: Caller, name: string, type: Class): void {
  const classes = claimed.get(caller) ?? new Map<string, Class>();
  claimed.set(caller, classes);
  const known = classes.get(name) ?? type;
  if (known !== type) {
    throw new ValidationError(
      `Cannot make a stub of class "${name}": another class has that name; give each a static topic`,
    );
  }
  classes.set(name, type);
}

/** Stubs that throw where a member is read which the class does not have as a method. */
function refusing(name: string, stubs: Readonly<Record<string, unknown>>): unknown {
  return new Proxy(stubs, {
    get: (stubs, key) => {
      if (typeof key === "symbol" || key === "then" || key in stubs) return Reflect.get(stubs, key);
      throw new ValidationError(
        `Cannot call "${name}.${key}": it is no method; an arrow field or accessor is not served`,
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
  const call: CallOptions = { timeout, signal, procedure };
  if (!multi) {
    const single = (...args: unknown[]): Promise<unknown> =>
      caller.observe(name, call, async (call) => caller.unwrap(await caller.single(name, args, call), procedure));
    const rpc = (...args: unknown[]): Promise<RpcResponse> =>
      caller.observe(name, call, async (call) => caller.response(await caller.single(name, args, call)));
    return Object.assign(single, { rpc });
  }
  const result = (answer: Answer | BusError) =>
    answer instanceof BusError ? Promise.reject(answer) : caller.unwrap(answer, procedure);
  const every = (args: unknown[]) => caller.observe(name, call, (call) => caller.multi(name, args, call));
  const all = async (...args: unknown[]): Promise<PromiseSettledResult<unknown>[]> =>
    Promise.allSettled((await every(args)).map(result));
  const rpc = async (...args: unknown[]): Promise<RpcResponse[]> => {
    const answers = await every(args);
    return Promise.all(
      answers.filter((answer) => !(answer instanceof BusError)).map((a) => caller.response(a as Answer)),
    );
  };
  return Object.assign(all, { rpc });
}
