/**
 * The table from error replies of Redis, and errors of ioredis and sockets, to the codes of a `ProviderError`.
 *
 * @module
 */
import { BusError, closedWhile, isUnavailable, lacksPermission, ProviderError } from "../../errors.ts";
import { redactError, redactText } from "../../internal/secrets.ts";
import { connectionFault, textOf } from "../../internal/thrown.ts";
import { backoff, pause, RETRY } from "../../internal/time.ts";

type Code = "unavailable" | "denied" | "too_large" | "internal";

/** First word of an error reply → code, and advice if the reply has none. */
const REPLIES: Readonly<Record<string, readonly [Code, string?]>> = {
  WRONGPASS: ["denied"],
  NOAUTH: ["denied", "set `username` and `password`"],
  NOPERM: ["denied", "docs/redis.md lists the ACL rules that a bus needs"],
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
  MOVED: ["internal", "the server is part of a Redis Cluster; set the option `cluster`"],
  ASK: ["internal", "the server is part of a Redis Cluster; set the option `cluster`"],
  CROSSSLOT: ["internal"],
  WRONGTYPE: ["internal", "another program stores a value of another type under this name"],
};

/** Text of an error reply → code, for replies whose first word is the general `ERR`. */
const TEXTS: readonly (readonly [RegExp, Code])[] = [
  [/max number of clients/i, "unavailable"],
  [/invalid (multi)?bulk length|exceeds maximum allowed size|string is too long/i, "too_large"],
  [/invalid password|without any password|AUTH/, "denied"],
  [/ACL failure in script|user executing the script can't/, "denied"],
];

/** Matches the prefix of Redis 6 for the error of a command in a script. */
const SCRIPT_PREFIX = /^(ERR Error running script \(call to \w+\): )?(@user_script: ?\d+: -?)+/;

/** Matches the arguments of a command that the server does not know: they may be a password, or the data of a user. */
const QUOTED = /, with args beginning with:.*/g;

/** Converts an error of ioredis or of a socket to a `ProviderError`. `doing` completes "Cannot …"; `address` is that of the server. */
export function toProviderError(doing: string, error: unknown, address?: string): BusError {
  if (error instanceof BusError) return closedWhile(doing, error);
  const text = messageOf(error, address);
  const [code, hint] = judge(error, text);
  redactError(error, QUOTED);
  const said = redactText(text, QUOTED);
  return new ProviderError(code, `Cannot ${doing}: ${said}${hint ? ` (${hint})` : ""}`, { cause: error });
}

/** A fault of a server or of the connection to it. The message is preceded by the address of the server. */
class ServerFault extends Error {}

/** The error of a connection that the server closed. */
export const CLOSED: Error = new ServerFault("closed the connection");

/** Creates the error of a command without a reply, or of a connection over TLS that was never established. */
export function noReply(ms: number, tls = false): Error {
  const hint = tls ? "; if it does not use TLS, the URL begins with redis://" : "";
  return new ServerFault(`sent no reply within ${ms} ms${hint}`);
}

/** Returns the error of a command that was not sent, because the connection was down. `cause` is the last error of the connection. */
export function noConnection(cause: unknown): unknown {
  if (!isReply(cause) && !(cause instanceof BusError)) return cause;
  // a refused login is an error of the connection, not of this command, and another attempt may succeed
  return new ServerFault(`accepted no connection: ${messageOf(cause)}`, { cause });
}

/** Creates the error of a command whose connection was closed before its reply arrived. */
export function outcomeUnknown(): ProviderError {
  const text = "Cannot tell whether Redis executed a command: its connection was closed before the reply arrived";
  return new ProviderError("unavailable", text);
}

/** Returns whether ioredis reports bytes that are not a reply, or a reply without a command. */
export function outOfStep(error: Error): boolean {
  return error.name === "ParserError" || error.message.startsWith("Command queue state error");
}

/**
 * Repeats an operation while it fails with "unavailable". The operation must be safe to repeat. The repetition ends at the latest when the
 * client is closed, because then the operation fails with "closed".
 */
export async function retryUnavailable<T>(act: () => Promise<T>): Promise<T> {
  for (let failures = 1;; failures++) {
    try {
      return await act();
    } catch (error) {
      if (!isUnavailable(error)) throw error;
    }
    await pause(backoff(RETRY.prompt, failures));
  }
}

function judge(error: unknown, text: string): readonly [Code, string?] {
  const reply = replyOf(text);
  const known = REPLIES[/^[A-Z]+/.exec(reply)?.[0] ?? ""];
  if (known) return known;
  if (lacksPermission(error)) return ["denied"];
  if (!isReply(error)) return ["unavailable"];
  return [TEXTS.find(([pattern]) => pattern.test(reply))?.[1] ?? "internal"];
}

/** Returns an error reply without the prefix of a script. */
export function replyOf(text: string): string {
  return text.replace(SCRIPT_PREFIX, "");
}

function isReply(error: unknown): boolean {
  return error instanceof Error && error.name === "ReplyError";
}

function messageOf(error: unknown, server?: string): string {
  if (error instanceof Error && error.name === "ParserError") {
    return `the server${
      server === undefined ? "" : ` at ${server}`
    } sent what is not a reply of Redis; check host and port`;
  }
  // ioredis rejects commands with this text
  const fault = textOf(error) === "Connection is closed." ? CLOSED : error;
  if (fault instanceof ServerFault) return `${server === undefined ? "Redis" : `Redis at ${server}`} ${fault.message}`;
  return connectionFault(error, "Redis", server) ?? textOf(error);
}
