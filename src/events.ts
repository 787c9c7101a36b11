/**
 * The events that a bus emits.
 *
 * @module
 */
import { textOf } from "./internal/thrown.ts";

/** The `"error"` event of a bus: a handler threw, a body could not be read, the transport reported a fault. */
export class BusErrorEvent extends ErrorEvent {
  /** The topic, queue or function of the error; empty if there is none. */
  readonly topic: string;

  /** Created by the bus. */
  constructor(error: unknown, topic: string) {
    super("error", { error, message: textOf(error) });
    this.topic = topic;
  }

  /** The error. */
  get detail(): unknown {
    return this.error;
  }
}

/**
 * The detail of a `"gap"` event: events may have been missed. Each subscription has its own `"gap"`, between the events before and
 * after it.
 */
export interface Gap {
  /** The reason. */
  readonly reason: string;
  /** The number of missed events, if known; otherwise 0. */
  readonly lost: number;
  /** The topic or glob of the subscription; absent if the bus has no subscription. */
  readonly topic?: string;
}
