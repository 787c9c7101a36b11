/**
 * Reads waiting items without taking them.
 *
 * @module
 */
import type { Received } from "../codec/envelope.ts";
import { heldBytes } from "../codec/held_bytes.ts";
import { type MessageHeaders, userHeaders } from "../codec/headers.ts";
import type { Core } from "../core.ts";
import { type Issue, UnsupportedError, ValidationError } from "../errors.ts";
import { type OptionChecks, optionNames } from "../internal/arguments.ts";
import { isA } from "../internal/thrown.ts";
import { Slices } from "../internal/time.ts";

/** The default number of items of a peek. */
const LIMIT = 10;
/** The largest number of items of a peek, because all of them are in memory at once. Transports also limit their bytes. */
const MAX_LIMIT = 10_000;

/** About how many bytes the values and the errors of a peek take from which on it returns no more of them. */
const MAX_HELD = 64 * 2 ** 20;
/** About how many bytes a character takes, and an issue or a key of its path beside its characters. */
const [CHARACTER, EACH] = [2, 64];

/** Options of {@linkcode Queue.peek}. */
export interface PeekOptions {
  /** The largest number of items, at most 10,000. Default 10. */
  readonly limit?: number;
  /** The number of items to skip. Default 0. */
  readonly offset?: number;
}

/** The names of the options of `peek`. */
export const PEEK = optionNames<PeekOptions>({ limit: true, offset: true });

/** A waiting item that was read without being taken. */
export interface Peeked<T> {
  /** The item. */
  readonly item: T;
  /** The attempt that the next delivery will have. */
  readonly attempt: number;
  /** The headers of the item; empty if it has none. */
  readonly headers: MessageHeaders;
  /** Absent, because the item can be read. */
  readonly error?: undefined;
}

/** A waiting item that cannot be read. */
export interface Unreadable {
  /** The reason why it cannot be read. */
  readonly error: ValidationError;
  /** The body of the item. */
  readonly body: string;
  /** The attempt that the next delivery will have. */
  readonly attempt: number;
  /** The headers of the item; empty if it has none. */
  readonly headers: MessageHeaders;
  /** Absent, because the item cannot be read. */
  readonly item?: undefined;
}

/** A waiting item whose body was not decoded. */
export interface PeekedBody extends Received {
  /** The attempt that the next delivery will have. */
  readonly attempt: number;
}

/** Yields up to `limit` waiting items after the first `offset` ones. A peek returns fewer if they are large, so it peeks again. */
export async function* peekAll<P>(
  from: { peek(options: PeekOptions): Promise<P[]>; size(): Promise<number> },
  limit: number,
  offset = 0,
): AsyncGenerator<P> {
  for (let left = limit; left > 0;) {
    const found = await from.peek({ limit: left, offset });
    yield* found;
    left -= found.length;
    offset += found.length;
    if (found.length === 0 || (left > 0 && offset >= await from.size())) return;
  }
}

/**
 * Returns waiting items of a queue. `read` decodes an item, or throws if it is refused. `stored` is true if the queue may be that of a group,
 * whose stored events can be read too.
 */
export async function peek<T>(
  core: Core,
  queue: string,
  check: OptionChecks,
  { limit = LIMIT, offset = 0 }: PeekOptions,
  read: (received: Received) => unknown,
  stored = false,
): Promise<(Peeked<T> | Unreadable)[]> {
  check.upTo("limit", limit, MAX_LIMIT);
  if (offset !== 0) check.count("offset", check.number("offset", offset));
  const found: (Peeked<T> | Unreadable)[] = [];
  let held = 0;
  for await (const received of peekBodies(core, queue, limit, offset, stored)) {
    const { body, headers, attempt } = received;
    try {
      const reading = read(received);
      const bytes = heldBytes(body, core.codec.typed);
      found.push({ item: await reading as T, attempt, headers: userHeaders(headers) });
      held += bytes;
    } catch (error) {
      if (!isA(error, ValidationError)) throw error;
      found.push({ error, body, attempt, headers: userHeaders(headers) });
      held += errorBytes(error, body);
    }
    if (held > MAX_HELD) break;
  }
  return found;
}

/** Yields waiting items of a queue in slices, as {@linkcode peek} returns them, but without decoding their bodies. */
export async function* peekBodies(
  core: Core,
  queue: string,
  limit: number,
  offset: number,
  stored = false,
): AsyncGenerator<PeekedBody> {
  const { peeker } = core.sender;
  if (!peeker) {
    throw new UnsupportedError(`Cannot peek into queue "${queue}": the transport shows an item only to its consumer`);
  }
  const items = await peeker.peek(queue, Math.min(offset, Number.MAX_SAFE_INTEGER), limit);
  const slices = new Slices();
  for (const { body, attempt, topic } of items) {
    await slices.next();
    yield { attempt, ...(core.envelopes.openItem(queue, body, topic, stored) ?? { body }) };
  }
}

/** Returns about how many bytes an error takes, with the body of its item. */
function errorBytes({ issues }: ValidationError, body: string): number {
  const size = ({ message, path = [] }: Issue) =>
    path.reduce<number>((bytes, key) => bytes + EACH + textBytes(key), EACH + textBytes(message));
  return issues.reduce((bytes, issue) => bytes + size(issue), textBytes(body));
}

function textBytes(text: PropertyKey): number {
  return typeof text === "string" ? CHARACTER * text.length : 0;
}
