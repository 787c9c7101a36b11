/**
 * The receiving half of the Redis provider, in the worker: one connection for events, one for all other commands.
 *
 * @module
 */
import type {
  Delivery,
  Emit,
  Filter,
  Outcome,
  ReceiveOptions,
  Receiver,
  ReceiverContext,
} from "../../provider/provider.ts";
import { pause, within } from "../../internal/time.ts";
import { RedisBinder } from "./bindings.ts";
import type { Client, Observer } from "./client.ts";
import { writeClientName } from "./client_name.ts";
import { ClusterClient } from "./cluster.ts";
import { Connection } from "./connection.ts";
import { received } from "./login.ts";
import { longestItem } from "./lua.ts";
import { Names } from "./names.ts";
import { Master } from "./master.ts";
import type { Settings } from "./settings.ts";
import { Queues } from "./queues.ts";
import { Registry } from "./registry.ts";
import { count, exactly } from "./replies.ts";
import { Subscriptions } from "./subscriptions.ts";

/** Milliseconds after which a command rejects with "unavailable". */
const TIMEOUT = 5_000;
/** Milliseconds that `close` may spend on cleaning up. */
const CLEANUP = 1_000;
/** Milliseconds for messages to pass between the nodes of a Cluster, after their senders have checked this inbox. */
const LINGER = 150;
/** The reason of a gap. */
const LOST = "The connection to Redis was lost";
/** The channel on which Redis reports changed keys (CLIENT TRACKING with REDIRECT). */
const INVALIDATE = "__redis__:invalidate";

/** Opens the receiving half of a Redis bus. */
export async function openReceiver(context: ReceiverContext): Promise<Receiver> {
  const receiver = new RedisReceiver(context, await received(context));
  await receiver.open(context.connectTimeout);
  return receiver;
}

class RedisReceiver implements Receiver {
  readonly inbox: string;
  readonly binder: RedisBinder;
  #context: ReceiverContext;
  #names: Names;
  #events: Connection;
  #commands: Connection | ClusterClient;
  #subscriptions: Subscriptions;
  #registry: Registry;
  #queues: Queues;
  /** The id of the connection for events, if it can receive the names of changed keys. */
  #redirect: string | undefined;
  #cluster: boolean;
  #opened = false;
  /** The last state that was reported to main. */
  #connected = true;
  /** The number of times that a connection was opened or broke. After a change, everything must be restored again. */
  #changes = 0;
  #closing: Promise<number> | undefined;

  constructor(context: ReceiverContext, settings: Settings) {
    const names = this.#names = new Names(context.namespace);
    const fault = (error: unknown, rejected?: boolean) => this.#closing || context.fault(error, rejected);
    this.#context = context;
    this.#cluster = settings.cluster !== undefined;
    this.inbox = names.inbox();
    this.#subscriptions = new Subscriptions(names);
    this.#subscriptions.addInternal(this.inbox, (body) => context.inbox(body));
    if (this.#cluster) this.#subscriptions.addInternal(names.accepting(this.inbox), () => {});
    else this.#subscriptions.addInternal(names.handedOver(this.inbox), (item) => this.#queues.handOver(item));
    this.#subscriptions.addInternal(INVALIDATE, () => {}); // see `changed`
    const master = new Master(settings, true);
    const events: Observer = {
      prepare: (call) => this.#subscribe(call),
      up: () => this.#restore(),
      down: (error) => {
        this.#redirect = undefined;
        this.#queues.setTracking(false);
        this.#disconnected(error);
      },
      stillDown: (error) => this.#stillDown(error),
      message: (channel, body) => this.#subscriptions.message(channel, body),
      patternMessage: (pattern, channel, body) => this.#subscriptions.patternMessage(pattern, channel, body),
      changed: (keys) => this.#queues.keysChanged(keys),
    };
    const commands: Observer = {
      up: () => this.#restore(),
      down: (error) => this.#disconnected(error),
      stillDown: (error) => this.#stillDown(error),
    };
    this.#events = new Connection(settings, TIMEOUT, events, master);
    this.#commands = settings.cluster
      ? new ClusterClient(settings, TIMEOUT, commands)
      : new Connection(settings, TIMEOUT, commands, master);
    const id = this.inbox.slice(this.inbox.lastIndexOf(":") + 1);
    this.binder = new RedisBinder(this.#commands, names, () => this.#connected && context.state(true));
    this.#registry = new Registry(this.#commands, names, this.inbox, fault);
    // a node of a Cluster cannot tell whether another node has the receiver of a message
    this.#queues = new Queues(
      this.#commands,
      names,
      id,
      longestItem(context.maxReceive),
      fault,
      !this.#cluster,
    );
  }

  async open(timeout: number): Promise<void> {
    const opened = await Promise.allSettled([this.#events.open(timeout), this.#commands.open(timeout)]);
    const failed = opened.find((result) => result.status === "rejected");
    if (failed) {
      await this.close();
      throw failed.reason;
    }
    this.#opened = true;
    // one of the connections may have broken again
    if (this.#up) await this.#restore();
    else this.#disconnected();
  }

  async subscribe(filter: Filter, emit: Emit): Promise<void> {
    await this.#subscriptions.add(this.#events, filter, emit);
    if (!filter.serves) return;
    try {
      await this.#registry.add(filter.topic);
    } catch (error) {
      await this.#subscriptions.remove(this.#events, filter).catch(() => {});
      throw error;
    }
  }

  async unsubscribe(filter: Filter): Promise<void> {
    // unregisters first, so that a server that a request does not reach any more is not in the registry either
    const unregistered = filter.serves ? this.#registry.remove(filter.topic) : undefined;
    await Promise.all([this.#subscriptions.remove(this.#events, filter, unregistered), unregistered]);
  }

  receive(queue: string, options: ReceiveOptions): Promise<Delivery[]> {
    return this.#queues.receive(queue, options);
  }

  restore(queue: string, deliveries: readonly Delivery[]): Promise<void> {
    return this.#queues.restore(queue, deliveries);
  }

  start(queue: string, receipts: readonly string[]): Promise<boolean[]> {
    return this.#queues.start(queue, receipts);
  }

  settle(queue: string, receipts: readonly string[], outcome: Outcome, delay: number): Promise<boolean[]> {
    return this.#queues.settle(queue, receipts, outcome, delay);
  }

  extend(queue: string, receipts: readonly string[], lease: number): Promise<boolean[]> {
    return this.#queues.extend(queue, receipts, lease);
  }

  close(): Promise<number> {
    return this.#closing ??= this.#close();
  }

  abort(): void {
    this.#closing ??= Promise.resolve(0);
    this.#queues.stop();
    this.#registry.stop();
    this.binder.stop();
    this.#events.abort();
    this.#commands.abort();
  }

  /** Prepares a new connection for events: asks for its id, then subscribes to everything. */
  async #subscribe(call: Client["call"]): Promise<void> {
    const name = writeClientName(this.inbox, this.#context.origin);
    call(exactly("OK"), "client", "setname", name).catch(() => {}); // only admins read it
    const id = this.#cluster ? undefined : await call(count, "client", "id").catch(() => undefined);
    let tracked = id !== undefined;
    let events = false;
    const onSubscribed = (filter: Filter) => {
      events ||= !filter.serves;
      this.#context.gap(LOST, filter);
    };
    await this.#subscriptions.subscribeAll(call, onSubscribed, (channel, error) => {
      if (channel === this.inbox) throw error;
      if (channel === INVALIDATE) tracked = false;
      else this.#context.fault(error);
    });
    if (this.#opened && !events) this.#context.gap(LOST);
    this.#redirect = tracked ? String(id) : undefined;
  }

  /** Asks the server to report changes of queues that were found empty. If it refuses, queues are polled. */
  async #track(): Promise<void> {
    const id = this.#redirect;
    if (id === undefined || !this.#commands.up) return;
    const asked = this.#commands.call(exactly("OK"), "client", "tracking", "on", "redirect", id, "noloop");
    const tracking = await asked.then(() => true, () => false);
    if (id === this.#redirect) this.#queues.setTracking(tracking);
  }

  get #up(): boolean {
    return this.#events.up && this.#commands.up;
  }

  #disconnected(error?: unknown): void {
    this.#changes++;
    if (this.#opened) this.#report(false, error);
  }

  #stillDown(error: unknown): void {
    if (this.#opened && !this.#closing) this.#context.state(false, error);
  }

  /** Renews registrations and recovers lost replies. Then the bus is up, if both connections stayed up. */
  async #restore(): Promise<void> {
    const change = ++this.#changes;
    if (!this.#opened || !this.#up) return;
    try {
      await Promise.all([this.#registry.renew(), this.#track()]);
      await this.#queues.recover();
    } catch (error) {
      // if a connection broke again, the next one restores; other errors are reported
      if (change === this.#changes && this.#up) this.#context.fault(error);
    }
    if (change === this.#changes && this.#up) this.#report(true);
  }

  #report(connected: boolean, error?: unknown): void {
    if (this.#connected === connected || this.#closing) return;
    this.#connected = connected;
    this.#context.state(connected, error);
  }

  async #close(): Promise<number> {
    this.#queues.stop();
    this.#registry.stop();
    this.binder.stop();
    // a connection that is down may reconnect meanwhile
    const left = [
      this.#events.up ? this.#leave() : undefined,
      this.#registry.close(),
      this.binder.close(),
      this.#queues.close(),
    ];
    await within(CLEANUP, Promise.allSettled(left));
    const { uncertain } = this.#queues;
    await Promise.all([this.#events.close(), this.#commands.close()]);
    return uncertain;
  }

  /**
   * Unsubscribes from the inbox before QUIT: otherwise Redis would still count this bus as a receiver for a moment, and drop the message.
   */
  async #leave(): Promise<void> {
    if (this.#cluster) {
      await this.#events.call(count, "unsubscribe", this.#names.accepting(this.inbox));
      await pause(LINGER);
    }
    await this.#events.call(count, "unsubscribe", this.inbox);
  }
}
