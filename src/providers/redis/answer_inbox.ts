/**
 * The inbox for answers: a connection of the user's thread that is subscribed to one channel.
 *
 * @module
 */
import { ClosedError } from "../../errors.ts";
import type { AnswerInbox } from "../../provider/provider.ts";
import type { Client, Observer } from "./client.ts";
import type { Connection } from "./connection.ts";
import type { Names } from "./names.ts";
import { count } from "./replies.ts";

/** The inbox for answers. It opens its connection at the first call, so a bus that makes no calls does not have one. */
export class RedisAnswerInbox implements AnswerInbox {
  #names: Names;
  #cluster: boolean;
  #connect: (observer: Observer) => Connection;
  #timeout: number;
  #connection: Connection | undefined;
  #opened = false;
  #closed = false;

  /** Creates an inbox without a connection. `connect` creates the connection, which may take `timeout` milliseconds to open. */
  constructor(names: Names, cluster: boolean, connect: (observer: Observer) => Connection, timeout: number) {
    this.#names = names;
    this.#cluster = cluster;
    this.#connect = connect;
    this.#timeout = timeout;
  }

  /** Whether the connection is up, if it was opened. */
  get up(): boolean {
    return !this.#opened || this.#connection!.up;
  }

  async open(receive: (body: string) => void): Promise<string> {
    if (this.#closed) throw new ClosedError();
    const inbox = this.#names.answerInbox();
    const channels = this.#cluster ? [this.#names.accepting(inbox), inbox] : [inbox];
    const connection = this.#connection = this.#connect({
      // before anything else, so that the address is never given to a server before the server of Redis has confirmed it
      prepare: async (call: Client["call"]) => {
        await Promise.all(channels.map((channel) => call(count, "subscribe", channel)));
      },
      message: (channel, body) => {
        if (channel === inbox) receive(body);
      },
    });
    await connection.open(this.#timeout);
    this.#opened = true;
    return inbox;
  }

  async close(): Promise<void> {
    this.#closed = true;
    await this.#connection?.close();
  }
}
