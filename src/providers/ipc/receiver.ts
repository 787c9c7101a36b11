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
import { check } from "./errors.ts";
import { type Frame, readEvents, readLarge } from "./frames.ts";
import { Landing } from "./crash_slot.ts";
import { Leases } from "./leases.ts";
import { Loop } from "./poll_loop.ts";
import { eventsOf, inboxOf } from "./names.ts";
import { Errno } from "./posix.ts";
import type { OpenQueue, Size } from "./mqueues.ts";
import { type Settings, Space } from "./namespace.ts";
import { Takes } from "./item_receiver.ts";

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
  const space = await Space.open(settings, context.namespace, () => {});
  for (const each of [space, ...space.others()]) {
    for (const loop of each.deadLoops()) each.removeLoop(loop);
    if (each !== space) each.queues.close();
  }
  const bell = check(space.posix.bell(), "Cannot make a doorbell");
  const name = space.names.loop(space.processes.self, bell);
  try {
    return new IpcReceiver(context, settings, space, name, bell);
  } catch (error) {
    space.removeLoop(name);
    space.queues.close();
    space.posix.close(bell);
    throw error;
  }
}

class IpcReceiver implements AskHandler, Receiver {
  readonly askHandler: AskHandler = this;
  readonly inbox: string;
  #context: ReceiverContext;
  #space: Space;
  #events: OpenQueue;
  #inbox: OpenQueue;
  #loop: Loop;
  #leases: Leases;
  #landing: Landing;
  #takes: Takes;
  #exact = new Map<string, Set<Emit>>();
  #patterns = new Map<string, Subscribed>();
  /** What is subscribed: how to end each. */
  #subscriptions = new Map<string, () => void>();
  #buffer: Uint8Array;
  #closing: Promise<void> | undefined;

  constructor(context: ReceiverContext, settings: Settings, space: Space, name: string, bell: number) {
    this.inbox = name;
    this.#context = context;
    this.#space = space;
    const directory = space.loopDirectory(name);
    check(space.place.within("loops", () => space.place.make(directory)), "Cannot open a bus");
    this.#events = space.queues.make(eventsOf(name), EVENTS);
    this.#inbox = space.queues.make(inboxOf(name), INBOX);
    this.#buffer = new Uint8Array(Math.max(this.#events.size, this.#inbox.size));
    this.#loop = new Loop(space.posix, bell, context);
    this.#leases = new Leases(space, name);
    this.#landing = new Landing(space, name);
    this.#takes = new Takes(space, this.#leases, this.#landing, this.#loop, settings.messageSize, context.fault);
    const patrol = () => this.#patrol();
    void this.#loop.wait(undefined, "in", Infinity, { look: patrol });
    this.#loop.read(this.#inbox.descriptor, () => this.#readInbox());
    this.#readEvents();
    context.onDrain = () => this.#readEvents();
    this.#loop.start();
  }

  // deno-lint-ignore require-await
  async subscribe(filter: Filter, emit: Emit): Promise<void> {
    if (this.#closing) throw new ClosedError();
    const { topic, pattern, serves } = filter;
    const { tree } = this.#space;
    if (pattern) {
      tree.subscribePattern(topic, this.inbox);
      this.#patterns.set(topic, { matches: glob(topic), emit });
      this.#subscriptions.set(keyOf(filter), () => {
        this.#patterns.delete(topic);
        tree.unsubscribePattern(topic, this.inbox);
      });
      return;
    }
    tree.subscribe(topic, this.inbox);
    const emits = this.#exact.get(topic) ?? new Set();
    this.#exact.set(topic, emits.add(emit));
    const end = () => {
      emits.delete(emit);
      if (serves) tree.unregister(topic, this.inbox);
      if (emits.size > 0) return;
      this.#exact.delete(topic);
      tree.unsubscribe(topic, this.inbox);
    };
    this.#subscriptions.set(keyOf(filter), end);
    if (!serves) return;
    try {
      tree.register(topic, this.inbox);
    } catch (error) {
      end();
      throw error;
    }
  }

  // deno-lint-ignore require-await
  async unsubscribe(filter: Filter): Promise<void> {
    this.#subscriptions.get(keyOf(filter))?.();
    this.#subscriptions.delete(keyOf(filter));
  }

  receive(queue: string, options: ReceiveOptions): Promise<Delivery[]> {
    return this.#takes.receive(queue, options);
  }

  // deno-lint-ignore require-await
  async restore(queue: string, deliveries: readonly Delivery[]): Promise<void> {
    this.#loop.look();
    this.#takes.restore(queue, deliveries);
  }

  // deno-lint-ignore require-await
  async start(queue: string, receipts: readonly string[]): Promise<boolean[]> {
    const name = this.#space.names.queue(queue);
    return receipts.map((receipt) => this.#leases.start(name, receipt));
  }

  // deno-lint-ignore require-await
  async settle(queue: string, receipts: readonly string[], outcome: Outcome, delay: number): Promise<boolean[]> {
    const name = this.#space.names.queue(queue);
    if (outcome !== "ack") this.#loop.look();
    return receipts.map((receipt) =>
      outcome === "ack"
        ? this.#leases.ack(name, receipt)
        : this.#leases.giveBack(name, receipt, delay, outcome === "untried")
    );
  }

  // deno-lint-ignore require-await
  async extend(queue: string, receipts: readonly string[], lease: number): Promise<boolean[]> {
    const name = this.#space.names.queue(queue);
    return receipts.map((receipt) => this.#leases.extend(name, receipt, lease));
  }

  /** What the sender asks: to wait for room where it must not, and to clear up after a bus that is gone. */
  answer(verb: string, argument: unknown): unknown {
    switch (verb) {
      case "room": {
        const [descriptor, ms] = argument as [number, number];
        return this.#loop.wait(descriptor, "out", ms);
      }
      case "sweep": {
        const loop = argument as string;
        if (this.#space.gone(loop, "missing")) this.#space.removeLoop(loop);
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
    for (const end of this.#subscriptions.values()) end();
    this.#subscriptions.clear();
    // what is there now is passed on, and answered; whoever posts later sees that nobody has read it
    this.#space.posix.unlinkQueue(this.#inbox.name);
    this.#readInbox();
    this.#landing.close();
    this.#space.removeLoop(this.inbox);
    try {
      for (const loop of this.#space.deadLoops()) this.#space.removeLoop(loop);
    } catch {
      // who opens or closes next does it
    }
    await this.#loop.close();
    this.#space.queues.close();
  }

  /** The milliseconds until the next: each bus looks more rarely the more there are, so that all together look as often as one. */
  #patrol(): number {
    let loops: readonly string[] = [];
    try {
      loops = this.#space.loops();
      for (const loop of this.#space.dead(loops)) this.#space.removeLoop(loop);
      if (this.#space.tree.discover()) {
        for (const topic of this.#exact.keys()) this.#space.tree.subscribe(topic, this.inbox);
      }
    } catch (error) {
      this.#context.fault(error);
    }
    const every = PATROL * Math.max(1, loops.length);
    return every - performance.now() % every; // when others look too, so that the thread wakes once
  }

  /** Reads events as long as main keeps up; what is not read stays in the queue, and its senders wait. */
  #readEvents(): void {
    this.#loop.read(this.#events.descriptor, () => {
      this.#read(this.#events, (frame) => this.#emit(frame));
      if (this.#context.congested) this.#loop.read(this.#events.descriptor, undefined);
    });
  }

  #readInbox(): void {
    this.#read(this.#inbox, ({ body }) => this.#context.inbox(body));
  }

  #read({ descriptor }: OpenQueue, take: (frame: Frame) => void): void {
    for (let i = 0; i < READ; i++) {
      const length = this.#space.posix.receive(descriptor, this.#buffer);
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
    const { bodies } = this.#space;
    const directory = this.#space.loopDirectory(this.inbox);
    try {
      const frame = readLarge(bodies.read(directory, file));
      if (!frame) {
        throw new ProviderError("internal", `Cannot read the event in ${directory}/${file}: it is none of ours`);
      }
      take(frame);
    } catch (error) {
      this.#context.fault(error);
    }
    bodies.remove(directory, file);
  }

  #emit({ topic, body }: Frame): void {
    for (const emit of this.#exact.get(topic) ?? []) emit(topic, body);
    for (const { matches, emit } of this.#patterns.values()) if (matches(topic)) emit(topic, body);
  }
}

function keyOf({ topic, pattern, serves }: Filter): string {
  return `${pattern ? "*" : "="}${serves ? "!" : "."}${topic}`;
}
