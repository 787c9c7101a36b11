/**
 * Verbs that wrap a function or decorate a method.
 *
 * @module
 */
import { checkFunction } from "./names.ts";
import type { Fn } from "./rpc/procedure.ts";

/** A TC39 decorator of a method that is also a wrapper of a function. */
export type Wrapper = <F extends Fn>(fn: F, context?: ClassMethodDecoratorContext) => F;

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

/** The name that a wrapped function or a decorated method is served under, unless another one is given. */
export function remoteName(fn: Fn, self?: unknown, method?: string): string {
  if (method === undefined) return fn.name;
  const type = typeof self === "function" ? self : (self as object).constructor; // a static method's is its class itself
  return `${type.name}.${method}`;
}
