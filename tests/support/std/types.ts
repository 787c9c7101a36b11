/** The part of `@std/testing/types` that our tests use. */

/** Fails to compile unless the type argument is what is passed: `assertType<IsExact<A, B>>(true)`. */
export function assertType<T extends boolean>(_expected: T): void {}

/** `true` if both types are the same, `any`, `unknown` and `never` told apart. */
export type IsExact<A, B> = (<T>() => T extends A ? 1 : 2) extends (<T>() => T extends B ? 1 : 2) ? true : false;

/** `true` if `T` has (is assignable to) `U`. */
export type Has<T, U> = [T] extends [U] ? true : false;

/** Fails to compile unless `T` is `true`. */
export type AssertTrue<T extends true> = T;

/** Fails to compile unless `T` is `false`. */
export type AssertFalse<T extends false> = T;
