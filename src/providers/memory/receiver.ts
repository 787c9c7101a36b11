/**
 * The in-memory brokers and their receivers, in the worker that all buses of this thread share. Each provider value has its own broker.
 *
 * @module
 */
import { BusError } from "../../errors.ts";
import { PendingWork } from "../../internal/pending_work.ts";
import type {
  AskHandler,
  Binder,
  BusOrigin,
  Delivery,
  Emit,
  Filter,
  Outcome,
  ReceiveOptions,
  Receiver,
  ReceiverContext,
} from "../../provider/provider.ts";
import { groupsOf, writeBinding } from "../../provider/bindings.ts";
import { filterKey, Router } from "../../provider/router.ts";
import type { Contents } from "./admin.ts";
import type { Settings } from "./provider.ts";
import { MemoryQueue } from "./queue.ts";

/**
 * Milliseconds for which a broker without receivers is kept. Main decides which bus shares it, by its id: a bus that opened before the last
 * one closed may join later, because each bus has a port of its own.
 */
const LINGER = 10_000;

/** The topics, queues and receivers of one namespace. */
class Namespace {
  readonly router = new Router({ late: false });
  readonly servers = new Map<string, Set<string>>();
  readonly inboxes = new Map<string, (body: string) => void>();
  readonly origins = new Map<string, BusOrigin>();
  readonly queues = new Map<string, MemoryQueue>();
  /** Finds the queues that are bound to a topic. */
  readonly bound = new Router({ late: false });
  /** The functions that end the bindings. */
  readonly bindings = new Map<string, () => void>();
}

/** Lists what a namespace contains. */
function contentsOf({ router, servers, queues, bindings, origins }: Namespace): Contents {
  const topics = (kind: "topics" | "patterns") =>
    router.filters(kind).map(([name, { length }]) => ({ name, pattern: kind === "patterns", subscribers: length }));
  return {
    queues: [...queues].map(([name, { stats }]) => ({ name, ...stats })),
    topics: [...topics("topics"), ...topics("patterns")],
    functions: [...servers].map(([name, inboxes]) => ({ name, servers: [...inboxes].map(busId) })),
    groups: groupsOf(bindings.keys()),
    buses: [...origins].map(([inbox, origin]) => ({ id: busId(inbox), ...origin })),
    inboxes: [...origins.keys()],
  };
}

/** Returns the id of the bus that has this inbox. */
function busId(inbox: string): string {
  return inbox.slice(0, 8);
}

/** The broker of one provider value. It ends some time after its last receiver. */
class Broker {
  readonly #id: string;
  readonly #namespaces = new Map<string, Namespace>();
  readonly #receivers = new Set<MemoryReceiver>();
  #ending: ReturnType<typeof setTimeout> | undefined;

  constructor(id: string) {
    this.#id = id;
  }

  namespace(name: string): Namespace {
    let namespace = this.#namespaces.get(name);
    if (!namespace) this.#namespaces.set(name, namespace = new Namespace());
    return namespace;
  }

  add(receiver: MemoryReceiver): void {
    if (this.#ending !== undefined) clearTimeout(this.#ending); // on Deno, the first use of a timer takes 5 ms
    this.#receivers.add(receiver);
  }

  remove(receiver: MemoryReceiver): void {
    if (!this.#receivers.delete(receiver) || this.#receivers.size > 0) return;
    this.#ending = setTimeout(() => this.#end(), LINGER);
  }

  #end(): void {
    brokers.delete(this.#id);
    for (const { queues } of this.#namespaces.values()) for (const queue of queues.values()) queue.clear();
  }
}

const brokers = new Map<string, Broker>();

/** Opens a receiver on its broker. */
export function openReceiver(context: ReceiverContext): Promise<Receiver> {
  const { capacity, broker: id } = context.options as Settings;
  let broker = brokers.get(id);
  if (!broker) brokers.set(id, broker = new Broker(id));
  return Promise.resolve(new MemoryReceiver(context, broker, capacity));
}

class MemoryReceiver implements Receiver, AskHandler {
  readonly askHandler: AskHandler = this;
  readonly inbox: string = crypto.randomUUID();
  readonly binder: Binder = {
    bind: (filter, queue) => Promise.resolve(this.#bind({ ...filter, serves: false }, queue)),
    unbind: (filter, queue) => Promise.resolve(this.#unbind({ ...filter, serves: false }, queue)),
  };
  #broker: Broker;
  #namespace: Namespace;
  #capacity: number;
  #subscriptions = new Map<string, () => void>();
  /** Puts that wait for room. */
  #puts = new PendingWork();

  constructor(context: ReceiverContext, broker: Broker, capacity: number) {
    this.#broker = broker;
    this.#namespace = broker.namespace(context.namespace);
    this.#capacity = capacity;
    broker.add(this);
    this.#namespace.inboxes.set(this.inbox, (body) => context.inbox(body));
    this.#namespace.origins.set(this.inbox, context.origin);
  }

  subscribe(filter: Filter, emit: Emit): Promise<void> {
    const { router, servers } = this.#namespace;
    const remove = router.add(filter, emit);
    if (filter.serves) add(servers, filter.topic, this.inbox);
    this.#subscriptions.set(filterKey(filter), () => {
      remove();
      if (filter.serves) deleteFrom(servers, filter.topic, this.inbox);
    });
    return Promise.resolve();
  }

  unsubscribe(filter: Filter): Promise<void> {
    this.#subscriptions.get(filterKey(filter))?.();
    this.#subscriptions.delete(filterKey(filter));
    return Promise.resolve();
  }

  receive(queue: string, options: ReceiveOptions): Promise<Delivery[]> {
    return this.#queue(queue).receive(options);
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

  /** Handles a request of the sender. Synchronous, so that events stay in order. */
  answer(verb: string, argument: unknown): unknown {
    const [name, ...rest] = argument as [string, ...unknown[]];
    const { bound, router, servers, inboxes, queues } = this.#namespace;
    switch (verb) {
      case "publish":
        bound.emit(name, rest[0] as string);
        return router.emit(name, rest[0] as string);
      case "post": {
        const inbox = inboxes.get(name);
        inbox?.(rest[0] as string);
        return inbox !== undefined;
      }
      case "servers":
        return [...servers.get(name) ?? []].map((inbox) => ({ inbox }));
      case "contents":
        return contentsOf(this.#namespace);
      case "send":
        return this.#put(name, rest as [body: string, wait: number, id: number, delay: number]);
      case "unsend":
        return queues.get(name)?.cancelPut(`${this.inbox}:${rest[0]}`);
      case "peek":
        return queues.get(name)?.peek(...rest as [offset: number, limit: number]) ?? [];
      case "stats":
        return queues.get(name)?.stats ?? { waiting: 0, leased: 0, delayed: 0 };
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
    this.#leave();
    await this.#puts.idle(); // a cancelled put is answered first, so that its outcome is known
    this.#broker.remove(this);
  }

  abort(): void {
    this.#leave();
    this.#broker.remove(this);
  }

  #leave(): void {
    for (const end of this.#subscriptions.values()) end();
    this.#subscriptions.clear();
    this.#namespace.inboxes.delete(this.inbox);
    this.#namespace.origins.delete(this.inbox);
    for (const queue of this.#namespace.queues.values()) queue.cancelPut(`${this.inbox}:`, true);
  }

  #bind(filter: Filter, name: string): void {
    const { bound, bindings } = this.#namespace;
    const key = writeBinding(filter, name);
    if (!bindings.has(key)) bindings.set(key, bound.add(filter, (topic, body) => this.#queue(name).store(body, topic)));
  }

  #unbind(filter: Filter, name: string): void {
    const { bindings } = this.#namespace;
    const key = writeBinding(filter, name);
    bindings.get(key)?.();
    bindings.delete(key);
  }

  #put(
    name: string,
    [body, wait, id, delay]: [body: string, wait: number, id: number, delay: number],
  ): true | Promise<boolean> {
    const put = this.#queue(name).put(`${this.inbox}:${id}`, body, wait, delay);
    return put === true ? put : this.#puts.track(put);
  }

  #queue(name: string): MemoryQueue {
    let queue = this.#namespace.queues.get(name);
    if (!queue) this.#namespace.queues.set(name, queue = new MemoryQueue(name, this.#capacity));
    return queue;
  }
}

function add<T>(map: Map<string, Set<T>>, key: string, value: T): void {
  const set = map.get(key);
  if (set) set.add(value);
  else map.set(key, new Set([value]));
}

function deleteFrom<T>(map: Map<string, Set<T>>, key: string, value: T): void {
  const set = map.get(key);
  set?.delete(value);
  if (set?.size === 0) map.delete(key);
}
