/**
 * The assertions of the kit, which must not depend on a test framework.
 *
 * @module
 */
import { BusError, type ErrorCode } from "../errors.ts";
import { printable } from "../internal/printable.ts";

/** An assertion of the kit that did not hold. */
export class ConformanceError extends Error {
  /** The name of the class, also after minifying. */
  override name = "ConformanceError";
}

/** Fails unless the condition holds. */
export function ok(condition: boolean, what: string): asserts condition {
  if (!condition) throw new ConformanceError(what);
}

/** Fails unless both values are equal. It also compares prototypes, dates, maps, sets, bytes, -0, NaN and missing keys. */
export function equal<T>(actual: T, expected: NoInfer<T>, what = "the value"): void {
  const path = difference(actual, expected, "");
  if (path === undefined) return;
  const index = Array.isArray(actual) ? /^\.(\d+)$/.exec(path)?.[1] : undefined;
  const there = index === undefined ? "" : `: ${show((actual as unknown[]).slice(Number(index), Number(index) + 20))}`;
  const where = path === "" ? "" : ` (they differ at ${printable(path)}${there})`;
  throw new ConformanceError(`${what} is ${show(actual)}, but should be ${show(expected)}${where}`);
}

/** Waits until an action rejects or throws, and returns its error. Fails if there is no error, or an error of another class or code. */
export async function rejects<E extends Error>(
  action: (() => unknown) | Promise<unknown>,
  type: abstract new (...args: never[]) => E,
  code?: ErrorCode,
  what = "the call",
): Promise<E> {
  const outcome = await settle(action);
  const wanted = code === undefined ? type.name : `${type.name} "${code}"`;
  if (!("error" in outcome)) {
    throw new ConformanceError(`${what} should fail with ${wanted}, but gave ${show(outcome.value)}`);
  }
  const { error } = outcome;
  if (error instanceof type && (code === undefined || (error instanceof BusError && error.code === code))) return error;
  throw new ConformanceError(`${what} should fail with ${wanted}, but failed with ${show(error)}`, { cause: error });
}

/** Fails unless the action rejects with (or throws) exactly this value, such as a signal's reason. */
export async function rejectsWith(action: (() => unknown) | Promise<unknown>, reason: unknown): Promise<void> {
  const outcome = await settle(action);
  ok(
    "error" in outcome && outcome.error === reason,
    `the call should reject with the signal's own reason, but ${
      "error" in outcome ? `failed with ${show(outcome.error)}` : `gave ${show(outcome.value)}`
    }`,
  );
}

/** Checks each entry of a table, and fails with a list of all failed entries. */
export async function each<T>(
  table: Readonly<Record<string, T>>,
  check: (value: T, what: string) => unknown,
): Promise<void> {
  const failures: string[] = [];
  for (const [what, value] of Object.entries(table)) {
    const outcome = await settle(() => check(value, what));
    if ("error" in outcome) {
      failures.push(outcome.error instanceof ConformanceError ? outcome.error.message : show(outcome.error));
    }
  }
  if (failures.length > 0) throw new ConformanceError(failures.join("\n"));
}

async function settle(action: (() => unknown) | Promise<unknown>): Promise<{ value: unknown } | { error: unknown }> {
  try {
    return { value: await (typeof action === "function" ? action() : action) };
  } catch (error) {
    return { error };
  }
}

/** Returns the path to the first difference, or undefined if the values are equal. */
function difference(a: unknown, b: unknown, path: string): string | undefined {
  if (Object.is(a, b)) return undefined;
  if (typeof a !== "object" || typeof b !== "object" || a === null || b === null) return path;
  if (Object.getPrototypeOf(a) !== Object.getPrototypeOf(b)) return path;
  if (a instanceof Date) return Object.is(a.getTime(), (b as Date).getTime()) ? undefined : path;
  if (a instanceof Map) return difference([...a], [...b as Map<unknown, unknown>], path);
  if (a instanceof Set) return sameMembers(a, b as Set<unknown>) ? undefined : path;
  const keys = Object.keys(a);
  if (keys.length !== Object.keys(b).length) return path;
  if (Array.isArray(a) && a.length !== (b as unknown[]).length) return path;
  for (const key of keys) {
    if (!Object.hasOwn(b, key)) return `${path}.${key}`;
    const found = difference(a[key as keyof typeof a], b[key as keyof typeof b], `${path}.${key}`);
    if (found !== undefined) return found;
  }
  return undefined;
}

function sameMembers(a: Set<unknown>, b: Set<unknown>): boolean {
  const rest = [...b].filter((member) => !a.has(member));
  const others = [...a].filter((member) => !b.has(member));
  return rest.length === others.length &&
    others.every((member) => rest.some((other) => difference(member, other, "") === undefined));
}

/** The largest number of characters that a message quotes of a value. */
const QUOTED = 300;

/** Returns the text by which a message quotes a value. It may come from the wire, so its unsafe characters are escaped. */
export function show(value: unknown): string {
  const text = printable(write(value, 0));
  return text.length > QUOTED ? `${text.slice(0, QUOTED)}… (${text.length} characters)` : text;
}

function write(value: unknown, depth: number): string {
  if (typeof value === "string") return JSON.stringify(value);
  if (typeof value === "bigint") return `${value}n`;
  if (Object.is(value, -0)) return "-0";
  if (typeof value === "function") return `function ${value.name}`;
  if (typeof value !== "object" || value === null) return String(value);
  if (value instanceof BusError) return `${value.name} "${value.code}": ${value.message}`;
  if (value instanceof Error) return `${value.name}: ${value.message}`;
  if (value instanceof Date) return `Date(${value.getTime()})`;
  if (depth > 3) return "…";
  const inside = (values: Iterable<unknown>) => [...values].slice(0, 50).map((v) => write(v, depth + 1)).join(", ");
  if (Array.isArray(value)) return `[${inside(value)}]`;
  const name = value.constructor?.name ?? "null";
  if (value instanceof Map || value instanceof Set || value instanceof Uint8Array) return `${name}(${inside(value)})`;
  const fields = Object.entries(value).map(([key, field]) => `${key}: ${write(field, depth + 1)}`).join(", ");
  return `${name === "Object" ? "" : name}{ ${fields} }`;
}

/** Returns the numbers from 0 to `count` - 1. */
export function range(count: number): number[] {
  return Array.from({ length: count }, (_, i) => i);
}
