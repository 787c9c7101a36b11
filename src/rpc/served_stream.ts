/**
 * The serving side of streams: it takes values from an async generator while the caller gives credit, and sends them in order.
 *
 * @module
 */
import type { Written } from "../codec/codec.ts";
import { type StandardSchemaV1, validate } from "../codec/schema.ts";
import type { Core } from "../core.ts";
import { BusError, ClosedError, isInterruption } from "../errors.ts";
import { backoff, pause, RETRY } from "../internal/time.ts";
import type { ServedCall } from "./current_call.ts";
import { errorAnswer } from "./error_answer.ts";
import { type CheckedStream, MAX_SILENT, OpenStreams } from "./open_streams.ts";
import { SHARES, sizeOf, type Sizes } from "./sizes.ts";
import {
  malformed,
  MAX_AHEAD,
  MAX_AHEAD_SIZE,
  readCredit,
  type StreamCredit,
  type StreamEnd,
  writeValues,
} from "./stream_messages.ts";
import { type Answer, openAnswer, streamAnswer } from "./wire.ts";

/** The number of characters of the values in one message, unless one value is longer. */
const MAX_BATCH = 16 * 1024;

type Streams = OpenStreams<ServedStream>;

/** The streams that a bus serves. */
export class ServedStreams {
  #core: Core;
  #held: Sizes;
  #streams: Streams;
  #abandoned = false;

  /** Creates an empty list of streams. `held` is what the server holds for its callers. */
  constructor(core: Core, held: Sizes) {
    this.#core = core;
    this.#held = held;
    this.#streams = new OpenStreams(core);
  }

  /**
   * Opens a stream for the caller of a request, with an answer that it passes to `open`, and sends the values. Resolves when the caller has
   * all values or has left; rejects with the error of the stream, which the caller receives too. For a caller that does not read the result
   * as a stream, it resolves with the answer.
   */
  async serve(
    work: ServedCall,
    values: AsyncIterable<unknown>,
    yields: StandardSchemaV1 | undefined,
    open: (answer: Answer<string>) => void,
  ): Promise<Answer<string>> {
    const { fn, call } = work.request;
    const answer = call?.stream ? openAnswer(fn) : streamAnswer(fn);
    if (!call?.stream || work.cancelled || this.#abandoned || this.#streams.get(call.id)) {
      await values[Symbol.asyncIterator]().return?.(); // a generator that has not started runs nothing
      return answer;
    }
    work.streaming = true;
    open(answer);
    await new ServedStream(this.#core, this.#held, work, values, this.#streams).run(yields);
    return answer;
  }

  /**
   * Passes credit from the inbox to its stream. Credit for an unknown stream is ignored, because the stream may have ended. Returns false if
   * the message is malformed.
   */
  handleCredit(value: unknown): boolean {
    const credit = readCredit(value);
    if (credit) this.#streams.get(credit.id)?.credit(credit);
    else this.#core.reject(malformed, "");
    return credit !== undefined;
  }

  /** Ends a stream, because its caller no longer reads it. */
  cancel(id: string): void {
    this.#streams.get(id)?.end();
  }

  /** Abandons all streams, and reports that to their callers. Resolves when the transport has accepted the reports. */
  async abandon(): Promise<void> {
    this.#abandoned = true;
    await Promise.all(this.#streams.all.map((stream) => stream.abandon()));
  }
}

/** Values that are sent together, until the caller has taken them. */
interface Batch {
  readonly first: number;
  readonly count: number;
  readonly size: number;
  readonly text: string;
  /** Whether the batch was posted, or is being posted. */
  posted: boolean;
}

/** One stream that a bus serves. */
class ServedStream implements CheckedStream {
  readonly #core: Core;
  readonly #held: Sizes;
  readonly #work: ServedCall;
  readonly #fn: string;
  readonly #id: string;
  readonly #inbox: string;
  readonly #streams: Streams;
  readonly #iterator: AsyncIterator<unknown>;
  /** The values that are not in a batch yet. */
  #values: Written[] = [];
  /** The end of the stream as JSON, once it is known. `#complete` is true when a batch contains it. */
  #end: string | undefined;
  #complete = false;
  /** The batches that the caller has not taken, in order. */
  #batches: Batch[] = [];
  /** The number of values, with the end, in all batches so far. */
  #batched = 0;
  #taken = 0;
  /** The batch that is being posted. */
  #sending: Batch | undefined;
  /** The number of characters of all batches that the caller has not taken, of the end, and an estimate of those of the other values. */
  #size = 0;
  #posting: Promise<void> | undefined;
  /** Aborts when the stream is removed, and nothing more is sent. */
  #removed = new AbortController();
  /** Resolves when the stream is removed. */
  #over = Promise.withResolvers<void>();
  /** Whether the iterator has ended by itself. */
  #finished = false;
  /** The promise of the iterator's `return()`, once it was called. */
  #returned: Promise<unknown> | undefined;
  /** Resumes the iterator that waits for credit. */
  #resume: (() => void) | undefined;
  /** Whether a message was refused by the transport, so that an error has replaced the rest of the stream. */
  #refused = false;
  /** Whether values were sent again since the last check. */
  #repeated = false;
  /** The number of consecutive checks without a message from the caller. */
  #silent = 0;

  constructor(core: Core, held: Sizes, work: ServedCall, values: AsyncIterable<unknown>, streams: Streams) {
    this.#core = core;
    this.#held = held;
    this.#work = work;
    const { fn, call } = work.request;
    this.#fn = fn;
    this.#id = call!.id;
    this.#inbox = call!.inbox;
    this.#streams = streams;
    this.#iterator = values[Symbol.asyncIterator]();
    streams.add(this.#id, this);
  }

  /** Takes values from the iterator until it ends, fails or is returned, and waits until the caller has all of them. */
  async run(yields: StandardSchemaV1 | undefined): Promise<void> {
    try {
      await this.#takeAll(yields);
      this.#finish({});
    } catch (error) {
      this.#finish(this.#endOf(error));
      throw error;
    } finally {
      await this.#over.promise;
      await this.#returned;
    }
  }

  async #takeAll(yields: StandardSchemaV1 | undefined): Promise<void> {
    while (true) {
      while (!this.#returned && !this.#hasCredit()) await new Promise<void>((resolve) => this.#resume = resolve);
      if (this.#returned) return;
      const { done, value } = await this.#next();
      if (done || this.#returned) return;
      if (yields) await validate(yields, value, `a value of "${this.#fn}"`, "result");
      if (!this.#held.accepts(this.#inbox)) throw this.#busy();
      const written = this.#core.codec.write(value);
      this.#values.push(written);
      this.#grow(sizeOf(written));
      void this.#post();
    }
  }

  #busy(): BusError {
    return new BusError("busy", `Cannot send values of "${this.#fn}": too many values and answers wait for callers`);
  }

  #grow(size: number): void {
    if (this.#removed.signal.aborted) return;
    this.#size += size;
    this.#held.add(this.#inbox, size);
  }

  async #next(): Promise<IteratorResult<unknown>> {
    try {
      const result = await this.#iterator.next();
      this.#finished = result.done === true;
      return result;
    } catch (error) {
      this.#finished = true;
      throw error;
    }
  }

  #hasCredit(): boolean {
    const ahead = this.#batched + this.#values.length - this.#taken;
    return ahead < MAX_AHEAD && this.#size < MAX_AHEAD_SIZE && this.#held.accepts(this.#inbox, SHARES.asking);
  }

  #endOf(error: unknown): StreamEnd {
    if (this.#work.wasClosed(error)) return { lost: true };
    const { resultType: type, result, call } = errorAnswer(this.#fn, error, this.#core.exposeErrors);
    return { error: { type, args: JSON.parse(result), stack: call?.stack } };
  }

  /** Sends the end after the values, and stops taking values. */
  #finish(end: StreamEnd): void {
    if (this.#removed.signal.aborted || this.#end !== undefined) return;
    this.#setEnd(end);
    this.#return();
    void this.#post();
  }

  /** Sets the end. An error, which may have any size, is not held if too much is. */
  #setEnd(end: StreamEnd): void {
    const full = end.error && !this.#held.accepts(this.#inbox);
    this.#end = JSON.stringify(full ? this.#endOf(this.#busy()) : end);
    this.#complete = false;
    this.#grow(this.#end.length);
  }

  /** Stops taking values. A generator that has not ended runs its `finally` blocks as soon as it reaches a `yield`. */
  #return(): void {
    if (this.#returned) return;
    if (!this.#finished) this.#work.cancel();
    this.#returned = this.#work.enter(async () => this.#finished ? undefined : await this.#iterator.return?.());
    this.#returned.catch(() => {}); // `run` rejects with it
    this.#resume?.();
  }

  /** Ends the stream, because its caller has all values or has left. */
  end(): void {
    if (this.#removed.signal.aborted) return;
    this.#streams.delete(this.#id);
    this.#removed.abort();
    void Promise.resolve(this.#posting).then(() => this.#held.add(this.#inbox, -this.#size));
    this.#over.resolve();
    this.#return();
  }

  /** Abandons the stream: ends it, and reports that to the caller. */
  async abandon(): Promise<void> {
    const text = writeValues(this.#id, this.#batched, [], JSON.stringify({ lost: true } satisfies StreamEnd));
    const ended = this.#end !== undefined;
    this.end();
    if (!ended) await this.#core.post(this.#inbox, text).catch(() => {}); // the caller notices that no keep-alive arrives
  }

  /** Sends the batches one after the other. Values that are added meanwhile are sent together. */
  #post(): Promise<void> {
    return this.#posting ??= this.#postAll();
  }

  async #postAll(): Promise<void> {
    await Promise.resolve(); // values that are already there
    for (let failures = 0; !this.#removed.signal.aborted;) {
      const batch = this.#batches.find(({ posted }) => !posted) ?? this.#nextBatch();
      if (!batch) break;
      batch.posted = true;
      this.#sending = batch;
      try {
        if (await this.#core.post(this.#inbox, batch.text) !== false) {
          failures = 0;
          continue;
        }
      } catch (error) {
        if (error instanceof ClosedError) break;
        if (!isInterruption(error)) {
          this.#refuse(batch, error);
          continue;
        }
      } finally {
        this.#sending = undefined;
        this.#forgetTaken();
      }
      batch.posted = false; // a batch that arrives twice is ignored
      await pause(backoff(RETRY.send, ++failures), this.#removed.signal);
    }
    this.#posting = undefined;
  }

  #nextBatch(): Batch | undefined {
    const limit = Math.min(MAX_BATCH, this.#core.features.maxBody / 4); // a character has at most three bytes
    let [count, size] = [0, 0];
    while (count < this.#values.length && (count === 0 || size + sizeOf(this.#values[count]!) <= limit)) {
      size += sizeOf(this.#values[count++]!);
    }
    const values = this.#values.splice(0, count);
    const end = count === 0 && !this.#complete ? this.#end : undefined;
    if (end !== undefined) [count, size, this.#complete] = [1, end.length, true];
    if (count === 0) return undefined;
    const first = this.#batched;
    const text = writeValues(this.#id, first, values, end);
    // the caller counts like this too; a message can be much shorter than its values, because equal marks are written once
    const batch = { first, count, size: text.length, text, posted: false };
    this.#grow(batch.size - size);
    this.#batched += count;
    this.#batches.push(batch);
    this.#resume?.();
    return batch;
  }

  /** Replaces a message that the transport refuses, for example because a value is too large, by the error. */
  #refuse(batch: Batch, error: unknown): void {
    this.#core.report(error, this.#fn);
    if (this.#refused) return this.end();
    this.#refused = true;
    this.#batches.splice(this.#batches.indexOf(batch));
    this.#batched = batch.first;
    this.#values = [];
    this.#grow(this.#batches.reduce((sum, { size }) => sum + size, -this.#size));
    this.#setEnd(this.#endOf(error));
    this.#return();
  }

  /** Handles a message with credit. Numbers that cannot be true are ignored. */
  credit({ taken, received }: StreamCredit): void {
    if (taken < this.#taken || taken > this.#batched) return;
    this.#silent = 0;
    this.#taken = taken;
    this.#forgetTaken();
    if (received !== undefined && !this.#repeated) {
      this.#repeated = true; // at most once in a check, because one short message asks for many
      for (const batch of this.#batches) if (batch.first >= received) batch.posted = false;
      void this.#post();
    }
  }

  /** Forgets the batches that the caller has taken. One that is being posted counts until that ends. */
  #forgetTaken(): void {
    const kept = this.#batches.findIndex((batch) => batch === this.#sending || batch.first + batch.count > this.#taken);
    for (const { size } of this.#batches.splice(0, kept < 0 ? this.#batches.length : kept)) this.#grow(-size);
    this.#resume?.();
  }

  check(keepAlive: boolean, recovering: boolean): void {
    this.#repeated = false;
    this.#resume?.(); // there may be room for values again, because other callers have taken theirs
    if (!recovering && ++this.#silent > MAX_SILENT) return void this.abandon();
    if (!keepAlive || this.#posting) return;
    this.#core.post(this.#inbox, writeValues(this.#id, this.#batched, [])).catch(() => {}); // the next one may arrive
  }
}
