/**
 * Keeps secrets out of errors. A server, or a proxy in front of it, may quote what it received in the text of an error.
 *
 * @module
 */
import { LimitedMap } from "./caches.ts";

/** The secrets that this thread has sent: the last ones, because a function may return another password for each connection. */
const sent = new LimitedMap<true>(100);

/** Stands in place of a secret. */
const HIDDEN = "***";

/** The fields of the errors of ioredis and of AWS's SDK that contain a whole request or reply. */
const WHOLE: ReadonlySet<PropertyKey> = new Set(["command", "buffer", "body", "$responseBodyText"]);

/** Remembers a secret that is sent to a server. */
export function rememberSecret(secret: string | undefined): void {
  if (secret) sent.set(secret, true);
}

/** Removes the secrets of this thread from the text of a server, and what `quoted` matches: the part that quotes a request. */
export function redactText(text: string, quoted: RegExp): string {
  let clean = text.replace(quoted, "");
  // one secret may contain another
  for (const secret of [...sent.keys()].sort((a, b) => b.length - a.length)) {
    // quoted as it is, or as in JSON
    for (const form of [secret, JSON.stringify(secret).slice(1, -1)]) clean = clean.replaceAll(form, HIDDEN);
  }
  return clean;
}

/** Does the same with the message, the stack, the causes and all other fields of an error, which it changes. It never throws. */
export function redactError(error: unknown, quoted: RegExp, depth = 0): void {
  if (typeof error !== "object" || error === null || depth > 4) return;
  try {
    const own = Reflect.ownKeys(error);
    for (const key of error instanceof Error ? new Set([...own, "message", "stack"]) : own) {
      const value: unknown = Reflect.get(error, key);
      if (WHOLE.has(key)) Reflect.deleteProperty(error, key);
      else if (typeof value === "string") {
        const clean = redactText(value, quoted);
        if (clean !== value) Reflect.set(error, key, clean);
      } else if (value instanceof Error || isPlain(value) || key === "$response") redactError(value, quoted, depth + 1);
    }
  } catch {
    // a value that cannot be read
  }
}

function isPlain(value: unknown): boolean {
  return typeof value === "object" && value !== null &&
    (Array.isArray(value) || Object.getPrototypeOf(value) === Object.prototype);
}
