/**
 * Names as NATS knows them: `tsmq.<namespace>.<kind>.<name>`, each one token.
 *
 * @module
 */
import { createHash } from "node:crypto";

/** Characters of a token: two of them and what is around them make the name of a stream, of which a file system takes 255. */
const MAX = 110;
/** After `=` two hexadecimal digits follow, except here: what follows is the digest of a name that is too long. */
const DIGEST = "=-";

/** Any text as a token: in subjects `.`, `*`, `>` and spaces have a meaning, streams are folders, and the server trips over `%`. */
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

  /** The names of a namespace. */
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

  /** Whether a topic was too long for its subject, so that a header tells it. */
  digested(subject: string): boolean {
    return subject.includes(DIGEST);
  }

  /** The topic of a subject that has it all. */
  topicOf(subject: string): string {
    return decodeURIComponent(subject.slice(subject.lastIndexOf(".") + 1).replaceAll("=", "%"));
  }

  /** The subject of the inbox with this id. */
  inbox(id: string): string {
    return `${this.#prefix}.i.${id}`;
  }

  /** The subject that registers the inbox with this id as a server of a topic; `*`: of all inboxes. */
  server(topic: string, id: string): string {
    return `${this.#prefix}.s.${token(topic)}.${id}`;
  }

  /** The inbox that a subject of {@linkcode server} registers. */
  registered(subject: string): string {
    return this.inbox(subject.slice(subject.lastIndexOf(".") + 1));
  }

  /** The subject of a queue's items. */
  queue(queue: string): string {
    return `${this.#prefix}.q.${token(queue)}`;
  }

  /** The subject that tells those who wait for a queue that it was made. */
  made(queue: string): string {
    return `${this.#prefix}.m.${token(queue)}`;
  }

  /** The stream of a queue. */
  stream(queue: string): string {
    return `tsmq:${this.#namespace}:${token(queue)}`;
  }
}
