/**
 * Globs, for transports without patterns of their own. They match as in Redis, which compares the bytes of UTF-8: `?` matches one byte,
 * and in a range, each byte above ASCII is less than all of ASCII (a signed `char`).
 *
 * @module
 */
import { builtin } from "../internal/builtin.ts";

/** The steps that comparisons may still take together: other programs may write many patterns, and each of any cost. */
export interface Steps {
  /** Their number. It is negative once a comparison needed more, whose result is then `false`. */
  left: number;
}
const UNLIMITED: Steps = { left: Infinity };

const [STAR, ANY, OPEN, CLOSE, NOT, TO, ESCAPE] = [..."*?[]^-\\"].map((each) => each.charCodeAt(0));

/**
 * Returns the matcher of a pattern: `*` (also matches `/`), `?`, `[abc]`, `[a-z]`, `[^x]`, and `\` to escape the next character. Every
 * string is a pattern. A character class that is not closed ends with the pattern. A match takes at most (length of the pattern) × (length
 * of the topic) steps, and no more than are left.
 */
export function glob(pattern: string): (topic: string, steps?: Steps) => boolean {
  const bytes = bytesOf(pattern);
  return (topic, steps = UNLIMITED) => {
    if (topic !== last.topic) {
      steps.left -= topic.length;
      if (steps.left < 0) return false;
      last = { topic, bytes: bytesOf(topic) };
    }
    return matches(bytes, last.bytes, steps);
  };
}

/** The last topic: it is usually compared with many patterns, and its bytes take longer than a short pattern. */
let last = { topic: "", bytes: "" };

/** Returns the UTF-8 bytes of a text, each as one character. */
function bytesOf(text: string): string {
  if (/^[\0-\x7f]*$/.test(text)) return text;
  return builtin<typeof import("node:buffer")>("buffer")!.Buffer.from(text).toString("latin1"); // at least ten times as fast as other ways
}

/**
 * Matches a topic. It only ever extends the match of the last `*`, because the earlier ones need not match more. The pattern is not
 * compiled: other programs may write many patterns, and compiled classes have up to 50 times their length.
 */
function matches(pattern: string, topic: string, steps: Steps): boolean {
  let next = 0;
  let at = 0;
  let afterStar = -1;
  let resume = 0;
  while (at < topic.length) {
    if (pattern.charCodeAt(next) === STAR) {
      afterStar = ++next;
      resume = at;
      continue;
    }
    end = next + 1;
    const accepted = next < pattern.length && accepts(pattern, next, topic.charCodeAt(at));
    steps.left -= end - next; // a class takes a step for each of its characters
    if (steps.left < 0) return false;
    if (accepted) {
      next = end;
      at++;
    } else if (afterStar >= 0) {
      next = afterStar;
      at = ++resume;
    } else {
      return false;
    }
  }
  while (pattern.charCodeAt(next) === STAR) next++;
  return next >= pattern.length;
}

/** The position after the element that {@linkcode accepts} compared last. */
let end = 0;

/** Returns whether the element at `at`, which is not `*`, accepts a byte. Sets {@linkcode end}. */
function accepts(pattern: string, at: number, byte: number): boolean {
  const first = pattern.charCodeAt(at);
  if (first === OPEN) return classAccepts(pattern, at + 1, byte);
  if (first === ESCAPE && at + 1 < pattern.length) at++;
  end = at + 1;
  return first === ANY || pattern.charCodeAt(at) === byte;
}

/** Returns whether a character class, `[…]`, whose first element is at `at`, accepts a byte. */
function classAccepts(pattern: string, at: number, byte: number): boolean {
  const negated = pattern.charCodeAt(at) === NOT;
  if (negated) at++;
  let found = false;
  while (at < pattern.length && pattern.charCodeAt(at) !== CLOSE) {
    if (pattern.charCodeAt(at) === ESCAPE && at + 1 < pattern.length) {
      found ||= pattern.charCodeAt(at + 1) === byte;
      at += 2;
    } else if (pattern.charCodeAt(at + 1) === TO && at + 2 < pattern.length) {
      const from = signed(pattern.charCodeAt(at));
      const to = signed(pattern.charCodeAt(at + 2));
      found ||= Math.min(from, to) <= signed(byte) && signed(byte) <= Math.max(from, to);
      at += 3;
    } else {
      found ||= pattern.charCodeAt(at) === byte;
      at++;
    }
  }
  end = at + 1;
  return found !== negated;
}

function signed(byte: number): number {
  return byte << 24 >> 24;
}
