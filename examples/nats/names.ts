/**
 * The subjects of NATS: `tsmq.<namespace>.<kind>.<name>`, where each part is one token.
 *
 * @module
 */
import { createHash } from "node:crypto";

/** The largest number of characters of a token: a stream's name has two tokens, and a file name has at most 255 bytes. */
const MAX = 110;
/** The prefix of the digest that replaces the end of a name that is too long. In an escaped name, two hexadecimal digits follow `=`. */
const DIGEST = "=-";

/** Escapes a text as a token, because `.`, `*`, `>` and spaces have a meaning in subjects, streams are folders, and `%` confuses the server. */
function token(name: string): string {
  const text = encodeURIComponent(name).replaceAll("%", "=").replaceAll(".", "=2E").replaceAll("*", "=2A");
  if (text.length <= MAX) return text;
  const digest = createHash("sha256").update(name).digest("hex");
  return text.slice(0, MAX - DIGEST.length - digest.length) + DIGEST + digest;
}

/** The subjects and streams of one namespace. */
export class Names {
  readonly #prefix: string;
  readonly #namespace: string;

  /** Creates the names of a namespace. */
  constructor(namespace: string) {
    this.#namespace = token(namespace);
    this.#prefix = `tsmq.${this.#namespace}`;
  }

  /** The subject of a topic's events. */
  topic(topic: string): string {
    return `${this.#prefix}.e.${token(topic)}`;
  }

  /** The subject of all events. */
  get topics(): string {
    return `${this.#prefix}.e.*`;
  }

  /** Whether the topic was too long for its subject, so that a header contains it. */
  digested(subject: string): boolean {
    return subject.includes(DIGEST);
  }

  /** Returns the topic of a subject without a digest. */
  topicOf(subject: string): string {
    return decodeURIComponent(subject.slice(subject.lastIndexOf(".") + 1).replaceAll("=", "%"));
  }

  /** The subject of the inbox with this id. */
  inbox(id: string): string {
    return `${this.#prefix}.i.${id}`;
  }

  /** Returns whether an address, which may come from the wire, is the subject of an inbox. */
  isInbox(address: string): boolean {
    const prefix = this.inbox("");
    return address.startsWith(prefix) && /^[0-9a-f-]{36}$/.test(address.slice(prefix.length));
  }

  /** The subject that registers the inbox with this id as a server of a topic; `*`: of all inboxes. */
  server(topic: string, id: string): string {
    return `${this.#prefix}.s.${token(topic)}.${id}`;
  }

  /** The inbox that a subject of {@linkcode server} registers. */
  registered(subject: string): string {
    return this.inbox(subject.slice(subject.lastIndexOf(".") + 1));
  }

  /** The subject of the binding with this text. */
  binding(text: string): string {
    return `${this.#prefix}.g.${createHash("sha256").update(text).digest("hex")}`;
  }

  /** The subjects of all bindings. */
  get bindings(): string {
    return `${this.#prefix}.g.*`;
  }

  /** The subject of a queue's items. */
  queue(queue: string): string {
    return `${this.#prefix}.q.${token(queue)}`;
  }

  /** The subject that announces the creation of a queue. */
  created(queue: string): string {
    return `${this.#prefix}.m.${token(queue)}`;
  }

  /** The stream of a queue. */
  stream(queue: string): string {
    return `tsmq:${this.#namespace}:${token(queue)}`;
  }
}
