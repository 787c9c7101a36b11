/**
 * The names of channels and keys. PyMQ's for what PyMQ knows: `__eventbus:<namespace>:<name>`. Ours begin with `__tsmq:`, where no
 * topic, queue or pattern of a user can reach, and end with the PyMQ name that they belong to.
 *
 * @module
 */

import { ValidationError } from "../../errors.ts";

/** The keys of one queue. They share a Cluster slot. */
export interface QueueKeys {
  /** PyMQ's list: put at the left, taken from the right. */
  readonly list: string;
  /** A sorted set of what is leased or put back: member → when it is due, in ms of the server's clock. */
  readonly due: string;
  /** A hash of the bodies of what is leased or put back. */
  readonly items: string;
  /** `__tsmq:{slot}`, the beginning of any further key of the queue. */
  readonly prefix: string;
}

/** Names of one namespace. */
export class Names {
  /** What every channel and list begins with. */
  readonly prefix: string;
  #escaped: string;

  /**
   * The names of a namespace.
   *
   * @throws {ValidationError} when it holds a colon: PyMQ joins names by it, so topic `eu:x` of `shop` would be topic `x` of `shop:eu`
   */
  constructor(namespace: string) {
    if (namespace.includes(":")) {
      throw new ValidationError(
        `Cannot use "${namespace}" as a namespace on Redis: it contains a colon, which separates namespaces from topics and queues`,
      );
    }
    this.prefix = `__eventbus:${namespace}:`;
    this.#escaped = this.prefix.replace(/[\\*?[\]]/g, "\\$&");
  }

  /** The channel of a topic. */
  channel(topic: string): string {
    return this.prefix + topic;
  }

  /** What to PSUBSCRIBE to: the namespace taken literally, the user's glob as it is. */
  pattern(glob: string): string {
    return this.#escaped + glob;
  }

  /** The topic of a channel. */
  topic(channel: string): string {
    return channel.slice(this.prefix.length);
  }

  /** The channel of a new inbox; 128 random bits, so nobody guesses it. */
  inbox(): string {
    return `__tsmq:inbox:${this.prefix}${crypto.randomUUID().replaceAll("-", "")}`;
  }

  /** The channel that an inbox's bus listens to as long as messages may be sent to it, in a Cluster: see `RedisSender.post`. */
  open(inbox: string): string {
    return `${inbox}:open`;
  }

  /** The sorted set of the inboxes that serve a topic: inbox → when its registration ends. */
  servers(topic: string): string {
    return `__tsmq:servers:${this.prefix}${topic}`;
  }

  /** The list of a queue. */
  list(name: string): string {
    return this.prefix + name;
  }

  /** The keys of a queue. */
  queue(name: string): QueueKeys {
    const list = this.list(name);
    const prefix = `__tsmq:{${hashTag(list)}}`;
    return { list, due: `${prefix}due:${list}`, items: `${prefix}items:${list}`, prefix };
  }
}

/** Slots of a Redis Cluster. */
const SLOTS = 16_384;
const found = new Map<string, string>();
/** Tags that were searched for are kept, up to so many. */
const FOUND = 1_000;

/** What to write between braces so that a key falls into the slot of `key`. */
export function hashTag(key: string): string {
  const own = tagIn(key);
  if (own !== undefined) return own;
  if (!key.includes("}")) return key;
  let tag = found.get(key);
  if (tag !== undefined) return tag;
  const slot = crc16(key) % SLOTS;
  for (let n = 0; tag === undefined; n++) if (crc16(String(n)) % SLOTS === slot) tag = String(n);
  if (found.size >= FOUND) found.clear();
  found.set(key, tag);
  return tag;
}

/** What Redis hashes instead of the whole key: between the first `{` and the next `}`, unless that is nothing. */
function tagIn(key: string): string | undefined {
  const open = key.indexOf("{");
  if (open < 0) return undefined;
  const close = key.indexOf("}", open + 1);
  return close > open + 1 ? key.slice(open + 1, close) : undefined;
}

const encoder = new TextEncoder();

/**
 * CRC-16/XMODEM, by which Redis Cluster finds the slot of a key. The package `cluster-key-slot` 1.1.2 takes `{}{a}` for a key
 * with the tag `a`; Redis hashes the whole key.
 */
function crc16(text: string): number {
  let crc = 0;
  for (const byte of encoder.encode(text)) {
    crc ^= byte << 8;
    for (let bit = 0; bit < 8; bit++) crc = crc & 0x8000 ? ((crc << 1) ^ 0x1021) & 0xffff : (crc << 1) & 0xffff;
  }
  return crc;
}
