/**
 * Reads and writes lines of JSON. Tags keep types that JSON lacks, such as dates and big integers, so one command reads what another
 * prints.
 *
 * @module
 */
import process from "node:process";
import { Codec } from "../src/codec/codec.ts";
import { ValidationError } from "../src/errors.ts";
import { printable } from "../src/internal/printable.ts";
import { textOf } from "../src/internal/thrown.ts";
import { clearBar } from "./progress.ts";
import { shorten } from "./table.ts";
import { withoutUser } from "./urls.ts";

const codec = new Codec();

/** Returns the JSON of a value. */
export function toJson(value: unknown): string {
  return codec.line(value);
}

/** Returns the JSON of an object whose fields are JSON already. */
export function line(fields: Readonly<Record<string, string | undefined>>): string {
  const given = Object.entries(fields).filter(([, json]) => json !== undefined);
  return `{${given.map(([name, json]) => `${JSON.stringify(name)}:${json}`).join(",")}}`;
}

/**
 * Parses a value from JSON.
 *
 * @throws {ValidationError} when the text is not JSON
 */
export async function fromJson(text: string): Promise<unknown> {
  try {
    return (await codec.decode(text)).value;
  } catch (cause) {
    const hint = /^[\w .-]+$/.test(text) ? `; for a string, use --text or '${JSON.stringify(text)}'` : "";
    throw new ValidationError(`Cannot read ${withoutUser(JSON.stringify(text))} as JSON${hint}`, [], { cause });
  }
}

/** Yields the value of each argument or, without arguments (or with a single `-`), of each line of standard input. */
export async function* values(args: readonly string[], text: boolean, signal: AbortSignal): AsyncGenerator<unknown> {
  const given = args.length === 0 || (args.length === 1 && args[0] === "-") ? lines(signal) : args;
  for await (const one of given) yield text ? one : await fromJson(one);
}

/** Yields the lines of standard input that are not empty, until the signal aborts. */
export async function* lines(signal: AbortSignal): AsyncGenerator<string> {
  const input: AsyncIterable<string> = process.stdin.setEncoding("utf8");
  const chunks = ReadableStream.from(input).getReader();
  signal.addEventListener("abort", () => void chunks.cancel().catch(() => {}));
  // readline would also split at U+2028, which JSON does not escape
  let begun = "";
  for (let next; !(next = await chunks.read()).done;) {
    begun += next.value;
    if (!next.value.includes("\n")) continue;
    const whole = begun.split(/\r?\n/);
    begun = whole.pop()!;
    for (const one of whole) if (one.trim()) yield one;
  }
  if (begun.trim() && !signal.aborted) yield begun;
}

/** Resolves when the signal aborts. */
export function aborted(signal: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    if (signal.aborted) resolve();
    else signal.addEventListener("abort", () => resolve(), { once: true });
  });
}

/**
 * Prints one line, with its unsafe characters escaped, and resolves when it is written. Rejects when the reader has closed the pipe, see
 * {@linkcode whileRead}.
 */
export function print(text: string): Promise<void> {
  return printRaw(`${printable(text)}\n`);
}

/** Prints a text as it is, like {@linkcode print}. It must contain nothing from the wire. */
export function printRaw(text: string): Promise<void> {
  clearBar();
  return new Promise((resolve, reject) => {
    process.stdout.write(text, (error) => error ? reject(error) : resolve());
  });
}

/** The largest number of characters of a message. A name or an error from the wire may have megabytes. */
const MAX_MESSAGE = 2_000;

/** Returns the message of an error as one line, with its unsafe characters escaped. */
export function messageOf(error: unknown): string {
  const text = textOf(error).slice(0, MAX_MESSAGE * 2).split("\n").map((part) => part.trim()).join(" ");
  return shorten(printable(text), MAX_MESSAGE);
}

/** Runs work that prints, and ends it without an error when the reader closes the pipe, as in `tsmq sub … | head -1`. */
export async function whileRead(work: () => Promise<void>): Promise<void> {
  try {
    await work();
  } catch (error) {
    if ((error as { code?: unknown } | null)?.code !== "EPIPE") throw error;
  }
}
