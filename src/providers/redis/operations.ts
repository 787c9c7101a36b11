/**
 * Describes commands in the words of users, for error messages.
 *
 * @module
 */
import { operationOf } from "./scripts.ts";

/** Command → its description, which is followed by the topic, queue or function of its first key. */
const OPERATIONS: Readonly<Record<string, string>> = {
  publish: "publish to",
  subscribe: "subscribe to",
  psubscribe: "subscribe to",
  unsubscribe: "unsubscribe from",
  punsubscribe: "unsubscribe from",
  lpush: "put into queue",
  unlink: "remove queue",
  zrem: "unregister",
  hscan: "read the bindings of groups",
};

/** Matches the inbox channel of a bus. Its random name would not help users. */
const INBOX = /^__tsmq:inbox:/;
/** Matches the hash of the queues that are bound to topics. */
const BINDINGS = /^__tsmq:bindings:/;
/** Matches a key or channel that belongs to a topic, queue or function, and captures its name. */
const NAME = /^(?:__tsmq:(?:\{[^}]*\})?\w+:)?__eventbus:[^:]*:(.*)$/s;

/** Returns what a command does, for "Cannot …": `put into queue "thumbs"`. */
export function operation(command: string, args: readonly string[]): string {
  const script = /^eval/.test(command) ? operationOf(args[0]!) : undefined;
  const [does, key = ""] = script ? [script, args[2]] : [OPERATIONS[command], args[0]];
  if (command === "select") return `select database ${args[0]} of Redis`;
  if (BINDINGS.test(key)) return does ?? "bind the queue of a group";
  if (does && INBOX.test(key)) return `${does} the inbox of a bus`;
  const name = NAME.exec(key)?.[1];
  if (!does || name === undefined) return `run ${command.toUpperCase()} on Redis`;
  return `${does} "${name}"`;
}
