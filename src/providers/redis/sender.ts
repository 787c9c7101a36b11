/**
 * The sending half, on the user's thread: one connection.
 *
 * @module
 */
import { Buffer } from "node:buffer";
import { ProviderError } from "../../errors.ts";
import type { ReplyQueues, Sender, SenderContext, SendOptions } from "../../provider.ts";
import type { Client } from "./client.ts";
import { ClusterClient } from "./cluster.ts";
import { Connection } from "./connection.ts";
import { Names } from "./keys.ts";
import { MAX_BODY, type Settings } from "./options.ts";
import { count, subscribers, texts } from "./replies.ts";
import { ANSWER, run, SERVERS, SIZE } from "./scripts.ts";

/** Seconds that PyMQ gives an answer to be fetched. */
const ANSWER_LIFE = 300;

/** Opens the sending half. */
export async function openSender(settings: Settings, context: SenderContext): Promise<Sender> {
  const links: (Connection | ClusterClient)[] = [];
  let connected = true;
  const observer = {
    up: () => {
      if (connected || !links.every((link) => link.up)) return;
      connected = true;
      context.state(true);
    },
    down: (error: unknown) => {
      if (connected) context.state(false, error);
      connected = false;
    },
  };
  const events = new Connection(settings, context.sendTimeout, observer);
  links.push(events);
  if (settings.cluster) links.push(new ClusterClient(settings, context.sendTimeout, observer));
  const opened = await Promise.allSettled(links.map((link) => link.open(context.connectTimeout)));
  const failed = opened.find((result) => result.status === "rejected");
  if (!failed) return new RedisSender(settings, context.namespace, events, links.at(-1)!);
  await Promise.all(links.map((link) => link.close()));
  throw failed.reason;
}

class RedisSender implements Sender {
  readonly replies: ReplyQueues;
  #names: Names;
  #events: Client;
  #queues: Client;
  #maxEvent: number;
  /** A node of a Cluster counts its own subscribers only. */
  #counts: boolean;

  constructor(settings: Settings, namespace: string, events: Client, queues: Client) {
    this.#names = new Names(namespace);
    this.#events = events;
    this.#queues = queues;
    this.#maxEvent = settings.maxEvent;
    this.#counts = settings.cluster === undefined;
    this.replies = {
      lingers: true,
      open: () => Promise.resolve(),
      candidates: async (topic) => {
        if (!this.#counts) return undefined;
        return (await this.#subscribers([this.#names.channel(topic)]))[0];
      },
      put: async (queue, body) => {
        limit(body, MAX_BODY, "proto-max-bulk-len");
        await run(this.#queues, count, ANSWER, [this.#names.list(queue)], [body, ANSWER_LIFE]);
      },
    };
  }

  publish(topic: string, body: string): Promise<number | undefined> {
    const count = this.#publish(this.#names.channel(topic), body);
    return this.#counts ? count : count.then(() => undefined);
  }

  async post(inbox: string, body: string): Promise<boolean | undefined> {
    const count = await this.#publish(inbox, body);
    return count > 0 || (this.#counts ? false : undefined);
  }

  async servers(topic: string): Promise<string[]> {
    return await run(this.#queues, texts, SERVERS, [this.#names.servers(topic)], []);
  }

  async present(inboxes: readonly string[]): Promise<string[]> {
    if (!this.#counts || inboxes.length === 0) return [...inboxes];
    const counts = await this.#subscribers(inboxes);
    return inboxes.filter((_, i) => counts[i]! > 0);
  }

  async send(queue: string, body: string, { signal }: SendOptions): Promise<void> {
    signal?.throwIfAborted();
    limit(body, MAX_BODY, "proto-max-bulk-len");
    await this.#queues.call(count, "lpush", this.#names.list(queue), body);
  }

  async size(queue: string): Promise<number> {
    const { list, due } = this.#names.queue(queue);
    return await run(this.#queues, count, SIZE, [list, due], []);
  }

  async drop(queue: string): Promise<void> {
    const { list, due, items } = this.#names.queue(queue);
    await this.#queues.call(count, "unlink", list, due, items);
  }

  async close(): Promise<void> {
    await Promise.all([this.#events.close(), this.#queues.close()]);
  }

  #subscribers(channels: readonly string[]): Promise<number[]> {
    return this.#events.call(subscribers(channels), "pubsub", "numsub", ...channels);
  }

  /** One publisher's events go through one connection, so in order; in a Cluster any node passes them on to all. */
  #publish(channel: string, body: string): Promise<number> {
    try {
      limit(body, this.#maxEvent, "client-output-buffer-limit pubsub");
    } catch (error) {
      return Promise.reject(error);
    }
    return this.#events.call(count, "publish", channel, body);
  }
}

function limit(body: string, max: number, setting: string): void {
  // a character is three bytes at most
  if (body.length * 3 <= max) return;
  const bytes = Buffer.byteLength(body);
  if (bytes <= max) return;
  throw new ProviderError("too_large", `Cannot send ${bytes} bytes over Redis: ${setting} is taken to be ${max}`);
}
