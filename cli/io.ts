/**
 * Lines of JSON in and out. Values are read and written as the wire has them, so what one command prints another reads,
 * dates and big integers too.
 *
 * @module
 */
import process from "node:process";
import { createInterface } from "node:readline";
import { Codec } from "../src/codec.ts";
import { ValidationError } from "../src/errors.ts";

const codec = new Codec();

/** The JSON of a value. */
export function toJson(value: unknown): string {
  return codec.write(value);
}

/** The JSON of an object whose fields are JSON already. */
export function line(fields: Readonly<Record<string, string | undefined>>): string {
  const given = Object.entries(fields).filter(([, json]) => json !== undefined);
  return `{${given.map(([name, json]) => `${JSON.stringify(name)}:${json}`).join(",")}}`;
}

/**
 * The value of a text.
 *
 * @throws {ValidationError} when it is no JSON
 */
export async function fromJson(text: string): Promise<unknown> {
  try {
    return (await codec.decode(text)).value;
  } catch (cause) {
    const hint = /^[\w .-]+$/.test(text) ? `; for a text, give --text, or '${JSON.stringify(text)}'` : "";
    throw new ValidationError(`Cannot read ${JSON.stringify(text)} as JSON${hint}`, [], { cause });
  }
}

/** The values that were given: each argument is one, or each line of standard input if there are none (or one `-`). */
export async function* values(args: readonly string[], text: boolean): AsyncGenerator<unknown> {
  const given = args.length === 0 || (args.length === 1 && args[0] === "-") ? lines() : args;
  for await (const one of given) yield text ? one : await fromJson(one);
}

/** The lines of standard input that are not empty. */
export async function* lines(): AsyncGenerator<string> {
  for await (const one of createInterface({ input: process.stdin })) if (one.trim()) yield one;
}

/** Prints a line; resolves when it is out. Rejects when nobody reads any more, as in `tsmq sub … | head -1`. */
export function print(text: string): Promise<void> {
  return new Promise((resolve, reject) => {
    process.stdout.write(`${text}\n`, (error) => error ? reject(error) : resolve());
  });
}

/** True when nobody reads what we print. */
export function isUnread(error: unknown): boolean {
  return (error as { code?: unknown } | null)?.code === "EPIPE";
}
