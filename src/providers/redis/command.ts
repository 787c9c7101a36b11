/**
 * A command that waits for its reply. It replaces ioredis' own `Command`, which costs five times as much. ioredis only writes a
 * command, and resolves or rejects it.
 *
 * @module
 */
import type { Redis } from "ioredis";
import { Buffer } from "node:buffer";
import { toProviderError } from "./errors.ts";
import { operation } from "./operations.ts";
import { addressOf } from "./settings.ts";

/** The commands of one turn. They are sent in one write and share one deadline. */
export interface Batch {
  readonly commands: Command[];
  /** The deadline, by `performance.now()`. */
  readonly deadline: number;
  /** The number of commands without a reply. */
  pending: number;
  /** The time when the commands were sent (`performance.now()`), and the number of bytes that the connection had received by then. */
  sent?: { readonly at: number; readonly received: number };
  readonly replies: Replies;
}

/** The replies of one connection: whether they still match its commands. */
export class Replies {
  /** The time (`performance.now()`) when a command became overdue, if no reply to any command has arrived since. */
  overdueSince: number | undefined;
  /** Drops the connection, because a reply does not fit its command: all later ones may belong to other commands. */
  readonly outOfStep: (error: unknown) => void;
  #redis: Redis;

  /** Creates the state of a connection's replies. */
  constructor(redis: Redis, outOfStep: (error: unknown) => void) {
    this.#redis = redis;
    this.outOfStep = outOfStep;
  }

  /** The address of the server. */
  get address(): string {
    return addressOf(this.#redis);
  }
}

/** The smallest number of characters of a write to the socket, except the last write of a batch. */
const CHUNK = 256 * 1024;

/** Writes the commands of a batch to the connection. */
export function writeBatch(redis: Redis, batch: Batch): void {
  const { stream } = redis;
  let text = "";
  // ioredis writes to this as to a pipeline: all commands become one write
  const sink = {
    isPipeline: true,
    destination: { redis: { stream } },
    write: (chunk: string) => {
      text += chunk;
      if (text.length < CHUNK) return;
      stream.write(text);
      text = "";
    },
  };
  for (const command of batch.commands) {
    if (!command.settled) redis.sendCommand(...[command, sink] as unknown as Parameters<Redis["sendCommand"]>);
  }
  if (text) stream.write(text);
}

/** Rejects the commands of a batch that have no reply. */
export function rejectBatch(batch: Batch, error: unknown): void {
  for (const command of batch.commands) command.reject(error);
}

function bulk(arg: string): string {
  return `$${Buffer.byteLength(arg)}\r\n${arg}\r\n`;
}

/** The last first argument, a channel or a key, and its bulk string: most commands have the same as the one before. */
let first = { arg: "", bulk: bulk("") };

function bulkOfFirst(arg: string): string {
  if (arg !== first.arg) first = { arg, bulk: bulk(arg) };
  return first.bulk;
}

/** One command of a batch. */
export class Command {
  /** The name in lower case, because ioredis looks it up. */
  readonly name: string;
  readonly args: readonly string[];
  /** True keeps ioredis from tracing the command on diagnostics channels. */
  readonly isTraced = true;
  #batch: Batch | undefined;
  #resolve: (reply: unknown) => void;
  #reject: (error: unknown) => void;

  /** Creates a command. `resolve` throws if the reply does not fit this command. */
  constructor(
    name: string,
    args: readonly string[],
    batch: Batch,
    resolve: (reply: unknown) => void,
    reject: (error: unknown) => void,
  ) {
    this.name = name;
    this.args = args;
    this.#batch = batch;
    this.#resolve = resolve;
    this.#reject = reject;
  }

  /** Whether the command was resolved or rejected. */
  get settled(): boolean {
    return this.#batch === undefined;
  }

  /** Returns the bytes to send: an array of bulk strings. */
  toWritable(): string {
    const { args, name } = this;
    let text = `*${args.length + 1}\r\n$${name.length}\r\n${name}\r\n`;
    for (let i = 0; i < args.length; i++) text += i === 0 ? bulkOfFirst(args[0]!) : bulk(args[i]!);
    return text;
  }

  /** ioredis calls this with the server's reply: numbers, buffers, null, and arrays of them. */
  resolve(reply: unknown): void {
    if (!this.#batch) return;
    const { replies } = this.#batch;
    replies.overdueSince = undefined;
    try {
      this.#resolve(reply);
      this.#settle();
    } catch (error) {
      replies.outOfStep(error);
    }
  }

  /** ioredis calls this with an error reply, or when the connection broke. */
  reject(error: unknown): void {
    const address = this.#batch?.replies.address;
    if (this.#settle()) this.#reject(toProviderError(operation(this.name, this.args), error, address));
  }

  /** Settles the command. Returns false if it was already settled. */
  #settle(): boolean {
    if (!this.#batch) return false;
    this.#batch.pending--;
    this.#batch = undefined;
    return true;
  }
}
