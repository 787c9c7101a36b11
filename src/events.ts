/**
 * The events of a bus beside its state.
 *
 * @module
 */
import { textOf } from "./internal/thrown.ts";

/** The `"error"` event of a bus: a handler threw, a body could not be read, the transport reported a fault. */
export class BusErrorEvent extends ErrorEvent {
  /** The topic, queue or function that it happened on; empty where it is none's. */
  readonly topic: string;

  /** Made by the bus. */
  constructor(error: unknown, topic: string) {
    super("error", { error, message: textOf(error) });
    this.topic = topic;
  }

  /** The error, as the other events of a bus name theirs. */
  get detail(): unknown {
    return this.error;
  }
}

/**
 * The detail of a `"gap"` event: events may have been missed. Each subscription has its own, between the events before the hole and
 * those after it.
 */
export interface Gap {
  /** Why. */
  readonly reason: string;
  /** How many, where that is known; 0 otherwise. */
  readonly lost: number;
  /** The topic or glob of the subscription; absent where the bus has none. */
  readonly topic?: string;
}
