/**
 * The open streams of one side of a bus, with a check of each stream once a second: either side must notice that the other one is gone.
 *
 * @module
 */
import type { Core } from "../core.ts";
import { TextMap } from "../internal/text_map.ts";
import { STREAM_CHECK } from "../internal/time.ts";
import { RECOVERY } from "./pending_calls.ts";

/** The number of checks between two keep-alive messages. */
const KEEP_ALIVE = 5;
/** The number of consecutive checks without a message of the peer after which it counts as gone: it has missed three keep-alives. */
export const MAX_SILENT: number = 3 * KEEP_ALIVE;

/** A stream that is checked. */
export interface CheckedStream {
  /**
   * Called once a second.
   *
   * @param keepAlive whether a keep-alive message is due
   * @param recovering whether a connection of this bus is down or was restored a moment ago, so that the silence of the peer means nothing
   */
  check(keepAlive: boolean, recovering: boolean): void;
}

/** Open streams by their ids. */
export class OpenStreams<S extends CheckedStream> {
  #core: Core;
  #streams = new TextMap<S>();
  #checks = 0;
  #timer: ReturnType<typeof setInterval> | undefined;

  /** Creates an empty list. */
  constructor(core: Core) {
    this.#core = core;
  }

  /** All open streams. */
  get all(): S[] {
    return [...this.#streams.values()];
  }

  /** Returns the stream with this id. */
  get(id: string): S | undefined {
    return this.#streams.get(id);
  }

  /** Adds a stream, which is checked until it is deleted. */
  add(id: string, stream: S): void {
    this.#streams.set(id, stream);
    this.#timer ??= setInterval(() => this.#check(), STREAM_CHECK.every);
  }

  /** Removes a stream. Returns false if it is not in the list. */
  delete(id: string): boolean {
    const deleted = this.#streams.delete(id);
    if (this.#streams.size === 0) {
      clearInterval(this.#timer);
      this.#timer = undefined;
    }
    return deleted;
  }

  #check(): void {
    const keepAlive = ++this.#checks % KEEP_ALIVE === 0;
    const recovering = this.#core.recovering(RECOVERY);
    for (const stream of this.all) stream.check(keepAlive, recovering);
  }
}
