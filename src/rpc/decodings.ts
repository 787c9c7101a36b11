/**
 * The class `Decodings`: it decodes the messages that need no credit, those of the inbox and requests on the topics of functions.
 *
 * @module
 */
import { Codec, type Decoded } from "../codec/codec.ts";
import { heldBytes } from "../codec/held_bytes.ts";
import { BusError, ValidationError } from "../errors.ts";
import { PendingWork } from "../internal/pending_work.ts";
import { isA } from "../internal/thrown.ts";
import { ownText } from "../internal/utf8.ts";
import { Load } from "./load.ts";
import { REQUEST } from "./wire.ts";

/**
 * Receives a decoded body, its text, and the bytes that its types take (`Codec.typed`). If the body could not be read, it receives the parts
 * that could be read, and the error. Returns false if no honest bus sends such a body.
 */
export type Accept = (decoded: Decoded, body: string, typed: number, unreadable?: ValidationError) => boolean;

/**
 * Called with the parts of a body that can be read before an asynchronous schema validates the body. It may return a function to call after
 * that.
 */
export type Begin = (outline: Decoded) => (() => void) | undefined;

/** The parts of a bus that {@linkcode Decodings} uses. */
interface DecodingsContext {
  readonly codec: Codec;
  readonly report: (error: unknown, name: string, rejected?: boolean) => void;
  /** Returns whether requests are refused because the server is at a limit. */
  readonly full: () => boolean;
  /** Called when messages are decoded again after some were dropped. */
  readonly dropped: () => void;
}

/** Decodes messages, and counts those whose schema is asynchronous. */
export class Decodings extends PendingWork {
  #context: DecodingsContext;
  /** The messages that asynchronous schemas validate, before the limit of running calls can count them. */
  #load = new Load();
  #dropping = false;
  /** Whether a body with this tag needs no types: that of a request that will be refused. */
  readonly #raw = (tag: string) => tag === REQUEST && this.#context.full();

  /** Creates a decoder without running work. */
  constructor(context: DecodingsContext) {
    super();
    this.#context = context;
  }

  /**
   * Decodes a body and passes it to `accept`. If the body cannot be read, it reports the error for the topic, queue or function of this
   * name, and passes on the parts that can be read, because a peer may wait for the outcome. Returns false if no part can be read, or
   * `accept` has returned false.
   */
  decode(body: string, name: string, accept: Accept, begin: Begin): boolean {
    if (this.#full(name)) return true;
    try {
      const { codec } = this.#context;
      const decoded = codec.decode(body, this.#raw);
      if (decoded instanceof Promise) this.#await(decoded, ownText(body), codec.typed, name, accept, begin);
      else return accept(decoded, body, codec.typed);
      return true;
    } catch (error) {
      return this.#fail(error, body, name, accept);
    }
  }

  #await(decoding: Promise<Decoded>, body: string, typed: number, name: string, accept: Accept, begin: Begin): void {
    const outline = Codec.outline(body);
    const end = outline && begin(outline);
    const bytes = heldBytes(body, typed);
    this.#load.add(bytes);
    const ended = () => {
      this.#load.remove(bytes);
      end?.();
    };
    void this.track(
      decoding.finally(ended).then((decoded) => void accept(decoded, body, decoded.typed ?? typed)).catch((error) => {
        this.#fail(error, body, name, accept);
      }),
    );
  }

  /** Reports an error. Passes on the parts of the body that can be read. Returns false as {@linkcode decode} does. */
  #fail(error: unknown, body: string, name: string, accept: Accept): boolean {
    this.#context.report(error, name, true);
    if (!isA(error, ValidationError) || error.body !== body) return false;
    const outline = Codec.outline(body);
    return outline !== undefined && accept(outline, body, 0, error);
  }

  /** Returns whether so many messages wait for their schemas that this one is dropped. Its sender sends it again. */
  #full(name: string): boolean {
    const { full } = this.#load;
    if ((full !== undefined) === this.#dropping) return this.#dropping;
    this.#dropping = full !== undefined;
    if (full) {
      const text =
        `Cannot read more calls and answers: schemas are validating ${full}, and others are dropped until they have finished`;
      this.#context.report(new BusError("busy", text), name);
    } else this.#context.dropped();
    return this.#dropping;
  }
}
