/**
 * Reads JSON that anybody may have written, without `JSON.parse` and without an object: the engines keep the names and the short strings that
 * they parse in one table, and their hashes are public, so names that collide would cost more with each message.
 *
 * @module
 */
import { ownText } from "./utf8.ts";

/** The largest number of tokens that are read by default. An envelope of SNS with ten attributes has less than 300. */
const MAX_TOKENS = 1_024;
/** The quote of a string, a sign, or the characters of a number or of a literal, with the white space around them. */
const TOKEN = /[ \t\r\n]*(?:(")|([[\]{}:,]|[^ \t\r\n"[\]{}:,]+)[ \t\r\n]*)/y;
/** An escape. */
const ESCAPE = /\\(?:["\\/bfnrt]|u[\dA-Fa-f]{4})/g;
/** A character that a JSON string has only in escapes. */
// deno-lint-ignore no-control-regex
const ESCAPED_ONLY = /["\\\0-\x1f]/;
/** The digits of a character's code. */
const HEX = /^[\dA-Fa-f]{4}$/;
/** The characters behind a backslash, except `u`. */
const ESCAPES = '"\\/bfnrt';
/** The characters for which they stand. */
const ESCAPED = '"\\/\b\f\n\r\t';

/**
 * Returns the JSON texts of an object's members with these names. The text of a member that the object lacks is undefined. Returns undefined if
 * the JSON is not an object, or has too many tokens. The other members are not checked.
 */
export function membersOf(
  json: string,
  names: readonly string[],
  maxTokens: number = MAX_TOKENS,
): (string | undefined)[] | undefined {
  const found: (string | undefined)[] = names.map(() => undefined);
  const quoted = names.map((name) => `"${name}"`);
  const valid = readParts(json, "{", maxTokens, (name, from, to) => {
    const index = quoted.indexOf(name);
    if (index >= 0) found[index] = json.slice(from, to).trimEnd();
  });
  return valid ? found : undefined;
}

/** Returns the JSON texts of a list's elements, of any number, or undefined if the JSON is not a list. The elements are not checked. */
export function elementsOf(json: string): string[] | undefined {
  const found: string[] = [];
  const valid = readParts(json, "[", Infinity, (_, from, to) => {
    if (from < to) found.push(json.slice(from, to).trimEnd());
  });
  return valid ? found : undefined;
}

/** Calls `take` with the quoted name and the place of each member or element. Returns false if the JSON does not begin with `open` or is too long. */
function readParts(
  json: string,
  open: string,
  maxTokens: number,
  take: (name: string, from: number, to: number) => void,
): boolean {
  let depth = 0;
  let [before, name, from] = ["", "", 0];
  TOKEN.lastIndex = 0;
  for (let count = 0; count < maxTokens; count++) {
    const start = TOKEN.lastIndex;
    const token = nextToken(json);
    if (token === undefined || (count === 0 && token !== open)) return false;
    if (token === "}" || token === "]") depth--;
    if (count > 0 && (depth === 0 || (depth === 1 && token === ","))) {
      take(name, from, start);
      name = "";
      from = TOKEN.lastIndex;
      if (depth === 0) return from === json.length;
    }
    if (token === "{" || token === "[") depth++;
    if (depth === 1 && token === ":") name = before;
    if (count === 0 || (depth === 1 && token === ":")) from = TOKEN.lastIndex;
    before = token;
  }
  return false;
}

/** Returns the token that begins at `TOKEN.lastIndex`, and sets that index to its end. Returns undefined if no token begins there. */
function nextToken(json: string): string | undefined {
  const found = TOKEN.exec(json);
  if (!found?.[1]) return found?.[2];
  const from = TOKEN.lastIndex - 1;
  const end = endOfString(json, from + 1);
  if (end < 0) return undefined;
  TOKEN.lastIndex = end + 1;
  return json.slice(from, end + 1);
}

/**
 * Returns the index of the quote that ends a string; -1 if it does not end. `first` is the index behind the first quote. A regular expression
 * for a whole string would keep a place to return to for each escape: with 100,000 of them, Bun takes 100 ms.
 */
export function endOfString(json: string, first: number): number {
  for (let at = json.indexOf('"', first); at >= 0; at = json.indexOf('"', at + 1)) {
    let slashes = at;
    while (json[slashes - 1] === "\\") slashes--;
    if ((at - slashes) % 2 === 0) return at;
  }
  return -1;
}

/** Decodes a JSON string, whose text then refers to no other. Returns undefined for any other JSON. */
export function stringIn(json: string | undefined): string | undefined {
  const inner = json?.match(/^"(.*)"$/s)?.[1];
  return inner === undefined || ESCAPED_ONLY.test(inner.replace(ESCAPE, "")) ? undefined : ownText(unescape(inner));
}

/**
 * Replaces the escapes of a JSON string, without its quotes: those of these characters, and those with a code. All others, and invalid ones,
 * become NUL.
 */
export function unescape(json: string, characters: string = ESCAPES): string {
  let at = json.indexOf("\\");
  if (at < 0) return json; // most strings
  let [text, from] = ["", 0];
  for (; at >= 0; at = json.indexOf("\\", from)) {
    const character = json[at + 1]!;
    const code = character === "u" ? json.slice(at + 2, at + 6) : "";
    text += json.slice(from, at);
    if (HEX.test(code)) text += String.fromCharCode(parseInt(code, 16));
    else text += characters.includes(character) ? ESCAPED[ESCAPES.indexOf(character)]! : "\0";
    from = at + 2 + code.length;
  }
  return text + json.slice(from);
}
