/**
 * Verbs that wrap a function or decorate a method.
 *
 * @module
 */
import { checkFunction } from "../internal/arguments.ts";
import type { Fn } from "../rpc/procedure.ts";

/** A wrapper of a function that is also a TC39 decorator of a method. */
export type Wrapper = <F extends Fn>(fn: F, context?: ClassMethodDecoratorContext) => F;

/** Returns a decorator context that immediately runs initialisers on an existing instance. */
export function decorating(self: unknown, method?: string): ClassMethodDecoratorContext | undefined {
  if (method === undefined) return undefined;
  const context = { name: method, addInitializer: (initialize: (this: unknown) => void) => initialize.call(self) };
  return context as ClassMethodDecoratorContext;
}

/** Returns a function for both uses: users call it with a function; as a decorator, it is called with a method and its context. */
export function wrapper(apply: (fn: Fn, self?: unknown, method?: string) => unknown): Wrapper {
  return (fn, context) => {
    if (context === undefined) {
      apply(checkFunction("a function to wrap", fn));
      return fn;
    }
    const method = String(context.name);
    context.addInitializer(function (this: unknown) {
      apply((fn as Fn).bind(this as never) as Fn, this, method);
    });
    return fn;
  };
}
