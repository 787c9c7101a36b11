import type {
  AskHandler,
  Delivery,
  Emit,
  Filter,
  Outcome,
  ReceiveOptions,
  Receiver,
} from "../../src/provider/provider.ts";

/** A receiver without a transport. The test acts as the transport, and reads the calls of the port. */
export class TestReceiver implements AskHandler, Receiver {
  readonly askHandler: AskHandler = this;
  readonly inbox: string = crypto.randomUUID();
  /** The calls, in order. */
  readonly calls: unknown[][] = [];
  readonly emits = new Map<string, Emit>();
  readonly items: Delivery[] = [];
  /** The pending call of `receive`, if any. */
  waiting: number | undefined;
  closed = false;
  aborted = false;
  /** The errors of the next operations, one for each. */
  readonly failures: unknown[] = [];

  subscribe(filter: Filter, emit: Emit): Promise<void> {
    this.calls.push(["subscribe", filter]);
    return this.#fail(() => void this.emits.set(filter.topic, emit));
  }

  unsubscribe(filter: Filter): Promise<void> {
    this.calls.push(["unsubscribe", filter.topic]);
    return this.#fail(() => void this.emits.delete(filter.topic));
  }

  async receive(queue: string, options: ReceiveOptions): Promise<Delivery[]> {
    const { max, wait, lease, signal } = options;
    this.calls.push(["receive", queue, max, lease]);
    await this.#fail(() => {});
    if (this.items.length === 0 && wait > 0 && !signal.aborted) {
      this.waiting = wait;
      await new Promise<void>((resolve) => {
        this.#arrived = resolve;
        signal.addEventListener("abort", () => resolve(), { once: true });
        setTimeout(resolve, Math.min(wait, 2 ** 31 - 1));
      });
      this.waiting = undefined;
    }
    return this.items.splice(0, max);
  }

  /** Items arrive. */
  offer(...bodies: string[]): void {
    for (const body of bodies) this.items.push({ receipt: `lease of ${body}`, body, attempt: 1 });
    this.#arrived?.();
  }
  #arrived: (() => void) | undefined;

  restore(queue: string, deliveries: readonly Delivery[]): Promise<void> {
    this.calls.push(["restore", queue, deliveries.map((delivery) => delivery.body)]);
    this.items.unshift(...deliveries);
    return Promise.resolve();
  }

  start(queue: string, receipts: readonly string[]): Promise<boolean[]> {
    this.calls.push(["start", queue, [...receipts]]);
    return this.#fail(() => receipts.map((receipt) => receipt !== "nobody's"));
  }

  settle(queue: string, receipts: readonly string[], outcome: Outcome, delay: number): Promise<boolean[]> {
    this.calls.push(["settle", queue, [...receipts], outcome, delay]);
    return this.#fail(() => receipts.map(() => true));
  }

  extend(queue: string, receipts: readonly string[], lease: number): Promise<boolean[]> {
    this.calls.push(["extend", queue, [...receipts], lease]);
    return this.#fail(() => receipts.map(() => true));
  }

  answer(verb: string, argument: unknown): unknown {
    this.calls.push(["answer", verb]);
    if (verb === "never") return new Promise(() => {});
    return this.#fail(() => argument);
  }

  close(): Promise<void> {
    this.closed = true;
    return Promise.resolve();
  }

  abort(): void {
    this.aborted = true;
  }

  #fail<T>(work: () => T): Promise<T> {
    const failure = this.failures.shift();
    return failure === undefined ? Promise.resolve(work()) : Promise.reject(failure);
  }
}
