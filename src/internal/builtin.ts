/**
 * Modules of the platform that are loaded at their first use, which must be rare: on Deno, the first use of the global `process` takes 10 ms.
 * An import would load them at the start of each program.
 *
 * @module
 */

/** Loads a module of the runtime, such as `fs` or `node:sqlite`. Returns undefined if the runtime does not have it. */
export function builtin<M extends object>(name: string): M | undefined {
  const { process } = globalThis as unknown as { process: { getBuiltinModule(id: string): unknown } };
  return process.getBuiltinModule(name) as M | undefined;
}
