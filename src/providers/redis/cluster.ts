/**
 * The keys of a Redis Cluster: each command goes to the node that holds its slot.
 *
 * @module
 */
import { Cluster, type Redis } from "ioredis";
import { ClosedError } from "../../errors.ts";
import type { Client, Observer } from "./client.ts";
import { outcomeUnknown, senseless, toProviderError } from "./errors.ts";
import { guard } from "./parser_guard.ts";
import { addresses, retryDelay, serverOptions, type Settings } from "./settings.ts";
import { echo, PING, type Reads } from "./replies.ts";

/** Milliseconds between looks at which node holds what; a node that moved says so itself, a dead one does not. */
const REFRESH = 2_000;

/** Milliseconds for a node to say what only it knows: one that is dead is listed until another takes its place. */
const ASKED = 1_000;
/** After so many PINGs without an answer a connection is given up. */
const SILENT = 2;

/** One command that has no reply yet. */
interface Call {
  /** False while it waits for the Cluster. */
  sent: boolean;
  send(): void;
  fail(error: unknown): void;
}

/** A {@linkcode Client} of all masters of a Redis Cluster. Of several nodes, so without `Observer.prepare` and without events. */
export class ClusterClient implements Client {
  #cluster: Cluster;
  #timeout: number;
  #observer: Observer;
  #calls = new Set<Call>();
  #up = false;
  #connected = 0;
  #error: unknown = new Error("Connection is closed.");
  #opening: PromiseWithResolvers<void> | undefined;
  #closed = false;
  #timer: ReturnType<typeof setInterval> | undefined;
  #pings = 0;
  /** How many PINGs in a row a node has not answered. */
  #unanswered = new WeakMap<Redis, number>();

  /** `timeout`: ms that any one command may take. */
  constructor(settings: Settings, timeout: number, observer: Observer = {}) {
    this.#timeout = timeout;
    this.#observer = observer;
    const { host: _host, port: _port, ...login } = serverOptions(settings) as Record<string, unknown>;
    let attempts = 0;
    const cluster = this.#cluster = new Cluster(addresses(settings).map(({ host, port }) => ({ host, port })), {
      lazyConnect: true,
      // what waits for the Cluster waits here, but what waits for one node of it waits there
      enableOfflineQueue: true,
      // a command whose connection broke may have been carried out: it is not sent again
      retryDelayOnFailover: 0,
      slotsRefreshInterval: REFRESH,
      slotsRefreshTimeout: timeout,
      // a certificate bears the name, not what it is looked up to
      dnsLookup: (name, done) => done(null, name),
      redisOptions: {
        ...login,
        connectTimeout: timeout,
        disableClientInfo: true,
        autoResendUnfulfilledCommands: false,
      },
      clusterRetryStrategy: () => this.#closed || this.#connected === 0 ? null : retryDelay(settings, ++attempts),
    });
    cluster.on("ready", () => {
      attempts = 0;
      this.#ready();
    });
    cluster.on("close", () => this.#broke());
    cluster.on("node error", (error) => {
      this.#error = error;
      if (senseless(error)) this.#outOfStep(error);
    });
    cluster.on("+node", (node: Redis) => {
      node.on("connect", () => guard(node, (error) => this.#outOfStep(error)));
      // ioredis leaves what becomes of an ASKING to nobody: refused, or lost with its connection, it would end the program
      const asking = node.asking.bind(node);
      node.asking = () => asking().catch(() => "OK" as const);
    });
    cluster.on("error", (error) => this.#error = causeOf(error));
    cluster.on("end", () => this.#opening?.reject(this.#error));
  }

  get up(): boolean {
    return this.#up && this.#cluster.status === "ready";
  }

  /**
   * Connects to the first node that answers and learns of the others.
   *
   * @throws {ProviderError} "unavailable" or "denied"
   */
  async open(timeout: number): Promise<void> {
    const opening = this.#opening = Promise.withResolvers<void>();
    const timer = setTimeout(() => opening.reject(this.#error), timeout);
    this.#timer = setInterval(() => this.#ping(), PING);
    this.#cluster.connect().catch(() => {});
    try {
      await opening.promise;
    } catch (error) {
      await this.close();
      throw toProviderError("connect to the Redis Cluster", error);
    } finally {
      clearTimeout(timer);
      this.#opening = undefined;
    }
  }

  call<T>(reads: Reads<T>, name: string, ...args: string[]): Promise<T> {
    if (this.#closed) return Promise.reject(new ClosedError("Cannot use the connection to Redis: it is closed"));
    const { promise, resolve, reject } = Promise.withResolvers<T>();
    const end = () => {
      clearTimeout(timer);
      this.#calls.delete(call);
    };
    const fail = (error: unknown) => {
      end();
      reject(toProviderError(`run ${name.toUpperCase()} on the Redis Cluster`, error));
    };
    const timer = setTimeout(
      () => fail(new Error(`no reply within ${this.#timeout} ms`, { cause: this.#error })),
      this.#timeout,
    );
    const send = () => {
      call.sent = true;
      this.#read((reply) => this.#calls.has(call) ? reads(reply) : undefined, this.#cluster.callBuffer(name, ...args))
        .then((value) => {
          end();
          resolve(value as T);
        }, fail);
    };
    const call: Call = { sent: false, send, fail };
    this.#calls.add(call);
    if (this.up) send();
    return promise;
  }

  /** Asks every node, replicas too; undefined when one of them does not answer. */
  async ask<T>(reads: Reads<T>, name: string, ...args: string[]): Promise<T[] | undefined> {
    if (!this.#up) return undefined;
    let timer: ReturnType<typeof setTimeout> | undefined;
    const late = new Promise<undefined>((resolve) => timer = setTimeout(resolve, ASKED, undefined));
    const nodes = this.#cluster.nodes("all");
    const replies = Promise.all(nodes.map((node) => this.#read(reads, node.callBuffer(name, ...args))));
    try {
      return await Promise.race([replies.catch(() => undefined), late]);
    } finally {
      clearTimeout(timer);
    }
  }

  close(): Promise<void> {
    if (!this.#closed) {
      this.#closed = true;
      this.#up = false;
      clearInterval(this.#timer);
      const closed = new ClosedError("The connection to Redis was closed");
      for (const call of this.#calls) call.fail(call.sent ? outcomeUnknown() : closed);
      this.#cluster.disconnect();
    }
    return Promise.resolve();
  }

  /** Whether each node still answers, and is in step. */
  #ping(): void {
    if (!this.#up) return;
    const nonce = String(++this.#pings);
    const right = echo(nonce);
    for (const node of this.#cluster.nodes("master")) {
      // counted, not timed: a thread that was busy has read nothing meanwhile
      const unanswered = this.#unanswered.get(node) ?? 0;
      if (unanswered >= SILENT) {
        node.stream?.destroy();
        continue;
      }
      this.#unanswered.set(node, unanswered + 1);
      this.#read(right, node.callBuffer("ping", nonce)).then(() => this.#unanswered.set(node, 0), () => {});
    }
  }

  /** Reads a reply as soon as it comes: one that makes no sense is noticed while its connection is still in use. */
  #read<T>(reads: Reads<T>, replied: Promise<unknown>): Promise<T> {
    return replied.then((reply) => {
      try {
        return reads(reply);
      } catch (error) {
        this.#outOfStep(error);
        throw error;
      }
    });
  }

  /** Gives up all connections: ioredis does not say which of them makes no sense. */
  #outOfStep(error: unknown): void {
    if (!this.#up) return;
    this.#error = error;
    for (const call of this.#calls) if (call.sent) call.fail(error);
    this.#cluster.disconnect(true);
  }

  #ready(): void {
    if (this.#closed) return;
    const again = this.#connected++ > 0;
    this.#up = true;
    for (const call of this.#calls) if (!call.sent) call.send();
    this.#opening?.resolve();
    this.#observer.up?.(again);
  }

  #broke(): void {
    if (this.#up && !this.#closed) this.#observer.down?.(toProviderError("reach the Redis Cluster", this.#error));
    this.#up = false;
  }
}

/** ioredis says that all nodes failed; the last of them says why. */
function causeOf(error: unknown): unknown {
  return error instanceof Error && "lastNodeError" in error ? error.lastNodeError ?? error : error;
}
