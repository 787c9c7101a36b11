/**
 * The names of message attributes that other programs have given to items. An item that no handler has started goes back with them.
 *
 * The SDK reads the answers of SQS with `JSON.parse`, and the engine keeps each new name in a table whose hash is public: names that collide
 * take a time that grows with the square of their number. So after a number of different names, only tsmq's own attribute is asked for. Then
 * an item that no handler has started cannot be sent again without losing attributes: it stays in its queue, and SQS counts the delivery.
 *
 * @module
 */
import type { Message } from "@aws-sdk/client-sqs";
import { BusError } from "../../errors.ts";
import { textSet } from "../../internal/text_map.ts";

/** The number of different names. So many that collide take about 20 ms; programs give an attribute the same name in all their items. */
const LIMIT = 1_024;

/** The names that a bus has seen. */
export class AttributeNames {
  readonly #names = textSet([]);
  readonly #fault: (error: BusError) => void;
  #full = false;

  /** Starts without names. `fault` is called once, when there are too many. */
  constructor(fault: (error: BusError) => void) {
    this.#fault = fault;
  }

  /** True while all attributes are asked for. */
  get all(): boolean {
    return !this.#full;
  }

  /** Counts the names of received items. */
  count(messages: readonly Message[]): void {
    if (this.#full) return;
    for (const { MessageAttributes = {} } of messages) {
      for (const name of Object.keys(MessageAttributes)) this.#names.set(name, true);
    }
    if (this.#names.size <= LIMIT) return;
    this.#full = true;
    this.#names.clear();
    this.#fault(
      new BusError(
        "busy",
        `Items of other programs have more than ${LIMIT} different names of message attributes. From now on, tsmq reads no more of them, and ` +
          "an item that no handler has started keeps the delivery that SQS has counted",
      ),
    );
  }
}
