/** The part of `@std/testing/bdd` that our tests use, over `node:test`, which both runtimes have. */
import * as test from "node:test";

/** A test or a hook. */
export type Body = () => unknown | Promise<unknown>;

/** Registers a test. */
export interface It {
  (name: string, fn: Body): void;
  /** Runs only the tests marked so. */
  only(name: string, fn: Body): void;
  /** Registers the test as skipped. Prefer `skip` of `tests/support/skip.ts`, which needs a reason. */
  skip(name: string, fn?: Body): void;
  /** The same as `skip`. */
  ignore(name: string, fn?: Body): void;
}

/** Registers a group of tests. */
export interface Describe {
  (name: string, fn: () => void): void;
  /** Runs only the groups marked so. */
  only(name: string, fn: () => void): void;
  /** Does not run it. */
  skip(name: string, fn?: () => void): void;
  /** The same as `skip`. */
  ignore(name: string, fn?: () => void): void;
}

const nothing = () => {};

/** Registers a test. */
export const it: It = Object.assign((name: string, fn: Body): void => void test.it(name, run(fn)), {
  only: (name: string, fn: Body): void => void test.it.only(name, run(fn)),
  skip: (name: string, fn?: Body): void => void test.it.skip(name, fn ? run(fn) : nothing),
  ignore: (name: string, fn?: Body): void => void test.it.skip(name, fn ? run(fn) : nothing),
});

/** Registers a group of tests. */
export const describe: Describe = Object.assign((name: string, fn: () => void): void => void test.describe(name, fn), {
  only: (name: string, fn: () => void): void => void test.describe.only(name, fn),
  skip: (name: string, fn: () => void = nothing): void => void test.describe.skip(name, fn),
  ignore: (name: string, fn: () => void = nothing): void => void test.describe.skip(name, fn),
});

/** Runs before the first test of the group. */
export const beforeAll = (fn: Body): void => test.before(run(fn));
/** Runs after the last test of the group. */
export const afterAll = (fn: Body): void => test.after(run(fn));
/** Runs before each test of the group and of the groups in it. */
export const beforeEach = (fn: Body): void => test.beforeEach(run(fn));
/** Runs after each test of the group and of the groups in it. */
export const afterEach = (fn: Body): void => test.afterEach(run(fn));

/** Hides the context of node:test, which @std/testing does not have. */
function run(fn: Body): () => Promise<void> {
  return async () => void await fn();
}
