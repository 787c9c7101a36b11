/**
 * Describes where and when a bus is opened, for lists of the buses of a namespace.
 *
 * @module
 */
import { builtin } from "./builtin.ts";

/** The program and machine that opened a bus, and the time. */
export interface BusOrigin {
  /** The name of the program: the file of its main module. */
  readonly process?: string;
  /** The name or the address of the machine. */
  readonly host?: string;
  /** The id of the process. */
  readonly pid?: number;
  /** The time when the bus was opened, in milliseconds of `Date.now()`. */
  readonly since?: number;
}

/** The globals of the runtimes that this module reads. */
interface Runtimes {
  readonly Deno?: {
    readonly mainModule: string;
    readonly pid: number;
    hostname(): string;
    readonly permissions: { querySync(permission: { name: "sys"; kind: "hostname" }): { readonly state: string } };
  };
  readonly Bun?: { readonly main: string };
  readonly process?: { readonly pid: number };
}

/**
 * Describes a bus that is opened now, on the main thread of a program. It needs no permission. On Deno it does not touch the global
 * `process`, whose first use takes 10 ms.
 */
export function originOfBus(): BusOrigin {
  const { Deno, Bun } = globalThis as unknown as Runtimes;
  const main = (Deno ? Deno.mainModule : Bun?.main) ?? "";
  return {
    process: /([^/\\]+)[/\\]?$/.exec(main)?.[1],
    host: Deno ? hostOf(Deno) : builtin<{ hostname(): string }>("os")?.hostname(),
    pid: Deno ? Deno.pid : (globalThis as unknown as Runtimes).process?.pid,
    since: Date.now(),
  };
}

/** Returns the name of the machine. Without the permission, Deno would ask the user for it. */
function hostOf(deno: NonNullable<Runtimes["Deno"]>): string | undefined {
  const { state } = deno.permissions.querySync({ name: "sys", kind: "hostname" });
  return state === "granted" ? deno.hostname() : undefined;
}
