/**
 * The names that topics, queues and buses have in AWS, where only `[A-Za-z0-9_-]` is allowed.
 *
 * Characters that PyMQ 0.5 escapes are escaped as PyMQ does it; others become `_U<hex>_`. If a name contains a marker by accident, its
 * underscores are escaped too. So names without a hash can be decoded, and no two names have the same encoding. A name that is too long
 * ends with its SHA-256.
 *
 * @module
 */
import { createHash } from "node:crypto";

/** The markers of PyMQ 0.5. */
const MARKERS: ReadonlyMap<string, string> = new Map([
  ["*", "_WCD_"],
  ["/", "_FWS_"],
  [".", "_DOT_"],
  [":", "_COL_"],
  ["<", "_LT_"],
  [">", "_GT_"],
]);
const CHARACTERS: ReadonlyMap<string, string> = new Map([...MARKERS].map(([character, marker]) => [marker, character]));
/** Matches any marker: of a character, a hash, a namespace, or an internal topic. */
const MARKER = /_(?:WCD|FWS|DOT|COL|LT|GT|NS|RPC|ALL|U[0-9A-F]{1,6}|H[0-9a-f]{64})_/g;

/** The number of characters that SNS allows in a name. */
const TOPIC_LENGTH = 256;
/** The number of characters that SQS allows in a name, `.fifo` included. */
const QUEUE_LENGTH = 80;
/** The end of the names of FIFO queues. */
const FIFO = ".fifo";
/** The namespace whose names have no prefix, as in PyMQ. */
const PYMQ_NAMESPACE = "global";
/** The marker on both sides of the namespace. No name of PyMQ's namespace begins with it. */
export const NAMESPACE = "_NS_";
/** The marker of the registry topic of a function, to which its servers also subscribe. */
const REGISTRY = "_RPC_";
/** The topic that receives every event of the namespace while there are pattern subscriptions. */
const ALL = "_ALL_";
/** The prefix of the names of the queues that buses create for themselves. */
export const BUS_PREFIX = "tsmq-";
/** The number of digits at the end of the name of a bus's queue. */
const BUS_ID_LENGTH = 32;
/** The largest number of characters of a namespace in the name of a bus's queue: 80 minus the prefix, a dash and the digits. */
const BUS_NAMESPACE_LENGTH = 40;
/** Matches a namespace that looks like the hash of a longer one in such a name. */
const BUS_NAMESPACE_HASH = /^[0-9a-f]{40}$/;

/** The names of one namespace. */
export class Names {
  /** The topic that receives every event of the namespace while there are pattern subscriptions. */
  readonly all: string;
  /** The prefix of the names of the queues that the buses of this namespace create for themselves. */
  readonly busPrefix: string;
  /** The prefix of the names of topics and queues; empty for PyMQ's namespace. */
  readonly prefix: string;

  /** Prepares the names of this namespace. */
  constructor(namespace: string) {
    this.prefix = namespace === PYMQ_NAMESPACE ? "" : `${NAMESPACE}${shorten(strict(namespace), 100)}${NAMESPACE}`;
    this.all = this.prefix + ALL;
    this.busPrefix = `${BUS_PREFIX}${busNamespace(escapeName(namespace))}-`;
  }

  /** Returns the name of the SNS topic of a topic. */
  topic(topic: string): string {
    return shorten(this.prefix + escapeName(topic), TOPIC_LENGTH - REGISTRY.length);
  }

  /** Returns the name of the registry topic of a function. Nothing is published to it: its subscriptions are the function's servers. */
  registry(topic: string): string {
    return registryOf(this.topic(topic));
  }

  /** Returns the name of the SQS queue of a named queue. */
  queue(queue: string): string {
    const fifo = queue.length > FIFO.length && queue.endsWith(FIFO);
    const stem = fifo ? queue.slice(0, -FIFO.length) : queue;
    const name = shorten(this.prefix + escapeName(stem), fifo ? QUEUE_LENGTH - FIFO.length : QUEUE_LENGTH);
    return (name.startsWith(BUS_PREFIX) ? shorten(escapeFirst(name), 75) : name) + (fifo ? FIFO : "");
  }

  /**
   * Returns the name of the queue that this SQS queue stores; undefined if it belongs to another namespace or to a bus, or if its name is a
   * hash.
   */
  queueOf(name: string): string | undefined {
    if (!this.ownsTopic(name) || ownedByBus(name)) return undefined;
    const fifo = keepsOrder(name);
    const stem = unescapeName(name.slice(this.prefix.length, fifo ? -FIFO.length : undefined));
    return stem && fifo ? stem + FIFO : stem || undefined;
  }

  /** Returns the name of the topic of this SNS topic; undefined if it belongs to another namespace, or if its name is a hash. */
  topicOf(name: string): string | undefined {
    return this.ownsTopic(name) ? unescapeName(name.slice(this.prefix.length)) || undefined : undefined;
  }

  /** Returns true if the SNS topic belongs to this namespace. */
  ownsTopic(topic: string): boolean {
    return this.prefix === "" ? !topic.startsWith(NAMESPACE) : topic.startsWith(this.prefix);
  }

  /** Returns true if a bus of this namespace created the SQS queue for itself. */
  ownsBus(queue: string): boolean {
    return queue.startsWith(this.busPrefix) && ownedByBus(queue) &&
      queue.length === this.busPrefix.length + BUS_ID_LENGTH;
  }

  /** Returns a new, unguessable name for a bus's own queue. */
  bus(): string {
    return this.busPrefix + crypto.randomUUID().replaceAll("-", "");
  }
}

/** Returns the registry topic that belongs to an SNS topic. */
export function registryOf(topic: string): string {
  return topic + REGISTRY;
}

/** Returns the SNS topic to which a registry topic belongs; undefined for other topics. */
export function topicOfRegistry(topic: string): string | undefined {
  return topic.endsWith(REGISTRY) ? topic.slice(0, -REGISTRY.length) : undefined;
}

/** Returns true if a bus created the SQS queue for itself. */
export function ownedByBus(queue: string): boolean {
  return queue.startsWith(BUS_PREFIX) && /-[0-9a-f]{32}$/.test(queue);
}

/** Returns true for a FIFO queue. */
export function keepsOrder(queue: string): boolean {
  return queue.endsWith(FIFO);
}

/** Encodes any Unicode name as letters, digits, dashes and underscores. */
export function escapeName(name: string): string {
  if (/^[A-Za-z0-9-]+$/.test(name)) return name;
  const escaped = escapeAll(name, /[^A-Za-z0-9_-]/gu);
  return unescapeName(escaped) === name ? escaped : strict(name);
}

/** Decodes a name that {@linkcode escapeName} encoded. Returns undefined for a hash, and for an internal name. */
export function unescapeName(escaped: string): string | undefined {
  let readable = true;
  const name = escaped.replace(MARKER, (marker) => {
    const escaped = CHARACTERS.get(marker);
    if (escaped !== undefined) return escaped;
    const code = marker[1] === "U" ? parseInt(marker.slice(2), 16) : NaN;
    const character = code <= 0x10ffff ? String.fromCodePoint(code) : "";
    if (character.isWellFormed() && character !== "") return character;
    readable = false;
    return "";
  });
  return readable ? name : undefined;
}

/** Escapes underscores too, so that each underscore of the result belongs to a marker. */
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

/** Returns the namespace for the name of a bus's queue: digits of its hash if it is too long, or if it looks like such digits itself. */
function busNamespace(escaped: string): string {
  if (escaped.length <= BUS_NAMESPACE_LENGTH && !BUS_NAMESPACE_HASH.test(escaped)) return escaped;
  return hashOf(escaped).slice(0, BUS_NAMESPACE_LENGTH);
}

/** Shortens a name that is too long: keeps its head and appends the hash of the whole name. */
function shorten(escaped: string, length: number): string {
  if (escaped.length <= length) return escaped;
  const hash = `_H${hashOf(escaped)}_`;
  return escaped.slice(0, length - hash.length) + hash;
}

function hashOf(text: string): string {
  return createHash("sha256").update(text).digest("hex");
}
