/**
 * The envelopes of a bus with keys: each message has a signature over its namespace, destination, headers, body and time, and is encrypted
 * if the bus has the option `encrypt`. The format is described in `docs/wire.md`, "Signatures".
 *
 * @module
 */
import { Buffer } from "node:buffer";
import {
  type Destination,
  ENCRYPTION,
  type Envelopes,
  type Received,
  separate,
  type Signed,
  wrap,
} from "../codec/envelope.ts";
import {
  type Header,
  itemHeaders,
  listHeaders,
  type MessageHeaders,
  NO_HEADERS,
  readEntries,
  readTopicHeader,
  TOPIC,
  topicIn,
  withHeader,
  withTopic,
} from "../codec/headers.ts";
import { UntrustedError } from "../errors.ts";
import { TextMap } from "../internal/text_map.ts";
import { ownText } from "../internal/utf8.ts";
import { largestText } from "../provider/largest_text.ts";
import { DEAD, parseGroupQueue } from "../provider/queue_names.ts";
import { equal } from "./hmac.ts";
import { type Key, Keyring, type SecretKey } from "./keyring.ts";

/** The header with the signature: version, id of the key, time, nonce, HMAC. */
const SIGNATURE = "tsmq-signature";
/** Its five fields. A line feed in one would divide the signed text at another place. */
const FIELDS = /^[\x21-\x7e]+(?: [\x21-\x7e]+){4}$/;
/**
 * The headers that a signature does not cover: anybody may change them. The topic is a part of the destination. It is no set: see
 * {@linkcode Keyring.get}.
 */
const UNCOVERED: readonly string[] = [SIGNATURE, ENCRYPTION, TOPIC];
/** A destination with its name. */
type NamedDestination = readonly [destination: Destination, name: string];
/** A message whose signature is not verified yet. */
interface Unverified {
  readonly signature: string | undefined;
  readonly encryption: string | undefined;
  readonly topic: string | undefined;
  /** The other headers, which the signature covers. */
  readonly covered: readonly Header[];
  /** Whether a sender can have written these headers: none that is not covered occurs twice, and an encrypted message has no other ones. */
  readonly valid: boolean;
  readonly body: string;
}
/** A received message, and the kind of destination that it was signed for. */
interface Verified extends Received {
  readonly as?: Destination;
}
/** The version of the signature of a message that is not encrypted. `VERSION_ENCRYPTED` is that of an encrypted message. */
const VERSION_SIGNED = "1";
const VERSION_ENCRYPTED = "1e";

/** The number of random bytes of a session's name, so that no two sessions have the same name. */
const SESSION_BYTES = 16;

/** The largest number of inboxes that are known to need encryption. If there are more, messages to all inboxes are encrypted. */
const MAX_INBOXES = 10_000;

/** The envelopes of a bus with keys. */
export class SignedEnvelopes implements Envelopes {
  readonly signed = true;
  readonly #namespace: string;
  readonly #keys: Keyring;
  readonly #encrypt: boolean;
  /** The largest number of characters of a text that this bus reads. */
  readonly #largest: number;
  /** A random name of this bus: the first part of its nonces, and of the keys that it encrypts with. */
  readonly #session = randomName();
  /** The number of the last nonce. */
  #count = 0;
  /** The inboxes of the buses that have sent encrypted requests. Undefined if messages to all inboxes are encrypted. */
  #inboxes: TextMap<true> | undefined = new TextMap();

  /**
   * Creates the envelopes of a bus, which accepts bodies of at most `maxReceive` bytes. With `encrypt`, it encrypts all messages, and accepts
   * only encrypted ones.
   */
  constructor(namespace: string, keys: readonly SecretKey[], encrypt: boolean, maxReceive = Infinity) {
    this.#namespace = namespace;
    this.#keys = new Keyring(keys);
    this.#encrypt = encrypt;
    this.#largest = largestText(maxReceive);
  }

  seal(destination: Destination, name: string, body: string, headers?: MessageHeaders): string {
    const { first } = this.#keys;
    // a dead letter contains its item, which another member may have encrypted
    const encrypt = this.#encrypt || encrypted(itemHeaders(headers)?.[SIGNATURE]) ||
      destination === "inbox" && this.#inboxes?.has(name) !== false;
    const version = encrypt ? VERSION_ENCRYPTED : VERSION_SIGNED;
    const stamp = `${version} ${first.id} ${Date.now().toString(36)} ${this.#session}.${(++this.#count).toString(36)}`;
    const listed = listCovered(headers);
    const signature = `${stamp} ${first.sign(this.#signed(stamp, [destination, name], listed, body))}`;
    if (encrypt) return this.#encrypted(listed, body, signature);
    return wrap(body, withHeader(headers, SIGNATURE, signature));
  }

  open(destination: Destination, name: string, text: string): Received {
    return this.#open([[destination, name]], outline(text), text);
  }

  openItem(queue: string, text: string, topic: string | undefined, stored: boolean): Received {
    const outer = outline(text);
    const about = topic ?? readTopicHeader(outer?.topic);
    const event = stored ? eventOf(queue, about) : undefined;
    const item = ["item", queue] as const;
    const received = this.#open(event === undefined ? [item] : [["event", event], item], outer, text);
    // the signature of an item does not cover a topic; an item that is refused keeps it in its dead letter
    const has = about !== undefined && (received.refused || received.as === "event");
    return has ? { ...received, topic: about } : received;
  }

  restore(_queue: string, item: string, headers: MessageHeaders | undefined): string {
    const own = itemHeaders(headers);
    const signature = own?.[SIGNATURE];
    // an item that was never signed, or whose signature was refused, is not signed now either
    if (signature === undefined || !encrypted(signature)) return wrap(item, own);
    return this.#encrypted(listCovered(own), item, signature, own);
  }

  encryptTo(inbox: string): void {
    this.#inboxes?.set(inbox, true);
    if (this.#inboxes && this.#inboxes.size > MAX_INBOXES) this.#inboxes = undefined;
  }

  /**
   * Reads a text that was signed for one of the destinations. `outer` has its headers and its body, if it has an envelope. Until the signature
   * is verified, no part of the text is parsed or used as a key of an object or a map, because others may choose keys that collide.
   */
  #open(destinations: readonly NamedDestination[], outer: Unverified | undefined, text: string): Verified {
    const refuse = (why: string): Received => ({ body: text, refused: refusal(destinations.at(-1)!, why) });
    if (text.length > this.#largest) return refuse("it is larger than maxReceive"); // before it costs the time of an HMAC
    if (outer?.signature === undefined) return refuse("it is not signed");
    const { signature, encryption } = outer;
    if (encryption === undefined && this.#encrypt) return refuse("it is not encrypted");
    if (!outer.valid) return refuse("its headers are not valid");
    const [version, id, time, nonce, hmac] = signature.split(" ", 5);
    if (!FIELDS.test(signature) || version !== (encryption === undefined ? VERSION_SIGNED : VERSION_ENCRYPTED)) {
      return refuse("its signature is not valid");
    }
    const key = this.#keys.get(id!);
    if (!key) return refuse("this bus does not have the key that it is signed with");
    let { body } = outer;
    let listed: string | undefined;
    if (encryption !== undefined) {
      const inner = this.#decrypted(body, signature, encryption);
      if (!inner) return refuse("it cannot be decrypted");
      ({ body, listed } = inner);
    }
    const stamp = signature.slice(0, -hmac!.length - 1);
    const covered = listed ?? list(outer.covered);
    const right = destinations.find((destination) =>
      equal(hmac!, key.sign(this.#signed(stamp, destination, covered, body)))
    );
    if (!right) return refuse("its signature does not match");
    const headers = unlist(covered);
    if (!headers) return refuse("its headers are not valid");
    const signed: Signed = {
      key: key.id,
      time: parseInt(time!, 36) || 0, // a member can sign any text
      nonce: nonce!,
      encrypted: encryption !== undefined,
    };
    // the signature stays with an item that becomes a dead letter. It is a part of the text, which would stay in memory with it
    const kept = destinations.at(-1)![0] === "item" ? withHeader(headers, SIGNATURE, ownText(signature)) : headers;
    return { body, headers: kept, signed, as: right[0] };
  }

  /** Returns the text that a signature covers. Only the body, its last part, may contain a line feed. */
  #signed(stamp: string, destination: NamedDestination, headers: string, body: string): string {
    return `tsmq ${stamp}\n${JSON.stringify([this.#namespace, ...destination])}\n${headers}\n${body}`;
  }

  /** Encrypts a message. Its signature covers its destination; the encryption covers the signature. */
  #encrypted(headers: string, body: string, signature: string, own?: MessageHeaders): string {
    const { first } = this.#keys;
    const count = ++this.#count;
    const text = first.cipher.encrypt(`${headers}\n${body}`, signature, this.#session, count);
    const encryption = `${first.id} ${this.#session} ${count.toString(36)}`;
    return wrap(`"${text}"`, withTopic({ [SIGNATURE]: signature, [ENCRYPTION]: encryption }, topicIn(own)));
  }

  /** Returns the body and the covered headers of an encrypted message. */
  #decrypted(body: string, signature: string, encryption: string): { body: string; listed: string } | undefined {
    const [id, session, count, ...more] = encryption.split(" ", 4);
    const key: Key | undefined = this.#keys.get(id!);
    const number = parseInt(count ?? "", 36);
    if (!key || session?.length !== this.#session.length || !Number.isSafeInteger(number) || more.length > 0) {
      return undefined;
    }
    if (!body.startsWith('"') || !body.endsWith('"')) return undefined;
    const text = key.cipher.decrypt(body.slice(1, -1), signature, session, number);
    const end = text?.indexOf("\n") ?? -1;
    return end < 0 ? undefined : { body: text!.slice(end + 1), listed: text!.slice(0, end) };
  }
}

/**
 * Returns the topic for which the items of a group's queue are signed; undefined for any other queue. It is not compared with the target of
 * the group: on AWS, the queue of a pattern has the events of all topics, and its group skips the others.
 */
function eventOf(queue: string, topic: string | undefined): string | undefined {
  const { target } = parseGroupQueue(queue) ?? {};
  return target === undefined || queue.endsWith(DEAD) ? undefined : topic ?? target;
}

/** Returns whether the message with this signature is encrypted. */
function encrypted(signature: string | undefined): boolean {
  return signature?.startsWith(`${VERSION_ENCRYPTED} `) ?? false;
}

/** Separates the headers of a message from its body. Returns undefined if it has no headers. */
function outline(text: string): Unverified | undefined {
  const { head, body } = separate(text) ?? { head: "", body: "" };
  const headers = listHeaders(head);
  if (!headers) return undefined;
  const values: (string | undefined)[] = UNCOVERED.map(() => undefined);
  const covered: Header[] = [];
  let repeated = false;
  for (const header of headers) {
    const index = UNCOVERED.indexOf(header[0]);
    if (index < 0) covered.push(header);
    else {
      repeated ||= values[index] !== undefined;
      values[index] = header[1];
    }
  }
  const [signature, encryption, topic] = values;
  const valid = !repeated && (encryption === undefined || covered.length === 0);
  return { signature, encryption, topic, covered, valid, body };
}

/** Writes headers in one line and in their order, as a signature covers them. */
function list(headers: readonly Header[]): string {
  return headers.length === 0 ? "" : JSON.stringify(headers);
}

/** Writes the headers of a message that is sent, without those that its signature does not cover. */
function listCovered(headers: MessageHeaders | undefined): string {
  return list(Object.entries(headers ?? {}).filter(([name]) => !UNCOVERED.includes(name)));
}

/** Reads the result of {@linkcode list}. */
function unlist(text: string): MessageHeaders | undefined {
  try {
    return text === "" ? NO_HEADERS : readEntries(JSON.parse(text) as Header[]);
  } catch {
    return undefined;
  }
}

function randomName(): string {
  return Buffer.from(crypto.getRandomValues(new Uint8Array(SESSION_BYTES))).toString("base64url");
}

function refusal([destination, name]: NamedDestination, why: string): UntrustedError {
  const what = { event: "an event on", item: "an item of queue", inbox: "a message" }[destination];
  return new UntrustedError(`Cannot accept ${destination === "inbox" ? what : `${what} "${name}"`}: ${why}`);
}
