/**
 * The receiving half, in the worker: two small queues of its own, one for events and one for what is posted to its inbox.
 *
 * @module
 */
import { BusError, ClosedError, ProviderError } from "../../errors.ts";
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
import { removeBus } from "./cleanup.ts";
import { check } from "./errors.ts";
import { type Frame, readEvents, readLarge } from "./frames.ts";
import { CrashSlot } from "./crash_slot.ts";
import { Leases } from "./leases.ts";
import { PollLoop } from "./poll_loop.ts";
import { eventsOf, inboxOf } from "./names.ts";
import { Errno } from "./errno.ts";
import type { OpenQueue, Size } from "./mqueues.ts";
import { Namespace, type Settings } from "./namespace.ts";
import { ItemReceiver } from "./item_receiver.ts";

/**
 * What a bus's own queues are like. 60 buses share the 819,200 bytes that a user has, so each may have 13,653 of them, with 96
 * for each message. PyMQ writes events of up to 8,192 bytes; ours are packed together. Smaller ones do where that is too much.
 */
export const EVENTS: readonly Size[] = [8_192, 2_048, 512].map((size) => ({ messages: 1, size }));
export const INBOX: readonly Size[] = [{ messages: 2, size: 2_048 }, { messages: 2, size: 512 }, {
  messages: 1,
  size: 256,
}];
/** Milliseconds between looks for buses that died, and for a directory that PyMQ has made: of each, times the buses there are. */
const PATROL = 2_000;
/** Messages read before others have their turn. */
const READ = 64;

interface Subscribed {
  readonly matches: (topic: string) => boolean;
  readonly emit: Emit;
}

/** Opens the receiving half of an IPC bus. */
export async function openReceiver(context: ReceiverContext): Promise<Receiver> {
  const settings = context.options as Settings;
  const namespace = await Namespace.open(settings, context.namespace, () => {});
  for (const each of [namespace, ...namespace.others()]) {
    for (const bus of each.deadBuses()) removeBus(each, bus);
    if (each !== namespace) each.queues.close();
  }
  const eventfd = check(namespace.posix.eventfd(), "Cannot make a doorbell");
  const name = namespace.names.newBus(namespace.processes.self, eventfd);
  try {
    return new IpcReceiver(context, settings, namespace, name, eventfd);
  } catch (error) {
    removeBus(namespace, name);
    namespace.queues.close();
    namespace.posix.close(eventfd);
    throw error;
  }
}

class IpcReceiver implements AskHandler, Receiver {
  readonly askHandler: AskHandler = this;
  readonly inbox: string;
  #context: ReceiverContext;
  #namespace: Namespace;
  #events: OpenQueue;
  #inbox: OpenQueue;
  #pollLoop: PollLoop;
  #leases: Leases;
  #crashSlot: CrashSlot;
  #itemReceiver: ItemReceiver;
  #exact = new Map<string, Set<Emit>>();
  #patterns = new Map<string, Subscribed>();
  /** What is subscribed: how to end each. */
  #unsubscribers = new Map<string, () => void>();
  #buffer: Uint8Array;
  #closing: Promise<void> | undefined;

  constructor(context: ReceiverContext, settings: Settings, namespace: Namespace, name: string, eventfd: number) {
    this.inbox = name;
    this.#context = context;
    this.#namespace = namespace;
    const directory = namespace.busDirectory(name);
    check(namespace.directories.within("loops", () => namespace.directories.make(directory)), "Cannot open a bus");
    this.#events = namespace.queues.make(eventsOf(name), EVENTS);
    this.#inbox = namespace.queues.make(inboxOf(name), INBOX);
    this.#buffer = new Uint8Array(Math.max(this.#events.size, this.#inbox.size));
    this.#pollLoop = new PollLoop(namespace.posix, eventfd, context);
    this.#leases = new Leases(namespace, name);
    this.#crashSlot = new CrashSlot(namespace, name);
    this.#itemReceiver = new ItemReceiver(
      namespace,
      this.#leases,
      this.#crashSlot,
      this.#pollLoop,
      settings.messageSize,
      context.fault,
    );
    const patrol = () => this.#patrol();
    void this.#pollLoop.wait(undefined, "in", Infinity, { look: patrol });
    this.#pollLoop.read(this.#inbox.descriptor, () => this.#readInbox());
    this.#readEvents();
    context.onDrain = () => this.#readEvents();
    this.#pollLoop.start();
  }

  // deno-lint-ignore require-await
  async subscribe(filter: Filter, emit: Emit): Promise<void> {
    if (this.#closing) throw new ClosedError();
    const { topic, pattern, serves } = filter;
    const { subscriptions } = this.#namespace;
    if (pattern) {
      subscriptions.subscribePattern(topic, this.inbox);
      this.#patterns.set(topic, { matches: glob(topic), emit });
      this.#unsubscribers.set(keyOf(filter), () => {
        this.#patterns.delete(topic);
        subscriptions.unsubscribePattern(topic, this.inbox);
      });
      return;
    }
    subscriptions.subscribe(topic, this.inbox);
    const emits = this.#exact.get(topic) ?? new Set();
    this.#exact.set(topic, emits.add(emit));
    const end = () => {
      emits.delete(emit);
      if (serves) subscriptions.unregister(topic, this.inbox);
      if (emits.size > 0) return;
      this.#exact.delete(topic);
      subscriptions.unsubscribe(topic, this.inbox);
    };
    this.#unsubscribers.set(keyOf(filter), end);
    if (!serves) return;
    try {
      subscriptions.register(topic, this.inbox);
    } catch (error) {
      end();
      throw error;
    }
  }

  // deno-lint-ignore require-await
  async unsubscribe(filter: Filter): Promise<void> {
    this.#unsubscribers.get(keyOf(filter))?.();
    this.#unsubscribers.delete(keyOf(filter));
  }

  receive(queue: string, options: ReceiveOptions): Promise<Delivery[]> {
    return this.#itemReceiver.receive(queue, options);
  }

  // deno-lint-ignore require-await
  async restore(queue: string, deliveries: readonly Delivery[]): Promise<void> {
    this.#pollLoop.look();
    this.#itemReceiver.restore(queue, deliveries);
  }

  // deno-lint-ignore require-await
  async start(queue: string, receipts: readonly string[]): Promise<boolean[]> {
    const name = this.#namespace.names.queue(queue);
    return receipts.map((receipt) => this.#leases.start(name, receipt));
  }

  // deno-lint-ignore require-await
  async settle(queue: string, receipts: readonly string[], outcome: Outcome, delay: number): Promise<boolean[]> {
    const name = this.#namespace.names.queue(queue);
    if (outcome !== "ack") this.#pollLoop.look();
    return receipts.map((receipt) =>
      outcome === "ack"
        ? this.#leases.ack(name, receipt)
        : this.#leases.giveBack(name, receipt, delay, outcome === "untried")
    );
  }

  // deno-lint-ignore require-await
  async extend(queue: string, receipts: readonly string[], lease: number): Promise<boolean[]> {
    const name = this.#namespace.names.queue(queue);
    return receipts.map((receipt) => this.#leases.extend(name, receipt, lease));
  }

  /** What the sender asks: to wait for room where it must not, and to clear up after a bus that is gone. */
  answer(verb: string, argument: unknown): unknown {
    switch (verb) {
      case "room": {
        const [descriptor, ms] = argument as [number, number];
        return this.#pollLoop.wait(descriptor, "out", ms);
      }
      case "sweep": {
        const bus = argument as string;
        if (this.#namespace.gone(bus, "missing")) removeBus(this.#namespace, bus);
        return undefined;
      }
      default:
        throw new BusError("internal", `Cannot answer "${verb}": the IPC provider does not know it`);
    }
  }

  close(): Promise<void> {
    return this.#closing ??= this.#close();
  }

  async #close(): Promise<void> {
    for (const end of this.#unsubscribers.values()) end();
    this.#unsubscribers.clear();
    // what is there now is passed on, and answered; whoever posts later sees that nobody has read it
    this.#namespace.posix.unlinkQueue(this.#inbox.name);
    this.#readInbox();
    this.#crashSlot.close();
    removeBus(this.#namespace, this.inbox);
    try {
      for (const bus of this.#namespace.deadBuses()) removeBus(this.#namespace, bus);
    } catch {
      // who opens or closes next does it
    }
    await this.#pollLoop.close();
    this.#namespace.queues.close();
  }

  /** The milliseconds until the next: each bus looks more rarely the more there are, so that all together look as often as one. */
  #patrol(): number {
    let buses: readonly string[] = [];
    try {
      buses = this.#namespace.buses();
      for (const bus of this.#namespace.dead(buses)) removeBus(this.#namespace, bus);
      if (this.#namespace.subscriptions.discover()) {
        for (const topic of this.#exact.keys()) this.#namespace.subscriptions.subscribe(topic, this.inbox);
      }
    } catch (error) {
      this.#context.fault(error);
    }
    const every = PATROL * Math.max(1, buses.length);
    return every - performance.now() % every; // when others look too, so that the thread wakes once
  }

  /** Reads events as long as main keeps up; what is not read stays in the queue, and its senders wait. */
  #readEvents(): void {
    this.#pollLoop.read(this.#events.descriptor, () => {
      this.#read(this.#events, (frame) => this.#emit(frame));
      if (this.#context.congested) this.#pollLoop.read(this.#events.descriptor, undefined);
    });
  }

  #readInbox(): void {
    this.#read(this.#inbox, ({ body }) => this.#context.inbox(body));
  }

  #read({ descriptor }: OpenQueue, take: (frame: Frame) => void): void {
    for (let i = 0; i < READ; i++) {
      const length = this.#namespace.posix.receive(descriptor, this.#buffer);
      if (length < 0) {
        if (length !== -Errno.EAGAIN && length !== -Errno.EINTR) {
          this.#context.fault(new ProviderError("internal", `Cannot read events: errno ${-length}`));
        }
        return;
      }
      const frames = readEvents(this.#buffer.subarray(0, length));
      if (!frames) {
        const text = `Cannot read a message of ${length} bytes: it is neither of ours nor of PyMQ's`;
        this.#context.fault(new ProviderError("internal", text));
        continue;
      }
      for (const frame of frames) {
        if (!frame.file) take(frame);
        else this.#takeLarge(frame.body, take);
      }
    }
  }

  #takeLarge(file: string, take: (frame: Frame) => void): void {
    const { bodyFiles } = this.#namespace;
    const directory = this.#namespace.busDirectory(this.inbox);
    try {
      const frame = readLarge(bodyFiles.read(directory, file));
      if (!frame) {
        throw new ProviderError("internal", `Cannot read the event in ${directory}/${file}: it is none of ours`);
      }
      take(frame);
    } catch (error) {
      this.#context.fault(error);
    }
    bodyFiles.remove(directory, file);
  }

  #emit({ topic, body }: Frame): void {
    for (const emit of this.#exact.get(topic) ?? []) emit(topic, body);
    for (const { matches, emit } of this.#patterns.values()) if (matches(topic)) emit(topic, body);
  }
}

function keyOf({ topic, pattern, serves }: Filter): string {
  return `${pattern ? "*" : "="}${serves ? "!" : "."}${topic}`;
}
