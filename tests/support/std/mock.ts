/** The part of `@std/testing/mock` that our tests use. */
import { assertEquals } from "./assert.ts";

/** One call of a spy. */
export interface SpyCall<Args extends unknown[] = unknown[], Return = unknown> {
  args: Args;
  returned?: Return;
  error?: unknown;
}

/** A function that records its calls. */
export interface Spy<Args extends unknown[] = unknown[], Return = unknown> {
  (...args: Args): Return;
  readonly calls: SpyCall<Args, Return>[];
}

/** A method that was replaced until it is disposed of. */
export interface Stub<Args extends unknown[] = unknown[], Return = unknown> extends Spy<Args, Return>, Disposable {
  /** Puts the original method back. */
  restore(): void;
}

/** Wraps a function and records its calls. */
export function spy<Args extends unknown[] = unknown[], Return = undefined>(
  fn: (...args: Args) => Return = () => undefined as Return,
): Spy<Args, Return> {
  const calls: SpyCall<Args, Return>[] = [];
  return Object.assign(function (this: unknown, ...args: Args): Return {
    const call: SpyCall<Args, Return> = { args };
    calls.push(call);
    try {
      return call.returned = fn.apply(this, args);
    } catch (error) {
      call.error = error;
      throw error;
    }
  }, { calls });
}

/** Replaces a method of an object by `fn` and records its calls. */
export function stub<Name extends PropertyKey, Args extends unknown[], Return>(
  target: { [name in Name]: (...args: Args) => Return },
  name: Name,
  fn: (...args: Args) => Return,
): Stub<Args, Return> {
  const own = Object.getOwnPropertyDescriptor(target, name);
  const spied = spy(fn);
  Object.defineProperty(target, name, { value: spied, configurable: true, writable: true });
  const restore = (): void => {
    if (own) Object.defineProperty(target, name, own);
    else Reflect.deleteProperty(target, name);
  };
  return Object.assign(spied, { restore, [Symbol.dispose]: restore });
}

/** Asserts how often a spy was called. */
export function assertSpyCalls(spy: Pick<Spy, "calls">, count: number): void {
  assertEquals(spy.calls.length, count, "calls of the spy");
}

/** Asserts the properties of the spy's call at `index` that `expected` names. */
export function assertSpyCall(spy: Pick<Spy, "calls">, index: number, expected: Partial<SpyCall> = {}): void {
  const call = spy.calls[index];
  assertEquals(call !== undefined, true, `the spy was called ${spy.calls.length} times, not ${index + 1}`);
  for (const [key, value] of Object.entries(expected)) assertEquals(call?.[key as keyof SpyCall], value);
}
