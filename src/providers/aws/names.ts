/**
 * The names that topics, queues and buses have in AWS, where only `[A-Za-z0-9_-]` is allowed.
 *
 * What PyMQ 0.5 writes is written as PyMQ writes it; what it leaves out is `_U<hex>_`. A name in which a marker stands
 * by accident has its underscores escaped too, so a name that is not hashed can be read back, and no two names are
 * written alike. A name that is too long ends in its SHA-256.
 *
 * @module
 */
import { createHash } from "node:crypto";

/** Markers of PyMQ 0.5. */
const MARKERS: ReadonlyMap<string, string> = new Map([
  ["*", "_WCD_"],
  ["/", "_FWS_"],
  [".", "_DOT_"],
  [":", "_COL_"],
  ["<", "_LT_"],
  [">", "_GT_"],
]);
const CHARACTERS: ReadonlyMap<string, string> = new Map([...MARKERS].map(([character, marker]) => [marker, character]));
/** What stands for something else than itself: a character, a hash, a namespace, or a topic of our own. */
const MARKER = /_(?:WCD|FWS|DOT|COL|LT|GT|NS|RPC|ALL|U[0-9A-F]{1,6}|H[0-9a-f]{64})_/g;

/** SNS allows names of 256 characters. */
const TOPIC_LENGTH = 256;
/** SQS allows names of 80 characters, `.fifo` included. */
const QUEUE_LENGTH = 80;
/** Ends the names of queues that keep the order. */
const FIFO = ".fifo";
/** The namespace whose names are PyMQ's: PyMQ's topics and queues know no namespace. */
const BARE = "global";
/** Stands on both sides of the namespace. */
const NAMESPACE = "_NS_";
/** Marks the topic that the servers of a function subscribe to, beside the function's own. */
const REGISTRY = "_RPC_";
/** The topic that gets every event of the namespace while somebody subscribes to patterns. */
const ALL = "_ALL_";
/** Begins the name of every bus's own queue. */
export const BUS_PREFIX = "tsmq-";
/** Digits at the end of that name. */
const BUS_ID_LENGTH = 32;
/** Characters of a namespace in the name of a bus's queue: 80 less the prefix, a dash and the digits. */
const BUS_NAMESPACE_LENGTH = 40;

/** The names of one namespace. */
export class Names {
  /** The topic that gets every event of the namespace while somebody subscribes to patterns. */
  readonly all: string;
  /** How the name of every queue begins that a bus of this namespace made for itself. */
  readonly busPrefix: string;
  readonly #prefix: string;

  /** The names of this namespace. */
  constructor(namespace: string) {
    this.#prefix = namespace === BARE ? "" : `${NAMESPACE}${shorten(strict(namespace), 100)}${NAMESPACE}`;
    this.all = this.#prefix + ALL;
    this.busPrefix = `${BUS_PREFIX}${shorten(escapeName(namespace), BUS_NAMESPACE_LENGTH)}-`;
  }

  /** The SNS topic of a topic. */
  topic(topic: string): string {
    return shorten(this.#prefix + escapeName(topic), TOPIC_LENGTH - REGISTRY.length);
  }

  /** The SNS topic to which nothing is published: its subscriptions are the servers of a function. */
  registry(topic: string): string {
    return registryOf(this.topic(topic));
  }

  /** The SQS queue of a named queue. */
  queue(queue: string): string {
    const fifo = queue.length > FIFO.length && queue.endsWith(FIFO);
    const stem = fifo ? queue.slice(0, -FIFO.length) : queue;
    const name = shorten(this.#prefix + escapeName(stem), fifo ? QUEUE_LENGTH - FIFO.length : QUEUE_LENGTH);
    return (name.startsWith(BUS_PREFIX) ? shorten(escapeFirst(name), 75) : name) + (fifo ? FIFO : "");
  }

  /** True if the SNS topic is one of this namespace. */
  ownsTopic(topic: string): boolean {
    return this.#prefix === "" ? !topic.startsWith(NAMESPACE) : topic.startsWith(this.#prefix);
  }

  /** True if a bus of this namespace made the SQS queue for itself. */
  ownsBus(queue: string): boolean {
    return queue.startsWith(this.busPrefix) && ownedByBus(queue) &&
      queue.length === this.busPrefix.length + BUS_ID_LENGTH;
  }

  /** A name for a bus's own queue that nobody can guess. */
  bus(): string {
    return this.busPrefix + crypto.randomUUID().replaceAll("-", "");
  }
}

/** The registry that belongs to an SNS topic. */
export function registryOf(topic: string): string {
  return topic + REGISTRY;
}

/** True if a bus made the SQS queue for itself. */
export function ownedByBus(queue: string): boolean {
  return queue.startsWith(BUS_PREFIX) && /-[0-9a-f]{32}$/.test(queue);
}

/** True if the SQS queue keeps the order. */
export function keepsOrder(queue: string): boolean {
  return queue.endsWith(FIFO);
}

/** Writes a name of any Unicode in letters, digits, dashes and underscores. */
export function escapeName(name: string): string {
  if (/^[A-Za-z0-9-]+$/.test(name)) return name;
  const escaped = escapeAll(name, /[^A-Za-z0-9_-]/gu);
  return unescapeName(escaped) === name ? escaped : strict(name);
}

/** Reads what {@linkcode escapeName} wrote; `undefined` for a hash and for what is no name of a user. */
export function unescapeName(escaped: string): string | undefined {
  let readable = true;
  const name = escaped.replace(MARKER, (marker) => {
    const character = CHARACTERS.get(marker);
    if (character !== undefined) return character;
    const code = marker[1] === "U" ? parseInt(marker.slice(2), 16) : NaN;
    if (code <= 0x10ffff) return String.fromCodePoint(code);
    readable = false;
    return "";
  });
  return readable ? name : undefined;
}

/** Escapes underscores too, so that each one in the result belongs to a marker. */
function strict(name: string): string {
  return escapeAll(name, /[^A-Za-z0-9-]/gu);
}

function escapeAll(name: string, characters: RegExp): string {
  return name.replace(characters, (character) => MARKERS.get(character) ?? codeOf(character));
}

function codeOf(character: string): string {
  return `_U${character.codePointAt(0)!.toString(16).toUpperCase()}_`;
}

function escapeFirst(name: string): string {
  return codeOf(name[0]!) + name.slice(1);
}

/** Keeps the head of a name that is too long, and adds the hash of all of it. */
function shorten(escaped: string, length: number): string {
  if (escaped.length <= length) return escaped;
  const hash = `_H${createHash("sha256").update(escaped).digest("hex")}_`;
  return hash.length > length ? hash.slice(2, 2 + length) : escaped.slice(0, length - hash.length) + hash;
}
