/**
 * Reports on the console. Their text may come from the wire, so it is escaped, and it is never a format string.
 *
 * @module
 */
import { builtin } from "./builtin.ts";
import { cut, printable, printableLines } from "./printable.ts";
import { ReportLimit } from "./report_limit.ts";
import { isA, textOf } from "./thrown.ts";

/**
 * The largest number of reports in a window. The limit of a bus for rejected messages is lower, so that its report of how many it left out
 * is written too.
 */
const MOST = 300;

/** The largest number of objects in which messages of several lines are searched. Beyond it, the whole report is one line. */
const MOST_PARTS = 1_000;
/** The largest number of characters of such messages. Beyond it, the whole report is one line. */
const LONGEST_MESSAGES = 16_384;
/** The largest number of their lines. The time to find them grows with its square. Beyond it, the whole report is one line. */
const MOST_LINES = 1_000;

const limit = new ReportLimit(MOST, (count) => console.error("tsmq: %d more reports were left out", count));

/** Writes a thrown value to the console, with its stack if it can be formatted. Beyond the limit of a window, it only counts reports. */
export function complain(text: string, thrown: unknown): void {
  if (limit.pass()) console.error("tsmq: %s %s", cut(printable(text)), cut(shown(thrown)));
}

/**
 * Returns the escaped text of a thrown value. The console must not format the value itself, because the value can give a different text
 * each time.
 */
function shown(thrown: unknown): string {
  if (typeof thrown === "string") return printable(thrown);
  try {
    const text = builtin<{ inspect(value: unknown): string }>("util")!.inspect(thrown);
    const seen = new Set<unknown>();
    const messages = new Set(messagesOf(thrown, seen));
    const all = [...messages].join();
    const readable = seen.size <= MOST_PARTS && all.length <= LONGEST_MESSAGES && all.split("\n").length <= MOST_LINES;
    return printableLines(readable ? inLines(text, messages) : printable(text));
  } catch {
    return printable(textOf(thrown)); // formatting the value threw
  }
}

/** Returns the messages, names and received stacks of several lines of all errors in a value. Elsewhere, `inspect` quotes text. */
function messagesOf(value: unknown, seen: Set<unknown>): string[] {
  if (typeof value !== "object" || value === null || seen.has(value) || seen.size > MOST_PARTS) return [];
  seen.add(value);
  // an engine does not make a stack enumerable, but the reviver does: such a stack comes from the wire
  const { value: stack, enumerable } = Object.getOwnPropertyDescriptor(value, "stack") ?? {};
  const own = isA(value, Error) ? [value.message, value.name, enumerable && stack] : [];
  const parts = [
    ...Reflect.ownKeys(value).map((key) => Object.getOwnPropertyDescriptor(value, key)?.value),
    ...isA(value, Map) ? [...value].flat() : isA(value, Set) ? value : [],
  ];
  return [
    ...own.filter((text) => typeof text === "string" && text.includes("\n")),
    ...parts.flatMap((part) => messagesOf(part, seen)),
  ];
}

/** Returns a text in which each of these messages, which may be indented there, is one line. If one is not found, all is one line. */
function inLines(text: string, messages: Iterable<string>): string {
  let result = text;
  for (const message of [...messages].sort((a, b) => b.length - a.length)) {
    const lines = message.split("\n").map((line) => line.replaceAll(/[\\^$.*+?()[\]{}|]/g, "\\$&"));
    // Deno's stacks have another character in place of a lone surrogate
    const pattern = lines.join("\n *").replaceAll(/\p{Cs}/gu, ".");
    let found = false;
    result = result.replaceAll(new RegExp(pattern, "g"), () => {
      found = true;
      return printable(message);
    });
    if (!found) return printable(text);
  }
  return result;
}

/** Writes a warning to the console. */
export function warn(text: string): void {
  console.warn("tsmq: %s", cut(printable(text)));
}

const warned = new Set<string>();

/** Writes the first warning of each kind to the console. */
export function warnOnce(kind: string, text: string): void {
  if (warned.has(kind)) return;
  warned.add(kind);
  warn(text);
}

/** Calls a function of the user that should not fail. If it throws or rejects, the error is written to the console. */
export function guard(what: string, work: () => unknown): void {
  const failed = (thrown: unknown) => complain(`${what} threw:`, thrown);
  try {
    const result = work();
    if (result instanceof Promise) result.catch(failed);
  } catch (thrown) {
    failed(thrown);
  }
}
