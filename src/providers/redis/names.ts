/**
 * The names of channels and keys. Those that PyMQ shares have PyMQ's names, `__eventbus:<namespace>:<name>`. All others begin with
 * `__tsmq:`, which no topic, queue or pattern of a user can match, and end with the PyMQ name to which they belong.
 *
 * @module
 */
import { Buffer } from "node:buffer";
import { ValidationError } from "../../errors.ts";

/** The keys of one queue. They share a Cluster slot. */
export interface QueueKeys {
  /** PyMQ's list: items are put at the left and taken from the right. */
  readonly list: string;
  /** A sorted set of the leased and delayed items: member → the time when the item is due, in ms of the server's clock. */
  readonly due: string;
  /** A hash of the bodies of the leased and delayed items. */
  readonly items: string;
  /** A sorted set of the receivers that wait for an item: see `hand_over.ts`. */
  readonly receivers: string;
  /** A list of the items that are larger than a bus reads. They stay there until the queue is freed. */
  readonly aside: string;
  /** The prefix of any further key of the queue: `__tsmq:{slot}`. */
  readonly prefix: string;
  /** The prefix of the records of takes, which end with the id of a taker. */
  readonly records: string;
}

/** The end of the name of an inbox for answers only. */
const ANSWERS = ":answers";
/** The random part of the name of an inbox, and what may follow it. */
const INBOX_ID = new RegExp(`^[0-9a-f]{32}(${ANSWERS})?$`);

/** The names of one namespace. */
export class Names {
  /** The prefix of every channel and list. */
  readonly prefix: string;
  /** The prefix of the inboxes. */
  readonly inboxes: string;
  #escaped: string;
  /** The topic whose channel was used last, and that channel: events of one topic share the text. */
  #topic: string | undefined;
  #channel = "";

  /**
   * Creates the names of a namespace.
   *
   * @throws {ValidationError} when it contains a colon: PyMQ joins names with it, so topic `eu:x` of `shop` would be topic `x` of `shop:eu`
   */
  constructor(namespace: string) {
    if (namespace.includes(":")) {
      throw new ValidationError(
        `Cannot use "${namespace}" as a namespace on Redis: it contains a colon, which separates namespaces from topics and queues`,
      );
    }
    this.prefix = `__eventbus:${namespace}:`;
    this.#escaped = escapeGlob(this.prefix);
    this.inboxes = `__tsmq:inbox:${this.prefix}`;
  }

  /** Returns the channel of a topic. */
  channel(topic: string): string {
    if (topic !== this.#topic) {
      this.#topic = topic;
      this.#channel = this.prefix + topic;
    }
    return this.#channel;
  }

  /** Returns the pattern for PSUBSCRIBE: the escaped namespace, then the user's glob unchanged. */
  pattern(glob: string): string {
    return this.#escaped + glob;
  }

  /** Returns the topic of a channel. */
  topic(channel: string): string {
    return channel.slice(this.prefix.length);
  }

  /** Returns the channel of a new inbox. Its 128 random bits cannot be guessed. */
  inbox(): string {
    return `${this.inboxes}${crypto.randomUUID().replaceAll("-", "")}`;
  }

  /** The glob that matches the inboxes of all buses, but no inbox for answers only. */
  get everyInbox(): string {
    return escapeGlob(this.inboxes) + "[0-9a-f]".repeat(32);
  }

  /** The number of bytes of the channel of an inbox that serves functions. */
  get inboxBytes(): number {
    return Buffer.byteLength(this.inbox());
  }

  /** Returns the channel of a new inbox for answers only. */
  answerInbox(): string {
    return this.inbox() + ANSWERS;
  }

  /** Returns whether a channel is the inbox of a bus of this namespace, or could be. Addresses come from the wire. */
  isInbox(channel: string): boolean {
    return channel.startsWith(this.inboxes) && INBOX_ID.test(channel.slice(this.inboxes.length));
  }

  /** Returns the channel to which a bus of a Cluster is subscribed while its inbox accepts messages (see `RedisSender.post`). */
  accepting(inbox: string): string {
    return `${inbox}:open`;
  }

  /** Returns the channel to which items are handed over to the bus of this inbox. */
  handedOver(inbox: string): string {
    return `${inbox}:items`;
  }

  /** Returns the sorted set of the inboxes that serve a topic: inbox → the time when its registration expires. */
  servers(topic: string): string {
    return `__tsmq:servers:${this.prefix}${topic}`;
  }

  /** The hash of the queues that are bound to topics. */
  get bindings(): string {
    return `__tsmq:bindings:${this.prefix}`;
  }

  /** Returns the list of a queue. */
  list(name: string): string {
    return this.prefix + name;
  }

  /** Returns the keys of a queue. */
  queue(name: string): QueueKeys {
    const list = this.list(name);
    const prefix = `__tsmq:{${hashTag(list)}}`;
    const key = (kind: string) => `${prefix}${kind}:${list}`;
    return {
      list,
      due: key("due"),
      items: key("items"),
      receivers: key("receivers"),
      aside: key("aside"),
      prefix,
      records: `${prefix}record:`,
    };
  }
}

/** Returns a pattern that matches only this text. */
export function escapeGlob(text: string): string {
  return text.replace(/[\\*?[\]]/g, "\\$&");
}

/** The number of slots of a Redis Cluster. */
const SLOTS = 16_384;
/** Slot → the smallest number whose text has this slot, for the numbers below `nextTag`. Any client can write keys that need a tag. */
const tags = new Map<number, string>();
let nextTag = 0;

/** Returns a text for the braces of a key, so that the key has the same slot as `key`. */
function hashTag(key: string): string {
  const own = tagIn(key);
  if (own !== undefined) return own;
  if (!key.includes("}")) return key;
  const slot = slotOf(key);
  for (; !tags.has(slot); nextTag++) {
    const tag = String(nextTag);
    if (!tags.has(slotOf(tag))) tags.set(slotOf(tag), tag);
  }
  return tags.get(slot)!;
}

/** Returns the slot of a key without a hash tag. */
function slotOf(key: string): number {
  return crc16(key) % SLOTS;
}

/** Returns the hash tag of a key: the text between the first `{` and the next `}`, unless it is empty. */
function tagIn(key: string): string | undefined {
  const open = key.indexOf("{");
  if (open < 0) return undefined;
  const close = key.indexOf("}", open + 1);
  return close > open + 1 ? key.slice(open + 1, close) : undefined;
}

const encoder = new TextEncoder();

/** The CRC of each byte: other clients can write keys of megabytes. */
const CRC_OF_BYTE = Uint16Array.from({ length: 256 }, (_, byte) => {
  let crc = byte << 8;
  for (let bit = 0; bit < 8; bit++) crc = crc << 1 ^ (crc & 0x8000 ? 0x1021 : 0);
  return crc;
});

/**
 * CRC-16/XMODEM, from which Redis Cluster computes the slot of a key. The package `cluster-key-slot` 1.1.2 is not used because it
 * reads the tag `a` from the key `{}{a}`, where Redis hashes the whole key.
 */
function crc16(text: string): number {
  const bytes = encoder.encode(text);
  let crc = 0;
  for (let i = 0; i < bytes.length; i++) crc = (crc << 8 & 0xff00) ^ CRC_OF_BYTE[crc >> 8 ^ bytes[i]!]!;
  return crc;
}
