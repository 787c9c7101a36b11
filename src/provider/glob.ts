/**
 * Globs, for transports without patterns of their own. They match as in Redis, which compares the bytes of UTF-8: `?` matches one byte,
 * and in a range, each byte above ASCII is less than all of ASCII (a signed `char`).
 *
 * @module
 */

/** The number of bytes that become characters at once: one at a time takes seconds for a long text. */
const PART = 4_096;
/** The token of `*`: any number of any bytes. */
const STAR = -1;
/** The token of `?`: any one byte. */
const ANY = -2;
/** One element of a pattern: a byte, any byte, any number of bytes, or a character class as 32 characters with a bit for each byte. */
type Token = number | string;

/**
 * Returns the matcher of a pattern: `*` (also matches `/`), `?`, `[abc]`, `[a-z]`, `[^x]`, and `\` to escape the next character. Every
 * string is a pattern. A character class that is not closed ends with the pattern. A match takes at most (length of the pattern) × (length
 * of the topic) steps.
 */
export function glob(pattern: string): (topic: string) => boolean {
  const tokens = compile(bytesOf(pattern));
  return (topic) => matches(tokens, bytesOf(topic));
}

/** Returns the UTF-8 bytes of a text, each as one character. */
function bytesOf(text: string): string {
  if (/^[\0-\x7f]*$/.test(text)) return text;
  const bytes = new TextEncoder().encode(text);
  const parts: string[] = [];
  for (let at = 0; at < bytes.length; at += PART) parts.push(String.fromCharCode(...bytes.subarray(at, at + PART)));
  return parts.join("");
}

function compile(pattern: string): Token[] {
  const tokens: Token[] = [];
  let at = 0;
  while (at < pattern.length) {
    const character = pattern[at];
    if (character === "[") {
      bits.fill(0);
      at = compileClass(pattern, at + 1);
      tokens.push(String.fromCharCode(...bits)); // an array for each class would have a hundred times the length of the pattern
      continue;
    }
    if (character === "\\" && at + 1 < pattern.length) at++;
    if (character === "?") tokens.push(ANY);
    else if (character !== "*") tokens.push(pattern.charCodeAt(at));
    else if (tokens.at(-1) !== STAR) tokens.push(STAR);
    at++;
  }
  return tokens;
}

/** The bits of the character class that is being compiled. */
const bits = new Uint8Array(32);

/** Marks the bytes of a character class, `[…]`, whose first element is at `at`. Returns the position after the class. */
function compileClass(pattern: string, at: number): number {
  const negated = pattern[at] === "^";
  if (negated) at++;
  while (at < pattern.length && pattern[at] !== "]") {
    if (pattern[at] === "\\" && at + 1 < pattern.length) {
      markByte(pattern.charCodeAt(at + 1));
      at += 2;
    } else if (pattern[at + 1] === "-" && at + 2 < pattern.length) {
      const ends = [signed(pattern.charCodeAt(at)), signed(pattern.charCodeAt(at + 2))];
      for (let byte = Math.min(...ends); byte <= Math.max(...ends); byte++) markByte(byte & 255);
      at += 3;
    } else {
      markByte(pattern.charCodeAt(at));
      at++;
    }
  }
  if (negated) { for (let i = 0; i < bits.length; i++) bits[i]! ^= 255; }
  return at + 1;
}

function markByte(byte: number): void {
  bits[byte >> 3]! |= 1 << (byte & 7);
}

function signed(byte: number): number {
  return byte << 24 >> 24;
}

/** Matches a topic. It only ever extends the match of the last `*`, because the earlier ones need not match more. */
function matches(tokens: readonly Token[], topic: string): boolean {
  let token = 0;
  let at = 0;
  let star = -1;
  let resume = 0;
  while (at < topic.length) {
    const expected = tokens[token];
    if (expected === STAR) {
      star = token++;
      resume = at;
    } else if (expected !== undefined && accepts(expected, topic.charCodeAt(at))) {
      token++;
      at++;
    } else if (star >= 0) {
      token = star + 1;
      at = ++resume;
    } else {
      return false;
    }
  }
  if (tokens[token] === STAR) token++;
  return token === tokens.length;
}

function accepts(token: Token, byte: number): boolean {
  return typeof token === "number"
    ? token === byte || token === ANY
    : (token.charCodeAt(byte >> 3) >> (byte & 7) & 1) === 1;
}
