/**
 * The sending half of the Redis provider, on the user's thread, over one connection.
 *
 * @module
 */
import { Buffer } from "node:buffer";
import { BusError, ProviderError } from "../../errors.ts";
import { TextMap, textSet } from "../../internal/text_map.ts";
import { writeTopic } from "../../provider/topic_mark.ts";
import type {
  QueueInspector,
  QueuePeeker,
  RegisteredServer,
  ReplyQueues,
  Sender,
  SenderContext,
  SendOptions,
  ServersOptions,
} from "../../provider/provider.ts";
import { RedisAnswerInbox } from "./answer_inbox.ts";
import { Answers } from "./answers.ts";
import { Publisher } from "./bindings.ts";
import type { Client, Observer } from "./client.ts";
import { ClusterClient } from "./cluster.ts";
import { Connection } from "./connection.ts";
import { longestItem } from "./lua.ts";
import { Names } from "./names.ts";
import { Master } from "./master.ts";
import { isSmall, putOrHandOver } from "./hand_over.ts";
import { MAX_BODY, type Settings } from "./settings.ts";
import { register, servers } from "./registry.ts";
import { count, stats, subscribers, waiting } from "./replies.ts";
import { PEEK, PUT_LATER, SIZE, STATS } from "./inspect_scripts.ts";
import { run } from "./scripts.ts";

/** Milliseconds for which an inbox of a Cluster counts as open after a check: less than `LINGER` in `receiver.ts`. */
const OPEN_FOR = 50;
/** The largest number of characters of joined messages: with more, the receiver waits longer for the first one than it saves. */
const MAX_JOINED = 32_768;
/** The setting that limits events. */
const LIMIT_EVENT = "client-output-buffer-limit pubsub";

/** Opens the sending half of a Redis bus. */
export async function openSender(settings: Settings, context: SenderContext): Promise<Sender> {
  const names = new Names(context.namespace);
  const connections: (Connection | ClusterClient)[] = [];
  let cluster: ClusterClient | undefined;
  let connected = true;
  const observer: Observer = {
    up: () => {
      if (connected || !answers.up || !connections.every((connection) => connection.up)) return;
      connected = true;
      context.state(true);
    },
    down: (error: unknown) => {
      if (connected) context.state(false, error);
      connected = false;
    },
    stillDown: (error: unknown) => context.state(false, error),
  };
  const master = new Master(settings, true);
  const connect = (own: Observer) => new Connection(settings, context.sendTimeout, { ...observer, ...own }, master);
  const answers = new RedisAnswerInbox(names, settings.cluster !== undefined, connect, context.connectTimeout);
  const events = connect({});
  connections.push(events);
  if (settings.cluster) connections.push(cluster = new ClusterClient(settings, context.sendTimeout, observer));
  const abort = () => connections.forEach((connection) => connection.abort());
  context.signal?.addEventListener("abort", abort);
  const opened = await Promise.allSettled(connections.map((connection) => connection.open(context.connectTimeout)));
  context.signal?.removeEventListener("abort", abort);
  const failed = opened.find((result) => result.status === "rejected");
  if (!failed) return new RedisSender(settings, names, events, cluster, answers, longestItem(context.maxReceive));
  await Promise.all(connections.map((connection) => connection.close()));
  throw failed.reason;
}

class RedisSender implements Sender {
  readonly maxJoined: number;
  readonly replies: ReplyQueues;
  readonly answerInbox: RedisAnswerInbox;
  readonly inspector: QueueInspector;
  readonly peeker: QueuePeeker;
  #names: Names;
  #events: Client;
  #queues: Client;
  #publisher: Publisher;
  #maxEvent: number;
  /** The number of puts without a reply. */
  #puts = 0;
  #handsOver: boolean;
  /** The client of all nodes of a Cluster. Each node counts only its own subscribers, so all nodes have to be asked. */
  #cluster: ClusterClient | undefined;
  /** The inboxes that were open at the last check. */
  #open = { inboxes: new TextMap<true>(), until: 0 };
  /** The inboxes of the next check. */
  #asking: { readonly inboxes: TextMap<true>; readonly present: Promise<TextMap<true>> } | undefined;

  constructor(
    settings: Settings,
    names: Names,
    events: Client,
    cluster: ClusterClient | undefined,
    answerInbox: RedisAnswerInbox,
    longest: number,
  ) {
    this.answerInbox = answerInbox;
    this.#names = names;
    this.#events = events;
    this.#queues = cluster ?? events;
    this.#publisher = new Publisher(events, this.#queues, names);
    this.#maxEvent = settings.maxEvent;
    // an eighth: a character has at most three bytes, and the envelope adds less than that again
    this.maxJoined = Math.min(MAX_JOINED, settings.maxEvent / 8);
    this.#cluster = cluster;
    this.#handsOver = !cluster;
    this.peeker = {
      peek: (queue, offset, limit) => {
        const { list, due, items } = names.queue(queue);
        return run(this.#queues, waiting, PEEK, [list, due, items], [offset, limit, longest]);
      },
    };
    this.inspector = {
      stats: (queue) => {
        const { list, due } = names.queue(queue);
        return run(this.#queues, stats, STATS, [list, due], []);
      },
    };
    const answers = new Answers(this.#queues);
    this.replies = {
      lingers: true,
      open: () => Promise.resolve(),
      candidates: async (topic) => (await this.#subscribers([this.#names.channel(topic)]))?.[0],
      put: async (queue, body) => {
        limit(body, MAX_BODY, "proto-max-bulk-len");
        await answers.put(this.#names.list(queue), body);
      },
      register: (topic, inbox) => register(this.#queues, this.#names, topic, inbox),
    };
  }

  /** Publishes on the one connection, which keeps the order. In a Cluster, any node passes an event to all others. */
  publish(topic: string, body: string): Promise<number | undefined> {
    try {
      limit(body, this.#maxEvent, LIMIT_EVENT, "publish to", topic);
    } catch (error) {
      return Promise.reject(error);
    }
    const count = this.#publisher.publish(topic, body);
    return this.#cluster ? count.then(() => undefined) : count;
  }

  /**
   * Publishes a message to an inbox. In a Cluster, PUBLISH does not count the receivers, so this first checks that the inbox accepts
   * messages. A bus that closes keeps its inbox for a moment after it has stopped accepting, so messages that are sent after a check still
   * arrive.
   */
  async post(inbox: string, body: string): Promise<boolean | undefined> {
    if (!this.#names.isInbox(inbox)) return false;
    if (this.#cluster && !await this.#accepts(inbox)) return false;
    limit(body, this.#maxEvent, LIMIT_EVENT);
    const reached = await this.#events.call(count, "publish", inbox, body);
    return reached > 0 || (this.#cluster ? undefined : false);
  }

  async servers(topic: string, options: ServersOptions = {}): Promise<RegisteredServer[]> {
    const { max = Number.MAX_SAFE_INTEGER, listening = false } = options;
    const inboxes = await servers(this.#queues, this.#names, topic, max);
    if (!listening) return inboxes.map((inbox) => ({ inbox }));
    const present = await this.#present(inboxes);
    return inboxes.map((inbox) => ({ inbox, listening: present.has(inbox) }));
  }

  /** Returns the inboxes that have a subscribed receiver now. Returns all inboxes if a node of a Cluster does not answer. */
  async #present(inboxes: readonly string[]): Promise<TextMap<true>> {
    if (inboxes.length === 0) return new TextMap();
    const channels = this.#cluster ? inboxes.map((inbox) => this.#names.accepting(inbox)) : inboxes;
    const counts = await this.#subscribers(channels);
    return textSet(inboxes.filter((_, i) => !counts || counts[i]! > 0));
  }

  async send(queue: string, body: string, { signal, delay = 0 }: SendOptions): Promise<void> {
    signal?.throwIfAborted();
    limit(body, MAX_BODY, "proto-max-bulk-len", "put into queue", queue);
    if (delay > 0) {
      const { due, items } = this.#names.queue(queue);
      await run(this.#queues, count, PUT_LATER, [due, items], [
        writeTopic(body),
        Math.ceil(delay),
        crypto.randomUUID(),
      ]);
      return;
    }
    // while puts are on their way, receivers are busy, and LPUSH costs the server less
    const alone = this.#puts++ === 0;
    try {
      if (alone && this.#handsOver && isSmall(body)) await this.#handOver(queue, writeTopic(body));
      else await this.#put(queue, writeTopic(body));
    } finally {
      this.#puts--;
    }
  }

  async size(queue: string): Promise<number> {
    const { list, due } = this.#names.queue(queue);
    return await run(this.#queues, count, SIZE, [list, due], []);
  }

  async drop(queue: string): Promise<void> {
    const { list, due, items, aside } = this.#names.queue(queue);
    await this.#queues.call(count, "unlink", list, due, items, aside);
  }

  async close(): Promise<void> {
    await Promise.all([this.answerInbox.close(), this.#events.close(), this.#queues.close()]);
  }

  async #put(queue: string, body: string): Promise<void> {
    await this.#queues.call(count, "lpush", this.#names.list(queue), body);
  }

  async #handOver(queue: string, body: string): Promise<void> {
    try {
      await putOrHandOver(this.#queues, this.#names, queue, body);
    } catch (error) {
      if (!(error instanceof BusError) || error.code !== "denied") throw error;
      // the user may put, but not lease
      this.#handsOver = false;
      await this.#put(queue, body);
    }
  }

  /** Returns whether an inbox accepts messages. The inboxes of one turn share a check, whose result is reused for a moment. */
  async #accepts(inbox: string): Promise<boolean> {
    const now = performance.now();
    if (now > this.#open.until) this.#open = { inboxes: new TextMap(), until: now + OPEN_FOR };
    const { inboxes } = this.#open;
    if (inboxes.has(inbox)) return true;
    const asking = this.#asking ??= {
      inboxes: new TextMap<true>(),
      present: Promise.resolve().then(() => this.#checkTogether()),
    };
    asking.inboxes.set(inbox, true);
    const open = (await asking.present).has(inbox);
    if (open) inboxes.set(inbox, true);
    return open;
  }

  #checkTogether(): Promise<TextMap<true>> {
    const { inboxes } = this.#asking!;
    this.#asking = undefined;
    return this.#present([...inboxes.keys()]);
  }

  /** Returns the number of subscribers of each channel, or undefined if a node of a Cluster does not answer. */
  async #subscribers(channels: readonly string[]): Promise<number[] | undefined> {
    const command = [subscribers(channels), "pubsub", "numsub", ...channels] as const;
    if (!this.#cluster) return await this.#events.call(...command);
    const nodes = await this.#cluster.askAll(...command);
    return nodes && channels.map((_, i) => nodes.reduce((sum, counts) => sum + counts[i]!, 0));
  }
}

function limit(body: string, max: number, setting: string, verb?: string, name?: string): void {
  // a character has at most three bytes
  if (body.length * 3 <= max) return;
  const bytes = Buffer.byteLength(body);
  if (bytes <= max) return;
  const doing = verb === undefined ? "send to the inbox of a bus" : `${verb} "${name}"`;
  const why = `a message of ${bytes} bytes is too large for Redis: the limit is ${max} (${setting})`;
  throw new ProviderError("too_large", `Cannot ${doing}: ${why}`);
}
