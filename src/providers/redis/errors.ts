/**
 * The one table from what Redis, ioredis and sockets say to the codes of a `ProviderError`.
 *
 * @module
 */
import { BusError, lacksPermission, ProviderError } from "../../errors.ts";
import { textOf } from "../../internal/thrown.ts";
import { backoff, pause, RETRY } from "../../internal/time.ts";

type Code = "unavailable" | "denied" | "too_large" | "internal";

/** The first word of an error reply → our code, and what to do about it where the reply does not say. */
const REPLIES: Readonly<Record<string, readonly [Code, string?]>> = {
  WRONGPASS: ["denied"],
  NOAUTH: ["denied", "give username and password"],
  NOPERM: ["denied", "see the ACL rules in the documentation of the Redis provider"],
  DENIED: ["denied"],
  LOADING: ["unavailable"],
  MASTERDOWN: ["unavailable"],
  READONLY: ["unavailable", "this server is a replica"],
  CLUSTERDOWN: ["unavailable"],
  TRYAGAIN: ["unavailable"],
  BUSY: ["unavailable"],
  UNKILLABLE: ["unavailable"],
  OOM: ["unavailable", "the server is out of memory"],
  MISCONF: ["unavailable"],
  NOREPLICAS: ["unavailable"],
  MOVED: ["internal", "the server is part of a Redis Cluster: give `cluster`"],
  ASK: ["internal", "the server is part of a Redis Cluster: give `cluster`"],
  CROSSSLOT: ["internal"],
  WRONGTYPE: ["internal", "another program keeps something else under this name"],
};

/** Error replies that begin with a mere `ERR`. */
const TEXTS: readonly (readonly [RegExp, Code])[] = [
  [/max number of clients/i, "unavailable"],
  [/invalid (multi)?bulk length|exceeds maximum allowed size|string is too long/i, "too_large"],
  [/invalid password|without any password|AUTH/, "denied"],
];

/** What Redis 6 says before the error of a command within a script. */
const WITHIN = /^(ERR Error running script \(call to \w+\): )?(@user_script: ?\d+: -?)+/;

/** Turns whatever a command was rejected with into a `ProviderError`; `doing` completes "Cannot …". */
export function toProviderError(doing: string, error: unknown): BusError {
  if (error instanceof BusError) return error;
  const text = messageOf(error);
  const [code, hint] = judge(error, text);
  return new ProviderError(code, `Cannot ${doing}: ${text}${hint ? ` (${hint})` : ""}`, { cause: error });
}

/** The error of a command that was sent on a connection which was closed before the reply came. */
export function outcomeUnknown(): ProviderError {
  const text = "Cannot tell whether Redis has carried out a command: its connection was closed before the reply came";
  return new ProviderError("unavailable", text);
}

/** True for what ioredis says of bytes that are no reply, and of a reply to nothing. */
export function senseless(error: Error): boolean {
  return error.name === "ParserError" || error.message.startsWith("Command queue state error");
}

/** True where the connection is at fault: whether the command was carried out nobody knows. */
export function unavailable(error: unknown): boolean {
  return error instanceof BusError && error.code === "unavailable";
}

/**
 * Repeats an act while it fails with "unavailable". For acts that may be done twice. It ends at the latest when the client is closed,
 * because then the act fails with "closed".
 */
export async function retryUnavailable<T>(act: () => Promise<T>): Promise<T> {
  for (let failures = 1;; failures++) {
    try {
      return await act();
    } catch (error) {
      if (!unavailable(error)) throw error;
    }
    await pause(backoff(RETRY.send, failures));
  }
}

function judge(error: unknown, text: string): readonly [Code, string?] {
  const reply = replyOf(text);
  const known = REPLIES[/^[A-Z]+/.exec(reply)?.[0] ?? ""];
  if (known) return known;
  if (lacksPermission(error)) return ["denied"];
  if (!(error instanceof Error) || error.name !== "ReplyError") return ["unavailable"];
  return [TEXTS.find(([pattern]) => pattern.test(reply))?.[1] ?? "internal"];
}

/** An error reply without what a script put before it. */
export function replyOf(text: string): string {
  return text.replace(WITHIN, "");
}

function messageOf(error: unknown): string {
  // connecting to a name with several addresses fails with one error for each
  if (error instanceof AggregateError && error.errors.length > 0) return error.errors.map(messageOf).join(", ");
  return textOf(error);
}
