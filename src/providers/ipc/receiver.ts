/**
 * The receiving half of an IPC bus, in its worker: it reads two small queues, one for events and one for direct messages.
 *
 * @module
 */
import { pause, RETRY, spread } from "../../internal/time.ts";
import { BusError, ClosedError } from "../../errors.ts";
import { readTopic, writeTopic } from "../../provider/topic_mark.ts";
import type {
  AskHandler,
  Binder,
  Delivery,
  Emit,
  Filter,
  Outcome,
  ReceiveOptions,
  Receiver,
  ReceiverContext,
} from "../../provider/provider.ts";
import { filterKey, Router } from "../../provider/router.ts";
import { BRIEF, cleanBriefly, Cleanup, OthersCleanup, removeBus, STEPS } from "./cleanup.ts";
import { check, isLimit } from "./errors.ts";
import type { Frame } from "./frames.ts";
import { MessageReader } from "./message_reader.ts";
import { CrashSlot } from "./crash_slot.ts";
import { largestText } from "../../provider/largest_text.ts";
import { Leases } from "./leases.ts";
import { Moves } from "./moves.ts";
import { Peeker } from "./peeker.ts";
import { PollLoop } from "./poll_loop.ts";
import { eventsOf, inboxOf } from "./names.ts";
import { EVENTS, INBOX, type OpenQueue } from "./mqueues.ts";
import { BUSES, Namespace, type Settings } from "./namespace.ts";
import { ItemReceiver } from "./item_receiver.ts";
import { Refill } from "./refill.ts";
import { tellThread } from "./worker_thread.ts";

/** Milliseconds that opening waits for room. */
const ROOM = 2_000;

/** Opens the receiving half of an IPC bus. */
export async function openReceiver(context: ReceiverContext): Promise<Receiver> {
  const settings = context.options as Settings;
  const namespace = await Namespace.open(settings, context.namespace, () => {}, largestText(context.maxReceive));
  const [cleanup, others] = [new Cleanup(namespace), new OthersCleanup(namespace)];
  try {
    cleanup.run(STEPS, BRIEF);
    return await openWhenRoom(context, namespace, cleanup, others);
  } catch (error) {
    cleanup.end();
    namespace.close();
    throw error;
  }
}

/**
 * Opens a bus. If the limits leave no room for its queues, it cleans other namespaces, where dead buses may have queues, and waits a
 * moment: others may need that room only briefly.
 */
async function openWhenRoom(
  context: ReceiverContext,
  namespace: Namespace,
  cleanup: Cleanup,
  others: OthersCleanup,
): Promise<Receiver> {
  const end = performance.now() + Math.min(ROOM, context.connectTimeout / 2);
  while (true) {
    try {
      return open(context, namespace, cleanup, others);
    } catch (error) {
      if (!isLimit(error) || performance.now() >= end) throw error;
    }
    others.finish();
    await pause(spread(RETRY.prompt.min));
    cleanup.run(STEPS, BRIEF);
  }
}

function open(context: ReceiverContext, namespace: Namespace, cleanup: Cleanup, others: OthersCleanup): Receiver {
  const eventfd = check(namespace.posix.eventfd(), "Cannot create an eventfd");
  const name = namespace.names.newBus(namespace.processes.self, eventfd);
  try {
    return new IpcReceiver(context, namespace, name, eventfd, cleanup, others);
  } catch (error) {
    removeBus(namespace, name);
    namespace.queues.close(); // the first of its two queues counts towards the limits as long as it is open
    namespace.posix.close(eventfd);
    throw error;
  }
}

class IpcReceiver implements AskHandler, Receiver {
  readonly askHandler: AskHandler = this;
  readonly inbox: string;
  readonly binder: Binder = {
    // deno-lint-ignore require-await
    bind: async (filter, queue) => {
      const { subscriptions } = this.#namespace;
      subscriptions.patterns.bind(filter, queue, this.#namespace.busDirectory(this.inbox));
    },
    // deno-lint-ignore require-await
    unbind: async (filter, queue) => this.#namespace.subscriptions.patterns.unbind(filter, queue),
  };
  #context: ReceiverContext;
  #namespace: Namespace;
  #events: OpenQueue;
  #inbox: OpenQueue;
  /** The number of messages that the inbox holds. */
  #inboxMessages: number;
  #pollLoop: PollLoop;
  #leases: Leases;
  #crashSlot: CrashSlot;
  #itemReceiver: ItemReceiver;
  #peeker: Peeker;
  #refill: Refill;
  #cleanup: Cleanup;
  #others: OthersCleanup;
  #router: Router;
  /** The functions that end the subscriptions, by the keys of the filters. */
  #unsubscribers = new Map<string, () => void>();
  #reader: MessageReader;
  #closing: Promise<void> | undefined;

  constructor(
    context: ReceiverContext,
    namespace: Namespace,
    name: string,
    eventfd: number,
    cleanup: Cleanup,
    others: OthersCleanup,
  ) {
    this.inbox = name;
    this.#context = context;
    this.#router = new Router({ refuse: (error) => context.fault(error, true) });
    this.#namespace = namespace;
    this.#cleanup = cleanup;
    this.#others = others;
    const directory = namespace.busDirectory(name);
    check(namespace.directories.within(BUSES, () => namespace.directories.make(directory)), "Cannot open a bus");
    this.#events = namespace.queues.create(eventsOf(name), EVENTS);
    this.#inbox = namespace.queues.create(inboxOf(name), INBOX);
    tellThread(namespace, name, [this.#events.descriptor, this.#inbox.descriptor], context);
    this.#inboxMessages = namespace.posix.attributes(this.#inbox.descriptor)?.messages ?? 1;
    this.#pollLoop = new PollLoop(namespace.posix, eventfd, context);
    this.#reader = new MessageReader(namespace, directory, context.fault, () => this.#pollLoop.probeAll());
    const moves = new Moves(namespace, name);
    this.#leases = new Leases(namespace, name, moves);
    this.#refill = new Refill(namespace, moves, () => this.#leases.key(), context.fault);
    this.#crashSlot = new CrashSlot(namespace, name);
    this.#peeker = new Peeker(namespace, moves, this.#leases, this.#crashSlot);
    this.#itemReceiver = new ItemReceiver(
      namespace,
      name,
      moves,
      this.#leases,
      this.#crashSlot,
      this.#pollLoop,
      (context.options as Settings).messageSize,
      context.fault,
    );
    void this.#pollLoop.wait(undefined, "in", Infinity, { probe: () => this.#cleanUp() });
    void this.#pollLoop.wait(undefined, "in", Infinity, { probe: () => this.#others.run() });
    void this.#pollLoop.wait(undefined, "in", Infinity, { probe: () => this.#refill.run() });
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
    if (pattern) subscriptions.patterns.subscribe(topic, this.inbox, this.#namespace.busDirectory(this.inbox));
    else subscriptions.subscribe(topic, this.inbox);
    const remove = this.#router.add(filter, emit);
    const end = () => {
      if (serves) subscriptions.unregister(topic, this.inbox);
      if (!remove()) return;
      if (pattern) subscriptions.patterns.unsubscribe(topic, this.inbox);
      else subscriptions.unsubscribe(topic, this.inbox);
    };
    this.#unsubscribers.set(filterKey(filter), end);
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
    this.#unsubscribers.get(filterKey(filter))?.();
    this.#unsubscribers.delete(filterKey(filter));
  }

  async receive(queue: string, options: ReceiveOptions): Promise<Delivery[]> {
    const deliveries = await this.#itemReceiver.receive(queue, options);
    return deliveries.map((delivery) => ({ ...delivery, ...readTopic(delivery.body) }));
  }

  // deno-lint-ignore require-await
  async restore(queue: string, deliveries: readonly Delivery[]): Promise<void> {
    this.#pollLoop.probeAll();
    const items = deliveries.map((delivery) => ({ ...delivery, body: writeTopic(delivery.body, delivery.topic) }));
    this.#itemReceiver.restore(queue, items);
  }

  // deno-lint-ignore require-await
  async start(queue: string, receipts: readonly string[]): Promise<boolean[]> {
    const name = this.#namespace.names.queue(queue);
    return receipts.map((receipt) => this.#leases.start(name, receipt));
  }

  // deno-lint-ignore require-await
  async settle(queue: string, receipts: readonly string[], outcome: Outcome, delay: number): Promise<boolean[]> {
    const name = this.#namespace.names.queue(queue);
    if (outcome === "ack") return receipts.map((receipt) => this.#leases.ack(name, receipt));
    this.#pollLoop.probeAll();
    return this.#leases.giveBack(name, receipts, delay, outcome === "untried");
  }

  // deno-lint-ignore require-await
  async extend(queue: string, receipts: readonly string[], lease: number): Promise<boolean[]> {
    const name = this.#namespace.names.queue(queue);
    return receipts.map((receipt) => this.#leases.extend(name, receipt, lease));
  }

  /** Answers the sender: "writable" waits for room in a queue, "peek" shows items, "cleanup" removes dead buses. */
  answer(verb: string, argument: unknown): unknown {
    switch (verb) {
      case "writable": {
        const [descriptor, ms] = argument as [number, number];
        return this.#pollLoop.wait(descriptor, "out", ms);
      }
      case "peek": {
        const [queue, offset, limit] = argument as [string, number, number];
        return this.#peeker.peek(queue, offset, limit);
      }
      case "cleanup":
        this.#cleanup.ask();
        return this.#pollLoop.probeAll();
      default:
        throw new BusError("internal", `Cannot answer "${verb}": the IPC provider does not know it`);
    }
  }

  close(): Promise<void> {
    return this.#closing ??= this.#close();
  }

  /** Does nothing: the worker of this bus is terminated, and then the sender removes everything that the worker created. */
  abort(): void {}

  async #close(): Promise<void> {
    for (const end of this.#unsubscribers.values()) end();
    this.#unsubscribers.clear();
    this.#cleanup.end();
    this.#others.finish();
    // the messages in both queues are passed on and answered; a later sender sees that its message was not read
    for (const { name } of [this.#events, this.#inbox]) this.#namespace.posix.unlinkQueue(name);
    this.#reader.read(this.#events, (frame) => this.#emit(frame), Infinity);
    this.#readInbox(Infinity);
    this.#itemReceiver.close();
    this.#crashSlot.close();
    removeBus(this.#namespace, this.inbox);
    cleanBriefly(this.#namespace);
    await this.#pollLoop.close();
    this.#namespace.close();
  }

  /** Removes dead buses, a part at a time. Returns the milliseconds until the next part. */
  #cleanUp(): number {
    this.#namespace.waiting.removeIdle(this.inbox);
    try {
      this.#cleanup.run();
      if (this.#namespace.subscriptions.discover()) {
        for (const [topic] of this.#router.filters("topics")) {
          this.#namespace.subscriptions.subscribe(topic, this.inbox);
        }
      }
    } catch (error) {
      this.#context.fault(error);
    }
    return this.#cleanup.wait;
  }

  /** Reads events as long as the main thread keeps up. Unread events stay in the queue, and their senders wait. */
  #readEvents(): void {
    this.#pollLoop.read(this.#events.descriptor, () => {
      this.#reader.read(this.#events, (frame) => this.#emit(frame));
      if (this.#context.congested) this.#pollLoop.read(this.#events.descriptor, undefined);
    });
  }

  #readInbox(work?: number): void {
    const read = this.#reader.read(this.#inbox, ({ body }) => this.#context.inbox(body), work);
    if (read >= this.#inboxMessages) this.#pollLoop.probeAll(); // it may have been full, without room for an empty message
  }

  #emit({ topic, body }: Frame): void {
    this.#router.emit(topic, body);
  }
}
