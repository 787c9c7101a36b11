/**
 * Taking items from named queues: first what came back, then what the kernel holds.
 *
 * @module
 */
import type { Delivery, ReceiveOptions } from "../../provider.ts";
import { check } from "./failures.ts";
import { readItem, writeItem } from "./frames.ts";
import { bodiesOf, HEAD, type Leases } from "./leases.ts";
import type { Loop } from "./loop.ts";
import { Errno } from "./posix.ts";
import type { OpenQueue } from "./queues.ts";
import type { Space } from "./space.ts";

/** Milliseconds between looks for what came back, of all who wait at the same moments. */
const LOOK = 200;
/** The same while there is no such queue, so that nothing else tells: a quarter of what was waited, within these bounds. */
const LOOK_MISSING = { min: 5, max: 100 };

/** See the module. */
export class Takes {
  #space: Space;
  #leases: Leases;
  #loop: Loop;
  #messageSize: number;
  #fault: (error: unknown) => void;
  #buffer = new Uint8Array(8_192);

  /** Takes for one bus. */
  constructor(space: Space, leases: Leases, loop: Loop, messageSize: number, fault: (error: unknown) => void) {
    this.#space = space;
    this.#leases = leases;
    this.#loop = loop;
    this.#messageSize = messageSize;
    this.#fault = fault;
  }

  /** See `Receiver.receive`. */
  async receive(queue: string, { max, wait, lease, signal }: ReceiveOptions): Promise<Delivery[]> {
    const name = this.#space.names.queue(queue);
    const start = performance.now();
    const deadline = start + wait;
    const { queues } = this.#space;
    while (true) {
      // only who puts makes a queue: one that was freed must not come back because somebody waits
      const open = queues.use(name);
      if (open) open.users++;
      try {
        const deliveries = this.#take(name, open, max, lease);
        const now = performance.now();
        if (deliveries.length > 0 || now >= deadline || signal.aborted || this.#loop.closed) return deliveries;
        const { min, max: most } = LOOK_MISSING;
        const look = open ? LOOK - now % LOOK : Math.min(most, Math.max(min, (now - start) / 4));
        await this.#loop.wait(open?.descriptor, "in", Math.min(look, deadline - now), signal);
      } finally {
        // it may be removed by others: held open, it would still count towards the limits
        if (open && --open.users === 0) queues.done(open);
      }
    }
  }

  /** See `Receiver.restore`. */
  restore(queue: string, deliveries: readonly Delivery[]): void {
    const name = this.#space.names.queue(queue);
    const { bodies } = this.#space;
    this.#leases.restore(
      name,
      deliveries.map(({ body, attempt }) => {
        let message = writeItem(body, false);
        if (message.length > this.#messageSize) message = writeItem(bodies.write(bodiesOf(name), body, true), true);
        return { message, attempt };
      }),
    );
  }

  #take(name: string, open: OpenQueue | undefined, max: number, lease: number | undefined): Delivery[] {
    const deliveries = this.#leases.take(name, max, lease);
    if (!open) return deliveries;
    if (this.#buffer.length < open.size) this.#buffer = new Uint8Array(open.size);
    while (deliveries.length < max) {
      const length = this.#space.posix.receive(open.descriptor, this.#buffer);
      if (length === -Errno.EINTR) continue;
      if (length === -Errno.EAGAIN || (length < 0 && deliveries.length > 0)) break;
      check(length, `Cannot take from the queue ${name}`);
      const message = this.#buffer.slice(0, length);
      const item = readItem(message);
      const attempt = item.deliveries + 1;
      try {
        const receipt = lease === undefined ? "" : this.#leases.hold(name, message, attempt, lease);
        const body = this.#body(name, item, lease === undefined, receipt);
        if (body !== undefined) deliveries.push({ receipt, body, attempt });
      } catch (error) {
        // it could not be held: back into its queue, and the taker is told
        this.#space.posix.send(open.descriptor, message, message.length, HEAD);
        if (deliveries.length === 0) throw error;
        break;
      }
    }
    return deliveries;
  }

  /** The body of an item; one that names a file which is not there is none. */
  #body(
    queue: string,
    { text, file }: { readonly text: string; readonly file: boolean },
    forGood: boolean,
    receipt: string,
  ): string | undefined {
    if (!file) return text;
    const { bodies } = this.#space;
    try {
      const body = bodies.read(bodiesOf(queue), text);
      if (forGood) bodies.remove(bodiesOf(queue), text);
      return body;
    } catch (error) {
      if (!forGood) this.#leases.ack(queue, receipt);
      this.#fault(error);
      return undefined;
    }
  }
}
