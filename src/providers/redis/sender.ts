/**
 * The sending half, on the user's thread: one connection.
 *
 * @module
 */
import { Buffer } from "node:buffer";
import { ProviderError } from "../../errors.ts";
import type {
  RegisteredServer,
  ReplyQueues,
  Sender,
  SenderContext,
  SendOptions,
  ServersOptions,
} from "../../provider/provider.ts";
import type { Client } from "./client.ts";
import { ClusterClient } from "./cluster.ts";
import { Connection } from "./connection.ts";
import { Names } from "./names.ts";
import { Master } from "./master.ts";
import { MAX_BODY, type Settings } from "./settings.ts";
import { register } from "./registry.ts";
import { count, subscribers, texts } from "./replies.ts";
import { ANSWER, run, SERVERS, SIZE } from "./scripts.ts";

/** Milliseconds for which a bus of a Cluster that was there is believed to be: less than it stays, see `LINGER` in `receiver.ts`. */
const BELIEVED = 50;
/** Seconds that PyMQ gives an answer to be fetched. */
const ANSWER_LIFE = 300;

/** Opens the sending half. */
export async function openSender(settings: Settings, context: SenderContext): Promise<Sender> {
  const names = new Names(context.namespace);
  const links: (Connection | ClusterClient)[] = [];
  let cluster: ClusterClient | undefined;
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
  const events = new Connection(settings, context.sendTimeout, observer, new Master(settings, true));
  links.push(events);
  if (settings.cluster) links.push(cluster = new ClusterClient(settings, context.sendTimeout, observer));
  const opened = await Promise.allSettled(links.map((link) => link.open(context.connectTimeout)));
  const failed = opened.find((result) => result.status === "rejected");
  if (!failed) return new RedisSender(settings, names, events, cluster);
  await Promise.all(links.map((link) => link.close()));
  throw failed.reason;
}

class RedisSender implements Sender {
  readonly replies: ReplyQueues;
  #names: Names;
  #events: Client;
  #queues: Client;
  #maxEvent: number;
  /** Each of its nodes counts its own subscribers only: PUBLISH cannot tell, and all have to be asked. */
  #cluster: ClusterClient | undefined;
  /** The inboxes that were there a moment ago. */
  #recent = { inboxes: new Set<string>(), until: 0 };
  /** Those that all nodes are about to be asked for. */
  #asking: { readonly inboxes: Set<string>; readonly present: Promise<readonly string[]> } | undefined;

  constructor(settings: Settings, names: Names, events: Client, cluster: ClusterClient | undefined) {
    this.#names = names;
    this.#events = events;
    this.#queues = cluster ?? events;
    this.#maxEvent = settings.maxEvent;
    this.#cluster = cluster;
    this.replies = {
      lingers: true,
      open: () => Promise.resolve(),
      candidates: async (topic) => (await this.#subscribers([this.#names.channel(topic)]))?.[0],
      put: async (queue, body) => {
        limit(body, MAX_BODY, "proto-max-bulk-len");
        await run(this.#queues, count, ANSWER, [this.#names.list(queue)], [body, ANSWER_LIFE]);
      },
      register: (topic, inbox) => register(this.#queues, this.#names, topic, inbox),
    };
  }

  publish(topic: string, body: string): Promise<number | undefined> {
    const count = this.#publish(this.#names.channel(topic), body);
    return this.#cluster ? count.then(() => undefined) : count;
  }

  /**
   * In a Cluster nobody counts whom it reaches, so whether the bus takes messages is asked before. One that is about to close stays a
   * moment after it has said no: what was sent on a yes arrives.
   */
  async post(inbox: string, body: string): Promise<boolean | undefined> {
    if (this.#cluster && !await this.#there(inbox)) return false;
    const count = await this.#publish(inbox, body);
    return count > 0 || (this.#cluster ? undefined : false);
  }

  async servers(topic: string, options: ServersOptions = {}): Promise<RegisteredServer[]> {
    const { max = Number.MAX_SAFE_INTEGER, listening = false } = options;
    const inboxes = await run(this.#queues, texts, SERVERS, [this.#names.servers(topic)], [max, Math.random()]);
    if (!listening) return inboxes.map((inbox) => ({ inbox }));
    const present = new Set(await this.#present(inboxes));
    return inboxes.map((inbox) => ({ inbox, listening: present.has(inbox) }));
  }

  /** Those of these inboxes that a receiver listens to now; all of them where the nodes of a Cluster cannot tell. */
  async #present(inboxes: readonly string[]): Promise<string[]> {
    if (inboxes.length === 0) return [];
    const channels = this.#cluster ? inboxes.map((inbox) => this.#names.accepting(inbox)) : inboxes;
    const counts = await this.#subscribers(channels);
    return inboxes.filter((_, i) => !counts || counts[i]! > 0);
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

  /** Whether a bus takes messages; those asked for in one turn are asked for together, and a yes is believed for a moment. */
  async #there(inbox: string): Promise<boolean> {
    const now = performance.now();
    if (now > this.#recent.until) this.#recent = { inboxes: new Set(), until: now + BELIEVED };
    const { inboxes } = this.#recent;
    if (inboxes.has(inbox)) return true;
    const asking = this.#asking ??= { inboxes: new Set(), present: Promise.resolve().then(() => this.#askTogether()) };
    asking.inboxes.add(inbox);
    const there = (await asking.present).includes(inbox);
    if (there) inboxes.add(inbox);
    return there;
  }

  #askTogether(): Promise<readonly string[]> {
    const { inboxes } = this.#asking!;
    this.#asking = undefined;
    return this.#present([...inboxes]);
  }

  /** How many subscribe to each of these channels; undefined when a node of a Cluster does not say. */
  async #subscribers(channels: readonly string[]): Promise<number[] | undefined> {
    const command = [subscribers(channels), "pubsub", "numsub", ...channels] as const;
    if (!this.#cluster) return await this.#events.call(...command);
    const nodes = await this.#cluster.askAll(...command);
    return nodes && channels.map((_, i) => nodes.reduce((sum, counts) => sum + counts[i]!, 0));
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
