/**
 * A parser for pub/sub messages, which runs before ioredis' parser. ioredis creates three buffers and three strings for each message. This
 * parser finds all messages of a chunk in one pass, at a third of the cost.
 *
 * @module
 */
import { Buffer } from "node:buffer";

/** Receives the messages. Its callbacks never throw. */
export interface Listener {
  message?(channel: string, body: string): void;
  patternMessage?(pattern: string, channel: string, body: string): void;
}

const MESSAGE = "*3\r\n$7\r\nmessage\r\n";
const PATTERN_MESSAGE = "*4\r\n$8\r\npmessage\r\n";

/** Parses the stream of one connection, from its first byte. */
export class PubSubParser {
  #listener: Listener;
  #parseOther: (bytes: Buffer) => void;
  /** The chunks of an incomplete reply. `#restBytes` is the number of their bytes, `#needed` the smallest number of bytes of the reply. */
  #rest: Buffer[] = [];
  #restBytes = 0;
  #needed = 0;
  /** The current chunk. `#text` has the same bytes as a string, with one character for each byte. */
  #chunk: Buffer = Buffer.alloc(0);
  #text = "";
  /** The beginning of the last parsed string. `#to` is its end. */
  #from = 0;
  #to = 0;

  /** Creates a parser. `parseOther` receives every other reply: whole, unchanged, and in its order among the messages. */
  constructor(listener: Listener, parseOther: (bytes: Buffer) => void) {
    this.#listener = listener;
    this.#parseOther = parseOther;
  }

  /** Parses the next bytes of the stream. */
  parse(bytes: Buffer): void {
    let chunk = bytes;
    if (this.#restBytes > 0) {
      this.#rest.push(chunk);
      this.#restBytes += chunk.length;
      if (this.#restBytes < this.#needed) return;
      chunk = Buffer.concat(this.#rest);
      this.#rest = [];
      this.#restBytes = 0;
    }
    this.#chunk = chunk;
    this.#text = chunk.toString("latin1");
    let at = 0;
    while (at < chunk.length) {
      const end = this.#reply(at);
      if (end < 0) break;
      at = end;
    }
    if (at === chunk.length) return;
    this.#rest = [chunk.subarray(at)];
    this.#restBytes = chunk.length - at;
    this.#needed -= at;
  }

  /** Parses the reply that begins at `at`. Returns where it ends, or -1 if its end has not arrived. */
  #reply(at: number): number {
    if (this.#text.startsWith(MESSAGE, at)) {
      if (!this.#string(at + MESSAGE.length)) return this.#other(at);
      const [from, to] = [this.#from, this.#to];
      if (!this.#string(to + 2)) return this.#other(at);
      this.#listener.message?.(this.#slice(from, to), this.#slice(this.#from, this.#to));
      return this.#to + 2;
    }
    if (this.#text.startsWith(PATTERN_MESSAGE, at)) {
      if (!this.#string(at + PATTERN_MESSAGE.length)) return this.#other(at);
      const [from, to] = [this.#from, this.#to];
      if (!this.#string(to + 2)) return this.#other(at);
      const [start, end] = [this.#from, this.#to];
      if (!this.#string(end + 2)) return this.#other(at);
      this.#listener.patternMessage?.(
        this.#slice(from, to),
        this.#slice(start, end),
        this.#slice(this.#from, this.#to),
      );
      return this.#to + 2;
    }
    return this.#other(at);
  }

  /** Finds the string that begins at `at`. Returns false if no whole string is there. */
  #string(at: number): boolean {
    if (this.#text.charCodeAt(at) !== 0x24) return false; // $
    const line = this.#text.indexOf("\r\n", at);
    if (line < 0) return false;
    this.#from = line + 2;
    this.#to = this.#from + Number(this.#text.slice(at + 1, line));
    return this.#to >= this.#from && this.#to + 2 <= this.#text.length;
  }

  /** Copies a string: a slice of the chunk's text would keep the whole chunk in memory. */
  #slice(from: number, to: number): string {
    return this.#chunk.toString("utf8", from, to);
  }

  #other(at: number): number {
    const end = this.#end(at);
    if (end >= 0) this.#parseOther(this.#chunk.subarray(at, end));
    return end;
  }

  /** Returns where the reply that begins at `at` ends. If that is not in this chunk, returns -1 and sets `#needed`. */
  #end(at: number): number {
    const line = this.#text.indexOf("\r\n", at);
    this.#needed = this.#text.length + 1;
    if (line < 0) return -1;
    let end = line + 2;
    const type = this.#text[at];
    if (type !== "$" && type !== "*") return end;
    const count = Number(this.#text.slice(at + 1, line));
    if (!Number.isSafeInteger(count)) throw new Error("a reply has no valid length: the connection is out of step");
    if (count < 0) return end;
    if (type === "*") {
      for (let i = 0; i < count && end >= 0; i++) end = this.#end(end);
      return end;
    }
    end += count + 2;
    if (end <= this.#text.length) return end;
    this.#needed = end;
    return -1;
  }
}
