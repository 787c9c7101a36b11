/**
 * Reports on the console. Their text may come from the wire, so it is escaped, and it is never a format string.
 *
 * @module
 */
import { builtin } from "./builtin.ts";
import { cut, printable, printableLines } from "./printable.ts";
import { ReportLimit } from "./report_limit.ts";
import { isA, stackOf, textOf } from "./thrown.ts";

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
const MOST_LINES = 200;
/** The largest number of characters of a formatted value in which they are searched. Beyond it, the whole report is one line. */
const LONGEST_TEXT = 65_536;
/** The largest number of elements of a list in which they are searched. With a longer one, the whole report is one line. */
const MOST_ELEMENTS = 1_000;
/** The number of elements of a list that `inspect` shows. */
const SHOWN = 100;
/**
 * The largest number of values in a value that is formatted: `inspect` formats all fields of an object, and a report shows the characters of
 * about as many.
 */
const MOST_VALUES = 2_000;

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
  if (typeof thrown === "string") return printable(cut(thrown));
  try {
    const found = new Messages(thrown);
    if (!found.formattable) return printable(cut(stackOf(thrown) ?? "a value that is too large to be shown"));
    const text = builtin<{ inspect(value: unknown): string }>("util")!.inspect(thrown);
    return found.readable(text) ? printableLines(inLines(text, found.texts)) : printable(cut(text));
  } catch {
    return printable(cut(textOf(thrown))); // formatting the value threw
  }
}

/** The messages, names and received stacks of several lines of all errors in a value. Elsewhere, `inspect` quotes text. */
class Messages {
  readonly texts = new Set<string>();
  /** The objects in the value, the number of its values that were looked at, and whether it has longer lists. */
  readonly #seen = new Set<unknown>();
  #count = 0;
  #long = false;

  /** Finds the messages in a value. Throws what reading the value throws. */
  constructor(value: unknown) {
    this.#find(value);
  }

  /** Whether the value is so small that to format it takes little time. */
  get formattable(): boolean {
    return this.#count <= MOST_VALUES;
  }

  /** Returns whether the messages can be searched in the formatted value. */
  readable(text: string): boolean {
    if (this.#long || this.#seen.size > MOST_PARTS || text.length > LONGEST_TEXT) return false;
    let characters = 0;
    for (const message of this.texts) characters += message.length;
    return characters <= LONGEST_MESSAGES && [...this.texts].join("\n").split("\n").length <= MOST_LINES;
  }

  #find(value: unknown): void {
    if (typeof value !== "object" || value === null || this.#seen.has(value) || !this.formattable) return;
    this.#seen.add(value);
    if (isA(value, Error)) {
      // an engine does not make a stack enumerable, but the reviver does: such a stack comes from the wire
      const { value: stack, enumerable } = Object.getOwnPropertyDescriptor(value, "stack") ?? {};
      for (const text of [value.message, value.name, enumerable && stack]) {
        if (typeof text === "string" && text.includes("\n")) this.texts.add(text);
      }
    }
    for (const part of this.#partsOf(value)) this.#find(part);
  }

  /** Returns the values in a value, and counts them. Of a long list, they are those that `inspect` shows. */
  #partsOf(value: object): unknown[] {
    if ((Array.isArray(value) ? value.length : ArrayBuffer.isView(value) ? value.byteLength : 0) > MOST_ELEMENTS) {
      this.#long = true;
      this.#count += SHOWN;
      return Array.isArray(value) ? value.slice(0, SHOWN) : [];
    }
    const keyed = isA(value, Map) || isA(value, Set);
    this.#count += 1 + (keyed ? value.size : 0);
    // a loop counts the keys of a large object in a fraction of the time that a list of them takes
    for (const _ in value) if (!this.formattable || ++this.#count > MOST_VALUES) return [];
    if (!this.formattable) return [];
    const elements = keyed ? [...value.entries()].flat() : [];
    return [...elements, ...Reflect.ownKeys(value).map((key) => Object.getOwnPropertyDescriptor(value, key)?.value)];
  }
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
