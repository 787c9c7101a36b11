/**
 * The subscriptions of one bus. They receive the events of its queue.
 *
 * @module
 */
import { BusError } from "../../errors.ts";
import { TextMap } from "../../internal/text_map.ts";
import { pause } from "../../internal/time.ts";
import type { Emit, Filter, ReceiverContext } from "../../provider/provider.ts";
import { Router } from "../../provider/router.ts";
import { nameOf } from "./arns.ts";
import { type Content, PATTERNS_TTL } from "./message.ts";
import type { Names } from "./names.ts";

/** The largest number of held events of one topic. SQS keeps further events. If their bodies have the largest size, they take 64 MiB. */
const MAX_HELD = 256;

/** Emits events to the subscriptions of a bus. */
export class Subscriptions {
  readonly #names: Names;
  readonly #context: ReceiverContext;
  readonly #closing: AbortSignal;
  /** Finds the subscriptions to an exact topic by its SNS topic. */
  readonly #router: Router;
  /** The SNS topic of each subscription, and the function that ends the subscription. */
  readonly #subscriptions = new Map<Filter, { readonly name: string; readonly end: () => void }>();
  /** SNS topic → its held events. They wait until the bus knows whether earlier events were lost. */
  readonly #held = new TextMap<Content[]>();

  /** Prepares the subscriptions of a bus with these names. */
  constructor(names: Names, context: ReceiverContext, closing: AbortSignal) {
    this.#names = names;
    this.#context = context;
    this.#router = new Router({ refuse: (error) => context.fault(error, true) });
    this.#closing = closing;
  }

  /** True if there is no subscription. */
  get empty(): boolean {
    return this.#subscriptions.size === 0;
  }

  /** Returns the SNS topic that carries the events of a filter. */
  topicOf({ topic, pattern }: Filter): string {
    return pattern ? this.#names.all : this.#names.topic(topic);
  }

  /** Emits the events of a filter from now on. */
  add(filter: Filter, emit: Emit): void {
    const name = this.topicOf(filter);
    const end = this.#router.add(filter, emit, filter.pattern ? filter.topic : name);
    this.#subscriptions.set(filter, { name, end });
  }

  /** Returns true while the events of a filter are emitted. */
  has(filter: Filter): boolean {
    return this.#subscriptions.has(filter);
  }

  /** Emits no more events of a filter. Returns false if the filter is unknown. */
  remove(filter: Filter): boolean {
    this.#subscriptions.get(filter)?.end();
    return this.#subscriptions.delete(filter);
  }

  /** Emits or holds an event. Returns false if there is no room to hold it. */
  emit(content: Content): boolean {
    const { label: { topic, all }, topicArn } = content;
    // only an envelope of SNS names the topic of an event that tsmq did not publish
    const name = topic === undefined ? topicArn && nameOf(topicArn) : all ? this.#names.all : this.#names.topic(topic);
    if (name === undefined) {
      const text =
        "Cannot find the topic of an event: tsmq did not publish it; create the provider with rawDelivery: false";
      this.#context.fault(new BusError("invalid", text), true);
      return true;
    }
    const held = this.#held.get(name);
    if (!held) this.#emit(name, content);
    else if (held.length < MAX_HELD) held.push(content);
    else return false;
    return true;
  }

  /** Holds the events of an SNS topic until {@linkcode release}. */
  hold(name: string): void {
    this.#held.set(name, []);
  }

  /** Emits the held events. If `missed` is the reason of a gap, it reports the gap first. */
  async release(name: string, missed?: string): Promise<void> {
    if (missed !== undefined) {
      // publishers that found no topic for patterns do not ask again during this time
      if (name === this.#names.all) await pause(PATTERNS_TTL, this.#closing);
      for (const filter of this.#filters(name)) this.#context.gap(missed, filter);
    }
    const held = this.#held.get(name) ?? [];
    this.#held.delete(name);
    for (const content of held) this.#emit(name, content);
  }

  #filters(name: string): Filter[] {
    return [...this.#subscriptions].filter(([, subscription]) => subscription.name === name).map(([filter]) => filter);
  }

  #emit(name: string, { label: { topic }, body }: Content): void {
    if (name === this.#names.all) {
      if (topic !== undefined) this.#router.emitPatterns(topic, body); // tsmq published it
      return;
    }
    this.#router.emitExact(name, body);
  }
}
