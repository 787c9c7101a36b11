/**
 * The calling side of streams: iterators over the values that servers send.
 *
 * @module
 */
import { type StandardSchemaV1, validate } from "../codec/schema.ts";
import type { Core } from "../core.ts";
import { closedWhile, RemoteInvocationError, RpcError, TimeoutError, type ValidationError } from "../errors.ts";
import { Fifo } from "../internal/fifo.ts";
import { because } from "../internal/thrown.ts";
import { after } from "../internal/time.ts";
import { type CheckedStream, MAX_SILENT, OpenStreams } from "./open_streams.ts";
import {
  malformed,
  MAX_AHEAD,
  MAX_AHEAD_SIZE,
  readValues,
  type StreamEnd,
  type StreamValues,
  writeCredit,
} from "./stream_messages.ts";
import { serverGone, writeCancel } from "./wire.ts";

/** The largest number of values, and of characters, that wait for their reader. Servers of tsmq send at most half of both. */
const MAX_WAITING = 2 * MAX_AHEAD;
const MAX_WAITING_SIZE = 2 * MAX_AHEAD_SIZE;
/** About how many bytes they take from which on no more are kept: so many that only bodies which others have contrived reach it. */
const MAX_HELD = 16 * 2 ** 20;

/** A stream that a bus calls. */
export interface StreamCall {
  readonly fn: string;
  /** The longest wait for the next value, in milliseconds. */
  readonly timeout: number;
  readonly signal?: AbortSignal;
  /** The schema of each value. */
  readonly yields?: StandardSchemaV1;
  /** Calls the function. Resolves with the inbox of the server that has opened the stream with this id. */
  open(id: string, signal: AbortSignal): Promise<string>;
}

/** The streams that a bus reads. */
export class CalledStreams {
  #core: Core;
  #streams: OpenStreams<CalledStream>;

  /** Creates an empty list of streams. */
  constructor(core: Core) {
    this.#core = core;
    this.#streams = new OpenStreams(core);
  }

  /** Returns the values of a stream. The call starts at the first `next()`. */
  values(call: StreamCall): AsyncIterable<unknown> {
    let iterated = false;
    const iterate = () => {
      if (iterated) {
        throw new RpcError("invalid", `Cannot iterate twice over one stream of "${call.fn}": call it again`);
      }
      iterated = true;
      return new CalledStream(this.#core, call, this.#streams);
    };
    return { [Symbol.asyncIterator]: iterate };
  }

  /**
   * Passes a message of this size, which takes `held` bytes, to its stream. An `unreadable` message ends the stream with that error. Returns
   * false if the message is malformed, or unreadable and of no stream.
   */
  handleValues(value: unknown, size: number, held: number, unreadable?: ValidationError): boolean {
    const message = readValues(value);
    if (!message && !unreadable) this.#core.reject(malformed, "");
    if (!message) return false;
    const stream = this.#streams.get(message.id); // the stream may have ended
    stream?.handle(unreadable ? { ...message, values: [], end: {} } : message, size, held, unreadable);
    return stream !== undefined || !unreadable;
  }

  /** Ends all streams with this error. */
  fail(error: unknown): void {
    for (const stream of this.#streams.all) stream.fail(error);
  }
}

/** The values of one message. */
interface Batch {
  readonly values: readonly unknown[];
  readonly size: number;
  readonly held: number;
  readonly end?: StreamEnd;
  readonly unreadable?: ValidationError;
}

/** One stream that a bus reads. */
class CalledStream implements AsyncIterator<unknown, undefined>, CheckedStream {
  /** The id of the call: 122 random bits, so only the servers that received the request can send values. */
  readonly #id: string = crypto.randomUUID();
  readonly #core: Core;
  readonly #call: StreamCall;
  readonly #streams: OpenStreams<CalledStream>;
  /** The inbox of the server, once it has opened the stream. */
  #server: string | undefined;
  #begun = false;
  /** Aborts the call that opens the stream. */
  #opening = new AbortController();
  /** The batches, in order, that have not been taken completely. `#offset` is the number of values that were taken from the first one. */
  #waiting = new Fifo<Batch>();
  #waitingSize = 0;
  #offset = 0;
  /** The batches that arrived before earlier ones, by the number of their first value. */
  #early = new Map<number, Batch>();
  #earlySize = 0;
  /** About how many bytes all of these take. */
  #held = 0;
  /** The number of values, with the end, that have arrived in order. */
  #received = 0;
  /** The number of values that the reader has taken. `#credited` is the number in the last message with credit. */
  #taken = 0;
  #credited = 0;
  /** The characters of the values that were taken since that message. */
  #uncredited = 0;
  /** Whether the last message with credit may be lost. */
  #creditLost = false;
  /** The number of consecutive checks since the last message that continued this stream, whether there was room for its values or not. */
  #silent = 0;
  /** Whether no further values will arrive. */
  #complete = false;
  /** The error that follows the last value. */
  #failure: { readonly error: unknown } | undefined;
  /** Whether nothing more can be read. */
  #closed = false;
  #wake: (() => void) | undefined;
  /** The promise of the last `next()`. */
  #last: Promise<unknown> = Promise.resolve();

  constructor(core: Core, call: StreamCall, streams: OpenStreams<CalledStream>) {
    this.#core = core;
    this.#call = call;
    this.#streams = streams;
  }

  next(): Promise<IteratorResult<unknown, undefined>> {
    const read = this.#last.then(() => this.#read());
    this.#last = read.catch(() => {});
    return read;
  }

  return(): Promise<IteratorResult<unknown, undefined>> {
    this.#close();
    return Promise.resolve({ done: true, value: undefined });
  }

  async #read(): Promise<IteratorResult<unknown, undefined>> {
    const { fn, timeout, yields } = this.#call;
    let stop: (() => void) | undefined;
    try {
      for (;;) {
        if (this.#server !== undefined && this.#waiting.length > 0) {
          const value = this.#take();
          return { done: false, value: yields ? await validate(yields, value, `a value of "${fn}"`, "result") : value };
        }
        if (this.#closed || (this.#server !== undefined && this.#complete)) return this.#result();
        stop ??= after(timeout, () => {
          const cause = this.#core.outage();
          const text = `Cannot read the stream "${fn}": no value within ${timeout} ms${because(cause)}`;
          this.fail(new TimeoutError(text, { cause }));
        });
        const { promise, resolve } = Promise.withResolvers<void>();
        this.#wake = resolve;
        this.#open();
        await promise;
      }
    } catch (error) {
      this.#close();
      throw error;
    } finally {
      stop?.();
    }
  }

  /** Returns the end of the iteration, or throws the error of the stream, once. */
  #result(): IteratorResult<unknown, undefined> {
    const failure = this.#failure;
    this.#failure = undefined;
    this.#close();
    if (failure) throw failure.error;
    return { done: true, value: undefined };
  }

  #take(): unknown {
    const { values, size, held } = this.#waiting.peek()!;
    const value = values[this.#offset++];
    this.#taken++;
    if (this.#offset === values.length) {
      this.#waiting.shift();
      this.#offset = 0;
      this.#waitingSize -= size;
      this.#held -= held;
      this.#uncredited += size;
    }
    if (this.#taken - this.#credited >= MAX_AHEAD / 2 || this.#uncredited >= MAX_AHEAD_SIZE / 2) this.#credit(false);
    return value;
  }

  #open(): void {
    if (this.#begun || this.#closed) return;
    this.#begun = true;
    const { signal } = this.#call;
    if (signal?.aborted) return this.fail(signal.reason);
    signal?.addEventListener("abort", this.#aborted);
    this.#streams.add(this.#id, this);
    this.#call.open(this.#id, this.#opening.signal).then((server) => {
      this.#server = server;
      if (this.#closed) this.#cancel();
      else if (this.#complete) this.#release(); // the last values may arrive before the answer
      this.#wake?.();
    }, (error) => this.fail(error));
  }

  readonly #aborted = (): void => this.fail(this.#call.signal!.reason);

  /** Ends the stream with an error. Values that have not been read are dropped. */
  fail(error: unknown): void {
    if (this.#closed) return;
    this.#failure = { error: closedWhile(`read the stream "${this.#call.fn}"`, error) };
    this.#close();
  }

  #close(): void {
    if (this.#closed) return;
    this.#closed = true;
    this.#call.signal?.removeEventListener("abort", this.#aborted);
    this.#waiting.drain();
    this.#early.clear();
    this.#release();
    this.#wake?.();
  }

  /** Releases the server: cancels the stream there, or the call that opens it. */
  #release(): void {
    if (!this.#streams.delete(this.#id)) return;
    this.#opening.abort();
    if (this.#server !== undefined) this.#cancel();
  }

  #cancel(): void {
    this.#core.post(this.#server!, writeCancel(this.#id)).catch(() => {}); // the server notices that no keep-alive arrives
  }

  /** Handles a message from the server. Values that are not expected now are dropped; the server sends them again. */
  handle({ first, values, end }: StreamValues, size: number, held: number, unreadable?: ValidationError): void {
    if (this.#complete || first < this.#received) return; // this has arrived already
    const batch = { values, size, held, end, unreadable };
    if (first > this.#received) {
      if (values.length === 0 && !end) return this.#credit(true); // values were lost
      if (first > this.#taken + MAX_WAITING || this.#early.has(first)) return;
      if (this.#earlySize + this.#waitingSize > MAX_WAITING_SIZE || this.#held > MAX_HELD) return;
      this.#early.set(first, batch);
      this.#earlySize += size;
      this.#held += held;
      return;
    }
    this.#silent = 0; // also if there is no room: the reader is slow, and the server is there
    const many = this.#waitingSize > MAX_WAITING_SIZE || this.#received - this.#taken > MAX_WAITING;
    if (values.length > 0 && (many || (this.#held > MAX_HELD && this.#waiting.peek()))) return;
    if (values.length > 0) this.#held += held; // until they are taken
    for (let next: Batch | undefined = batch; next && !this.#complete; next = this.#nextEarly()) this.#accept(next);
    this.#wake?.();
  }

  #nextEarly(): Batch | undefined {
    const next = this.#early.get(this.#received);
    if (next && this.#early.delete(this.#received)) this.#earlySize -= next.size;
    return next;
  }

  #accept(batch: Batch): void {
    const { values, size, end, unreadable } = batch;
    if (values.length > 0) {
      this.#waiting.push(batch);
      this.#waitingSize += size;
      this.#received += values.length;
    }
    if (!end) return;
    this.#complete = true;
    const error = unreadable ?? this.#errorOf(end);
    if (error) this.#failure = { error };
    if (this.#server !== undefined) this.#release();
  }

  #errorOf({ error, lost }: StreamEnd): unknown {
    if (lost) return serverGone(this.#call.fn);
    return error && new RemoteInvocationError(this.#call.fn, error.type, error.args, error.stack);
  }

  check(keepAlive: boolean, recovering: boolean): void {
    if (this.#server === undefined) return; // the call that opens the stream is checked by itself
    if (!recovering && ++this.#silent > MAX_SILENT) return this.fail(serverGone(this.#call.fn));
    if (keepAlive || recovering || this.#creditLost) this.#credit(recovering || this.#early.size > 0);
  }

  /** Sends the number of taken values. With `ask`, it requests again all values that have not arrived. */
  #credit(ask: boolean): void {
    if (this.#server === undefined || this.#complete) return;
    this.#credited = this.#taken;
    this.#uncredited = 0;
    this.#creditLost = false;
    const credit = { id: this.#id, taken: this.#taken, received: ask ? this.#received : undefined };
    const lost = () => this.#creditLost = true;
    this.#core.post(this.#server, writeCredit(credit)).then((there) => there === false && lost(), lost);
  }
}
