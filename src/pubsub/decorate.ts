/**
 * Verbs that wrap a function or decorate a method.
 *
 * @module
 */
import { checkFunction } from "../internal/arguments.ts";
import type { Fn } from "../rpc/procedure.ts";

/** A TC39 decorator of a method that is also a wrapper of a function. */
export type Wrapper = <F extends Fn>(fn: F, context?: ClassMethodDecoratorContext) => F;

/** The context of a method of an instance that is there already, and whose function is bound to it. */
export function decorating(self: unknown, method?: string): ClassMethodDecoratorContext | undefined {
  if (method === undefined) return undefined;
  const context = { name: method, addInitializer: (initialize: (this: unknown) => void) => initialize.call(self) };
  return context as ClassMethodDecoratorContext;
}

/** One function for both uses: called with a function, or by the language with a method and its context. */
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
