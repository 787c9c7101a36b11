/**
 * The in-memory broker and its receivers, in the worker that all buses of one provider value share.
 *
 * @module
 */
import { BusError } from "../../errors.ts";
import { PendingWork } from "../../internal/pending_work.ts";
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
import { MemoryQueue } from "./queue.ts";

interface Subscriber {
  readonly matches: (topic: string) => boolean;
  readonly emit: Emit;
}

/** What the buses of one namespace share. */
class Space {
  readonly exact = new Map<string, Set<Emit>>();
  readonly patterns = new Set<Subscriber>();
  readonly servers = new Map<string, Set<string>>();
  readonly inboxes = new Map<string, (body: string) => void>();
  readonly queues = new Map<string, MemoryQueue>();
}

const spaces = new Map<string, Space>();

/** Opens a receiver on the broker of this worker. */
export function openReceiver(context: ReceiverContext): Promise<Receiver> {
  let space = spaces.get(context.namespace);
  if (!space) spaces.set(context.namespace, space = new Space());
  const { capacity } = context.options as { capacity: number };
  return Promise.resolve(new MemoryReceiver(context, space, capacity));
}

class MemoryReceiver implements Receiver, AskHandler {
  readonly askHandler: AskHandler = this;
  readonly inbox: string = crypto.randomUUID();
  #space: Space;
  #capacity: number;
  #subscriptions = new Map<string, () => void>();
  /** Puts that wait for room. */
  #puts = new PendingWork();

  constructor(context: ReceiverContext, space: Space, capacity: number) {
    this.#space = space;
    this.#capacity = capacity;
    space.inboxes.set(this.inbox, (body) => context.inbox(body));
  }

  subscribe(filter: Filter, emit: Emit): Promise<void> {
    const { exact, patterns, servers } = this.#space;
    const { topic, pattern, serves } = filter;
    if (pattern) {
      const subscriber: Subscriber = { matches: glob(topic), emit };
      patterns.add(subscriber);
      this.#subscriptions.set(keyOf(filter), () => patterns.delete(subscriber));
      return Promise.resolve();
    }
    add(exact, topic, emit);
    if (serves) add(servers, topic, this.inbox);
    this.#subscriptions.set(keyOf(filter), () => {
      remove(exact, topic, emit);
      if (serves) remove(servers, topic, this.inbox);
    });
    return Promise.resolve();
  }

  unsubscribe(filter: Filter): Promise<void> {
    this.#subscriptions.get(keyOf(filter))?.();
    this.#subscriptions.delete(keyOf(filter));
    return Promise.resolve();
  }

  receive(queue: string, options: ReceiveOptions): Promise<Delivery[]> {
    return this.#queue(queue).take(options);
  }

  restore(queue: string, deliveries: readonly Delivery[]): Promise<void> {
    this.#queue(queue).restore(deliveries);
    return Promise.resolve();
  }

  start(queue: string, receipts: readonly string[]): Promise<boolean[]> {
    return Promise.resolve(this.#queue(queue).start(receipts));
  }

  settle(queue: string, receipts: readonly string[], outcome: Outcome, delay: number): Promise<boolean[]> {
    return Promise.resolve(this.#queue(queue).settle(receipts, outcome, delay));
  }

  extend(queue: string, receipts: readonly string[], lease: number): Promise<boolean[]> {
    return Promise.resolve(this.#queue(queue).extend(receipts, lease));
  }

  /** What the sender asks; synchronous, so that events leave in the order in which they came. */
  answer(verb: string, argument: unknown): unknown {
    const [name, ...rest] = argument as [string, ...unknown[]];
    const { exact, patterns, servers, inboxes, queues } = this.#space;
    switch (verb) {
      case "publish": {
        const body = rest[0] as string;
        let reached = 0;
        for (const emit of exact.get(name) ?? []) reached += deliver(emit, name, body);
        for (const { matches, emit } of patterns) if (matches(name)) reached += deliver(emit, name, body);
        return reached;
      }
      case "post": {
        const deliver = inboxes.get(name);
        deliver?.(rest[0] as string);
        return deliver !== undefined;
      }
      case "servers":
        return [...servers.get(name) ?? []].map((inbox) => ({ inbox }));
      case "send":
        return this.#put(name, rest as [body: string, wait: number, id: number]);
      case "unsend":
        return queues.get(name)?.unput(`${this.inbox}:${rest[0]}`);
      case "size":
        return queues.get(name)?.size ?? 0;
      case "drop": {
        const queue = queues.get(name);
        queue?.clear();
        if (queue?.idle) queues.delete(name);
        return undefined;
      }
      default:
        throw new BusError("internal", `Cannot answer "${verb}": the memory provider does not know it`);
    }
  }

  async close(): Promise<void> {
    for (const end of this.#subscriptions.values()) end();
    this.#subscriptions.clear();
    this.#space.inboxes.delete(this.inbox);
    for (const queue of this.#space.queues.values()) queue.unput(`${this.inbox}:`, true);
    await this.#puts.idle(); // a put that was cancelled is answered first, so that its outcome is known
  }

  #put(name: string, [body, wait, id]: [body: string, wait: number, id: number]): true | Promise<boolean> {
    const put = this.#queue(name).put(`${this.inbox}:${id}`, body, wait);
    return put === true ? put : this.#puts.track(put);
  }

  #queue(name: string): MemoryQueue {
    let queue = this.#space.queues.get(name);
    if (!queue) this.#space.queues.set(name, queue = new MemoryQueue(name, this.#capacity));
    return queue;
  }
}

function deliver(emit: Emit, topic: string, body: string): 1 {
  emit(topic, body);
  return 1;
}

function keyOf({ topic, pattern, serves }: Filter): string {
  return `${pattern ? "*" : "="}${serves ? "!" : "."}${topic}`;
}

function add<T>(map: Map<string, Set<T>>, key: string, value: T): void {
  const set = map.get(key);
  if (set) set.add(value);
  else map.set(key, new Set([value]));
}

function remove<T>(map: Map<string, Set<T>>, key: string, value: T): void {
  const set = map.get(key);
  set?.delete(value);
  if (set?.size === 0) map.delete(key);
}
