/**
 * A parser for pub/sub messages, which runs before ioredis' parser. ioredis creates three buffers and three strings for each message. This
 * parser finds all messages of a chunk in one pass, at a third of the cost.
 *
 * @module
 */
import { Buffer } from "node:buffer";
import { MAX_LINE } from "./parser_guard.ts";
import { utf8 } from "../../internal/utf8.ts";

/** Receives the messages. Its callbacks never throw. */
export interface Listener {
  message?(channel: string, body: string): void;
  patternMessage?(pattern: string, channel: string, body: string): void;
}

const MESSAGE = "*3\r\n$7\r\nmessage\r\n";
const PATTERN_MESSAGE = "*4\r\n$8\r\npmessage\r\n";
/** The number of bytes of a chunk that are converted to text at once. The middle of a long body is never read as text. */
const WINDOW = 2 * MAX_LINE;

/** Parses the stream of one connection, from its first byte. */
export class PubSubParser {
  #listener: Listener;
  #parseOther: (bytes: Buffer) => void;
  /** The complete elements of an incomplete reply, which are not scanned again. `#open`: the number of missing elements of each of its lists. */
  #head: Buffer[] = [];
  #open: number[] = [];
  /** The chunks that follow `#head`. `#restBytes` is the number of their bytes, `#needed` the smallest number that is worth a scan. */
  #rest: Buffer[] = [];
  #restBytes = 0;
  #needed = 0;
  /** The number of bytes in `#rest` before a line whose end has not arrived, and whether there is one. */
  #before = 0;
  #inLine = false;
  /** The current chunk. `#text` has some of its bytes, from `#start`, as a string with one character for each byte. */
  #chunk: Buffer = Buffer.alloc(0);
  #text = "";
  #start = 0;
  /** The beginning of the last parsed string. `#to` is its end. */
  #from = 0;
  #to = 0;
  /** The beginning of the element in which the last scan ended. */
  #scanned = 0;

  /** Creates a parser. `parseOther` receives every other reply: whole, unchanged, and in its order among the messages. */
  constructor(listener: Listener, parseOther: (bytes: Buffer) => void) {
    this.#listener = listener;
    this.#parseOther = parseOther;
  }

  /** Parses the next bytes of the stream. */
  parse(bytes: Buffer): void {
    let chunk = bytes;
    if (this.#restBytes > 0) {
      const ended = !this.#inLine || endsLine(this.#rest.at(-1)!, chunk);
      this.#rest.push(ended ? chunk : Buffer.from(chunk)); // few bytes of a line may be a part of a large memory
      this.#restBytes += chunk.length;
      if (this.#restBytes < this.#needed || (!ended && this.#restBytes - this.#before <= MAX_LINE)) return;
      chunk = Buffer.concat(this.#rest);
      this.#rest = [];
      this.#restBytes = 0;
    }
    this.#read(chunk);
    let at = 0;
    if (this.#open.length > 0) {
      at = this.#scan(0);
      if (at < 0) return this.#keep(0);
      this.#read(Buffer.concat([...this.#head, chunk.subarray(0, at)]));
      this.#head = [];
      this.#reply(0);
      this.#read(chunk);
    }
    while (at < chunk.length) {
      const end = this.#reply(at);
      if (end < 0) return this.#keep(at);
      at = end;
    }
  }

  #read(chunk: Buffer): void {
    this.#chunk = chunk;
    this.#text = chunk.toString("latin1", 0, WINDOW);
    this.#start = 0;
  }

  /** Returns the index in `#text` of the byte at `at`. The text reaches at least the length of a line further, or to the end of the chunk. */
  #see(at: number): number {
    const end = this.#start + this.#text.length;
    if (at < this.#start || (at + MAX_LINE > end && end < this.#chunk.length)) {
      this.#text = this.#chunk.toString("latin1", at, at + WINDOW);
      this.#start = at;
    }
    return at - this.#start;
  }

  /** Keeps the incomplete reply that begins at `at`, or continues there. */
  #keep(at: number): void {
    // a message has few elements, so it is scanned again, which saves a copy of its body
    const again = this.#head.length === 0 && this.#open.length <= 1 && this.#isMessage(at);
    const from = again ? at : this.#scanned;
    if (again) this.#open = [];
    else if (from > at) this.#head.push(this.#chunk.subarray(at, from));
    this.#rest = [this.#chunk.subarray(from)];
    this.#restBytes = this.#chunk.length - from;
    this.#before = this.#scanned - from;
    this.#needed -= from;
  }

  #isMessage(at: number): boolean {
    const index = this.#see(at);
    return this.#text.startsWith(MESSAGE, index) || this.#text.startsWith(PATTERN_MESSAGE, index);
  }

  /** Parses the reply that begins at `at`. Returns where it ends, or -1 if its end has not arrived. */
  #reply(at: number): number {
    const index = this.#see(at);
    if (this.#text.startsWith(MESSAGE, index)) {
      if (!this.#string(at + MESSAGE.length)) return this.#other(at);
      const [from, to] = [this.#from, this.#to];
      if (!this.#string(to + 2)) return this.#other(at);
      this.#listener.message?.(this.#slice(from, to), this.#slice(this.#from, this.#to));
      return this.#to + 2;
    }
    if (this.#text.startsWith(PATTERN_MESSAGE, index)) {
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
    const index = this.#see(at);
    if (this.#text.charCodeAt(index) !== 0x24) return false; // $
    const line = this.#text.indexOf("\r\n", index);
    if (line < 0) return false;
    this.#from = this.#start + line + 2;
    this.#to = this.#from + Number(this.#text.slice(index + 1, line));
    return this.#to >= this.#from && this.#to + 2 <= this.#chunk.length;
  }

  /** Copies a string: a slice of the chunk's text would keep the whole chunk in memory. */
  #slice(from: number, to: number): string {
    return utf8(this.#chunk, from, to);
  }

  #other(at: number): number {
    const end = this.#scan(at);
    if (end >= 0) this.#parseOther(this.#chunk.subarray(at, end));
    return end;
  }

  /**
   * Returns the end of the reply that begins at `at`, or that an earlier scan has begun (`#open`). If the end is not in this chunk, returns
   * -1 and sets `#needed` and `#scanned`.
   */
  #scan(at: number): number {
    const open = this.#open;
    for (;;) {
      this.#scanned = at;
      this.#needed = this.#chunk.length + 1;
      const index = this.#see(at);
      const line = this.#text.indexOf("\r\n", index);
      this.#inLine = line < 0;
      if (line < 0 && this.#text.length - index <= MAX_LINE) return -1;
      const type = this.#text[index];
      const sized = type === "$" || type === "*";
      const count = sized ? Number(this.#text.slice(index + 1, line)) : 0;
      if (line < 0 || !Number.isSafeInteger(count)) {
        throw new Error("a reply has no valid length: the connection is out of step");
      }
      at = this.#start + line + 2;
      if (type === "$" && count >= 0) at += count + 2;
      if (at > this.#chunk.length) {
        this.#needed = at;
        return -1;
      }
      if (type === "*" && count > 0) open.push(count);
      else while (open.length > 0 && --open[open.length - 1]! === 0) open.pop();
      if (open.length === 0) return at;
    }
  }
}

/** Returns whether the end of a line is in a chunk, or begins in the chunk before it. */
function endsLine(before: Buffer, chunk: Buffer): boolean {
  return (before.at(-1) === 0x0d && chunk[0] === 0x0a) || chunk.includes("\r\n");
}
