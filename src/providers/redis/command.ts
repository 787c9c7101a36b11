/**
 * A command on its way. It takes the place of ioredis' own `Command`, which costs five times as much: what ioredis does with a
 * command is to write it, and to resolve or reject it.
 *
 * @module
 */
import { Buffer } from "node:buffer";
import { toProviderError } from "./errors.ts";

/** The commands of one turn: they leave in one write and have one deadline. */
export interface Batch {
  readonly commands: Command[];
  /** Milliseconds of `performance.now()`. */
  readonly deadline: number;
  /** How many have no reply yet. */
  open: number;
  /** When they were sent, and how many bytes the connection had received by then. */
  sent?: { readonly at: number; readonly heard: number };
  /** Of the connection. */
  readonly pulse: Pulse;
}

/** Whether a connection on which bytes come still makes sense. */
export interface Pulse {
  /** `performance.now()` when a command became overdue and no reply has come to any since. */
  stuck: number | undefined;
  /** A reply was none to its command: rejects all that was sent. */
  outOfStep(error: unknown): void;
}

/** One command of a batch. */
export class Command {
  /** Lower case, by which ioredis knows what the reply means. */
  readonly name: string;
  readonly args: readonly string[];
  /** ioredis traces commands on diagnostics channels, unless they say that they have been. */
  readonly isTraced = true;
  #batch: Batch | undefined;
  #resolve: (reply: unknown) => void;
  #reject: (error: unknown) => void;

  /** `resolve` throws at a reply that cannot be one to this command. */
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

  /** True once it has been resolved or rejected. */
  get settled(): boolean {
    return this.#batch === undefined;
  }

  /** What goes to the server: an array of bulk strings. */
  toWritable(): string {
    let text = `*${this.args.length + 1}\r\n$${this.name.length}\r\n${this.name}\r\n`;
    for (const arg of this.args) text += `$${Buffer.byteLength(arg)}\r\n${arg}\r\n`;
    return text;
  }

  /** Called with the server's reply: numbers, buffers, null and arrays of them. */
  resolve(reply: unknown): void {
    if (!this.#batch) return;
    const { pulse } = this.#batch;
    pulse.stuck = undefined;
    try {
      this.#resolve(reply);
      this.#done();
    } catch (error) {
      pulse.outOfStep(error);
    }
  }

  /** Called with an error reply, or because the connection broke. */
  reject(error: unknown): void {
    if (this.#done()) this.#reject(toProviderError(`run ${this.name.toUpperCase()} on Redis`, error));
  }

  #done(): boolean {
    if (!this.#batch) return false;
    this.#batch.open--;
    this.#batch = undefined;
    return true;
  }
}
