/**
 * The receiving half: one queue of the bus's own for events and its inbox, and long polls on named queues.
 *
 * @module
 */
import { BusError } from "../../errors.ts";
import { glob } from "../../provider/glob.ts";
import type {
  AskHandler,
  Delivery,
  Emit,
  Filter,
  Outcome,
  ReceiveOptions,
  Receiver,
  ReceiverContext,
} from "../../provider/provider.ts";
import { Api, type AskCredentials, BATCH, pause } from "./client.ts";
import { BusQueue } from "./bus_queue.ts";
import { fateOf, toBusError } from "./errors.ts";
import { Leases, secondsOf } from "./leases.ts";
import { Names } from "./names.ts";
import type { AwsCredentials, Settings } from "./options.ts";
import { nameOf } from "./arns.ts";
import { Pump, type Sink } from "./bus_queue_reader.ts";
import { Queues } from "./queue_urls.ts";
import { sweep } from "./cleanup.ts";
import { Tap } from "./queue_poller.ts";
import { Topics } from "./topics.ts";
import { type Content, PATTERNS_TTL, write } from "./message.ts";

/** Milliseconds that a request may take with all attempts. */
const TIMEOUT = 10_000;
/** Each queue that is waited for takes a socket, and more than one while it is busy. */
const POLL_SOCKETS = 1_024;
/** Milliseconds that closing waits for items to be given back. */
const GIVE_BACK = 500;
/** Milliseconds that closing waits until the own queue looks empty. */
const QUIET = 300;

/** Opens the receiving half. */
export async function openReceiver(context: ReceiverContext): Promise<Receiver> {
  const settings = context.options as Settings;
  const receiver = new AwsReceiver(settings, context);
  try {
    await receiver.open(context.connectTimeout);
    return receiver;
  } catch (error) {
    receiver.abandon();
    throw toBusError("open an AWS bus", error);
  }
}

class AwsReceiver implements AskHandler, Receiver {
  readonly askHandler: AskHandler = this;
  readonly inbox: string;
  readonly #settings: Settings;
  readonly #context: ReceiverContext;
  readonly #names: Names;
  readonly #api: Api;
  readonly #polls: Api;
  readonly #queue: BusQueue;
  readonly #topics: Topics;
  readonly #queues: Queues;
  readonly #leases: Leases;
  readonly #closing = new AbortController();
  /** SNS topic → what it is called, and who is told. */
  readonly #exact = new Map<string, { readonly topic: string; readonly emits: Map<boolean, Emit> }>();
  readonly #patterns = new Map<string, { readonly matches: (topic: string) => boolean; readonly emit: Emit }>();
  /** Resolves when every publisher knows that this bus subscribes to patterns. */
  #known: Promise<void> | undefined;
  readonly #taps = new Map<string, Tap>();
  #pump: Pump | undefined;
  #closed: Promise<void> | undefined;

  constructor(settings: Settings, context: ReceiverContext) {
    const ask: AskCredentials = async () => await context.ask("credentials", undefined) as AwsCredentials;
    this.#settings = settings;
    this.#context = context;
    this.#names = new Names(context.namespace);
    this.inbox = this.#names.bus();
    this.#api = new Api(settings, ask, TIMEOUT);
    this.#polls = new Api(settings, ask, TIMEOUT, POLL_SOCKETS);
    const fault = (error: unknown) => context.fault(toBusError("keep an AWS bus", error));
    this.#queue = new BusQueue(this.#api, this.inbox, settings.lease, fault);
    this.#topics = new Topics(this.#api, this.#queue, settings.rawDelivery, (reason) => context.gap(reason));
    this.#queues = new Queues(this.#api, this.#names);
    this.#leases = new Leases(this.#api, this.#queues);
  }

  async open(timeout: number): Promise<void> {
    await this.#queue.open(timeout);
    const sink: Sink = {
      take: (content) => this.#take(content),
      lost: () => this.#lost(timeout),
      state: (connected, error) => this.#context.state(connected, error),
      fault: (error) => this.#context.fault(error),
    };
    this.#pump = new Pump(this.#polls, this.#api, this.#queue, this.#settings.poll, sink);
    // what dead buses left is no concern of those who open this one
    sweep(this.#api, this.#names, this.#closing.signal).catch((error) => {
      // where many buses open at once, the next one sweeps
      if (this.#closing.signal.aborted || fateOf(error) === "throttled") return;
      this.#context.fault(toBusError("sweep up after dead buses", error));
    });
  }

  async subscribe(filter: Filter, emit: Emit): Promise<void> {
    try {
      if (filter.pattern) await this.#match(filter.topic, emit);
      else await this.#join(filter, emit);
    } catch (error) {
      this.#drop(filter);
      throw toBusError(`subscribe to "${filter.topic}"`, error);
    }
  }

  async unsubscribe(filter: Filter): Promise<void> {
    if (!this.#drop(filter)) return;
    const { topic, pattern, serves } = filter;
    try {
      // nobody is to find a server that no longer listens
      if (serves) await this.#topics.leave(this.#names.registry(topic));
      await this.#topics.leave(pattern ? this.#names.all : this.#names.topic(topic));
    } catch (error) {
      throw toBusError(`unsubscribe from "${topic}"`, error);
    }
  }

  async receive(queue: string, options: ReceiveOptions): Promise<Delivery[]> {
    const key = `${options.lease ?? ""}:${queue}`;
    let tap = this.#taps.get(key);
    if (!tap) {
      for (const [key, tap] of this.#taps) if (!tap.busy) this.#taps.delete(key);
      const home = {
        polls: this.#polls,
        queues: this.#queues,
        leases: this.#leases,
        seconds: this.#settings.poll,
        closing: this.#closing.signal,
      };
      this.#taps.set(key, tap = new Tap(home, queue, options.lease));
    }
    return await tap.take(options);
  }

  /** SQS has no head to put anything back to: the items come last, as new ones. */
  async restore(queue: string, deliveries: readonly Delivery[]): Promise<void> {
    for (let at = 0; at < deliveries.length; at += BATCH) {
      const items = deliveries.slice(at, at + BATCH).map(({ body, attempt }) =>
        write(body, attempt > 1 ? { attempts: attempt - 1 } : {}, `put back into "${queue}"`)
      );
      for (const error of await this.#queues.put(queue, items)) if (error) throw error;
    }
  }

  /** SQS has nowhere to record it, and counts takes. */
  start(_queue: string, receipts: readonly string[]): Promise<boolean[]> {
    return Promise.resolve(this.#leases.holds(receipts));
  }

  settle(queue: string, receipts: readonly string[], outcome: Outcome, delay: number): Promise<boolean[]> {
    return outcome === "ack" ? this.#leases.ack(queue, receipts) : this.#leases[outcome](queue, receipts, delay);
  }

  extend(queue: string, receipts: readonly string[], lease: number): Promise<boolean[]> {
    return this.#leases.extend(queue, receipts, secondsOf(lease, 1));
  }

  answer(verb: string): unknown {
    if (verb === "place") return this.#queue.place;
    throw new BusError("internal", `Cannot answer "${verb}": the AWS receiver knows no such question`);
  }

  close(): Promise<void> {
    return this.#closed ??= this.#close();
  }

  /** Ends what was never open. */
  abandon(): void {
    this.#closing.abort();
    this.#pump?.close();
    this.#queue.stop();
    this.#api.close();
    this.#polls.close();
  }

  /** The own queue is read to its end: calls that came late are refused, so that their callers go to other servers. */
  async #close(): Promise<void> {
    this.#closing.abort();
    const late = new AbortController();
    const taps = Promise.all([...this.#taps.values()].map((tap) => tap.idle()));
    try {
      // all are tried, whatever becomes of the others
      const [topics] = await Promise.allSettled([
        this.#topics.close().then(() => this.#pump?.quiet(QUIET)),
        Promise.race([taps, pause(GIVE_BACK, late.signal)]),
      ]);
      // a sweep finds by the queue which subscriptions are left
      if (topics.status === "rejected") throw topics.reason;
      await this.#queue.close();
    } catch (error) {
      throw toBusError("clear up after an AWS bus", error);
    } finally {
      late.abort();
      this.abandon();
    }
  }

  async #join({ topic, serves }: Filter, emit: Emit): Promise<void> {
    const name = this.#names.topic(topic);
    let exact = this.#exact.get(name);
    if (!exact) this.#exact.set(name, exact = { topic, emits: new Map() });
    exact.emits.set(serves, emit);
    await this.#topics.join(name);
    // it may have been ended meanwhile
    if (!serves || exact.emits.get(serves) !== emit) return;
    try {
      await this.#topics.join(this.#names.registry(topic), true);
    } catch (error) {
      await this.#topics.leave(name).catch(() => {}); // the first error tells more
      throw error;
    }
  }

  async #match(pattern: string, emit: Emit): Promise<void> {
    this.#patterns.set(pattern, { matches: glob(pattern), emit });
    const fresh = await this.#topics.join(this.#names.all);
    // publishers that found no such topic do not look again for so long
    if (fresh) this.#known = pause(PATTERNS_TTL, this.#closing.signal);
    await this.#known;
  }

  /** Stops telling; false if nobody was told. */
  #drop({ topic, pattern, serves }: Filter): boolean {
    if (pattern) return this.#patterns.delete(topic);
    const name = this.#names.topic(topic);
    const exact = this.#exact.get(name);
    if (!exact?.emits.delete(serves)) return false;
    if (exact.emits.size === 0) this.#exact.delete(name);
    return true;
  }

  #take({ label, body, topicArn }: Content): boolean {
    if (label.inbox) {
      this.#context.inbox(body);
      return true;
    }
    if (this.#context.congested) return false;
    const { topic } = label;
    if (topic === undefined) this.#takeForeign(body, topicArn);
    else if (label.all) {
      for (const { matches, emit } of this.#patterns.values()) {
        if (matches(topic)) emit(topic, body);
      }
    } else for (const emit of this.#exact.get(this.#names.topic(topic))?.emits.values() ?? []) emit(topic, body);
    return true;
  }

  /** An event whose publisher is not tsmq: only an envelope names its topic. */
  #takeForeign(body: string, topicArn: string | undefined): void {
    if (topicArn !== undefined) {
      const exact = this.#exact.get(nameOf(topicArn));
      for (const emit of exact?.emits.values() ?? []) emit(exact!.topic, body);
      return;
    }
    const text =
      "Cannot tell the topic of an event: its publisher is not tsmq; open the provider with rawDelivery: false";
    this.#context.fault(new BusError("invalid", text));
  }

  /** Somebody deleted our queue: a sweep, because we were away for longer than the lease. */
  async #lost(timeout: number): Promise<boolean> {
    if (this.#closing.signal.aborted || !await this.#queue.reopen(timeout)) return false;
    try {
      await this.#topics.again();
    } catch (error) {
      this.#context.fault(toBusError("subscribe again", error));
    }
    this.#context.gap("the queue of the bus was deleted, and is there again");
    return true;
  }
}
