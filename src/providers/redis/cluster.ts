/**
 * The client of a Redis Cluster: each command goes to the node that has the slot of its key.
 *
 * @module
 */
import { Cluster, type Redis, type RedisOptions as IoRedisOptions } from "ioredis";
import { ClosedError } from "../../errors.ts";
import { within } from "../../internal/time.ts";
import { rememberSecret } from "../../internal/secrets.ts";
import type { Client, Observer } from "./client.ts";
import { noConnection, noReply, outcomeUnknown, outOfStep, toProviderError } from "./errors.ts";
import { isNeedless, login } from "./login.ts";
import { operation } from "./operations.ts";
import { guardParser } from "./parser_guard.ts";
import { addresses, addressOf, type RedisCredentials, retryDelay, type Settings } from "./settings.ts";
import { echo, PING, type ReplyReader } from "./replies.ts";

/** Milliseconds between refreshes of the slot table. A node reports a slot that moved, but a dead node reports nothing. */
const REFRESH = 2_000;

/** Milliseconds that {@linkcode ClusterClient.askAll} waits for a node. A dead node stays in the table until a replica replaces it. */
const ASK_TIMEOUT = 1_000;
/** The number of consecutive PINGs without an answer after which a connection is dropped. */
const MAX_UNANSWERED = 2;

/** One command that has no reply yet. */
interface Call {
  /** Whether the command was sent. False while it waits for the Cluster. */
  sent: boolean;
  send(): void;
  fail(error: unknown): void;
}

/** A {@linkcode Client} of all masters of a Redis Cluster. It calls no `Observer.prepare`, and receives no events. */
export class ClusterClient implements Client {
  #cluster: Cluster;
  #settings: Settings;
  /** The options of ioredis for each node. */
  #nodeOptions: IoRedisOptions;
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
  /** The number of PINGs in a row that a node has not answered. */
  #unanswered = new WeakMap<Redis, number>();

  /** Creates a client. Each command may take `timeout` milliseconds. */
  constructor(settings: Settings, timeout: number, observer: Observer = {}) {
    this.#timeout = timeout;
    this.#observer = observer;
    this.#settings = settings;
    const { username, password } = settings;
    this.#nodeOptions = {
      tls: settings.tls as IoRedisOptions["tls"],
      ...loginOf({ username, password }),
      connectTimeout: timeout,
      disableClientInfo: true,
      autoResendUnfulfilledCommands: false,
    };
    let attempts = 0;
    const cluster = this.#cluster = new Cluster(addresses(settings).map(({ host, port }) => ({ host, port })), {
      lazyConnect: true,
      // this class queues commands until the Cluster is ready; ioredis queues them until one node is
      enableOfflineQueue: true,
      // a command whose connection broke may have been executed: it is not sent again
      retryDelayOnFailover: 0,
      slotsRefreshInterval: REFRESH,
      slotsRefreshTimeout: timeout,
      // a certificate contains the name of a node, not its IP address
      dnsLookup: (name, done) => done(null, name),
      redisOptions: this.#nodeOptions,
      clusterRetryStrategy: () => this.#closed || this.#connected === 0 ? null : retryDelay(settings, ++attempts),
    });
    cluster.on("ready", () => {
      attempts = 0;
      this.#ready();
    });
    cluster.on("close", () => this.#disconnected());
    cluster.on("node error", (error) => {
      this.#error = error;
      if (outOfStep(error)) this.#outOfStep(error);
    });
    cluster.on("+node", (node: Redis) => {
      this.#adopt(node);
      // ioredis does not handle a rejected ASKING, which would end the program
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
   * Connects to the first node that answers, and reads the others from it.
   *
   * @throws {ProviderError} "unavailable" or "denied"
   */
  async open(timeout: number): Promise<void> {
    const opening = this.#opening = Promise.withResolvers<void>();
    const timer = setTimeout(() => opening.reject(this.#error), timeout);
    this.#timer = setInterval(() => this.#ping(), PING);
    try {
      // a function that returns the login is asked before ioredis copies these options
      if (this.#settings.credentials) Object.assign(this.#nodeOptions, loginOf(await login(this.#settings, timeout)));
      this.#cluster.connect().catch(() => {});
      await opening.promise;
    } catch (error) {
      await this.close();
      throw toProviderError("connect to the Redis Cluster", error);
    } finally {
      clearTimeout(timer);
      this.#opening = undefined;
    }
  }

  call<T>(read: ReplyReader<T>, name: string, ...args: string[]): Promise<T> {
    if (this.#closed) return Promise.reject(toProviderError(operation(name, args), new ClosedError()));
    const { promise, resolve, reject } = Promise.withResolvers<T>();
    const end = () => {
      clearTimeout(timer);
      this.#calls.delete(call);
    };
    const fail = (error: unknown) => {
      end();
      reject(toProviderError(operation(name, args), error));
    };
    const timer = setTimeout(
      () => fail(call.sent ? noReply(this.#timeout) : noConnection(this.#error)),
      this.#timeout,
    );
    const send = () => {
      call.sent = true;
      this.#read(
        (reply) => this.#calls.has(call) ? read(reply, args) : undefined,
        this.#cluster.callBuffer(name, ...args),
      )
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

  /** Sends a command to every node, including replicas. Resolves with undefined if one of them does not answer. */
  async askAll<T>(read: ReplyReader<T>, name: string, ...args: string[]): Promise<T[] | undefined> {
    if (!this.#up) return undefined;
    const nodes = this.#cluster.nodes("all");
    const replies = Promise.all(nodes.map((node) => this.#read(read, node.callBuffer(name, ...args))));
    return await within(ASK_TIMEOUT, replies).catch(() => undefined);
  }

  /** Returns a function for each master that sends it a command. */
  masters(): Client["call"][] {
    return this.#cluster.nodes("master").map((node): Client["call"] => (read, name, ...args) =>
      this.#read(read, node.callBuffer(name, ...args)).catch((error) => {
        throw toProviderError(operation(name, args), error, addressOf(node));
      })
    );
  }

  /** Makes a node, and the copies by which ioredis reads the slots, log in and read replies like other connections. */
  #adopt(node: Redis): void {
    node.on("connect", () => guardParser(node, (error) => this.#outOfStep(error)));
    const duplicate = node.duplicate.bind(node);
    node.duplicate = (options) => {
      const copy = duplicate(options);
      this.#adopt(copy);
      return copy;
    };
    type Auth = (login: unknown, done: (error: unknown) => void) => Promise<unknown>;
    const auth = node.auth.bind(node) as Auth;
    // ioredis would warn at each connection
    const authenticate: Auth = (login, done) =>
      auth(login, (error) => done(isNeedless(error, addressOf(node), this.#settings) ? null : error));
    node.auth = authenticate as Redis["auth"];
    if (this.#settings.credentials) this.#askLogin(node);
  }

  /** Makes a node ask for its login each time it connects. ioredis reads `condition.auth` when the connector has connected. */
  #askLogin(node: Redis): void {
    const { connector } = node as unknown as {
      connector: { connecting: boolean; connect(...args: unknown[]): Promise<unknown> };
    };
    const connect = connector.connect.bind(connector);
    connector.connect = async (...args) => {
      connector.connecting = true;
      const options = loginOf(await login(this.#settings, this.#timeout));
      if (!connector.connecting) throw new Error("Connection is closed."); // the node was disconnected meanwhile
      // later connections that ioredis makes for itself copy these
      Object.assign(this.#nodeOptions, options);
      Object.assign(node.options, options);
      const { condition } = node as unknown as { condition: { auth?: unknown } };
      condition.auth = options.username === undefined ? options.password : [options.username, options.password];
      return await connect(...args);
    };
  }

  close(): Promise<void> {
    this.abort();
    return Promise.resolve();
  }

  /** Destroys all connections immediately. */
  abort(): void {
    if (this.#closed) return;
    this.#closed = true;
    this.#up = false;
    clearInterval(this.#timer);
    for (const call of this.#calls) call.fail(call.sent ? outcomeUnknown() : new ClosedError());
    this.#cluster.disconnect();
  }

  /** Sends a PING to each node: the reply shows whether its connection is still in step. */
  #ping(): void {
    if (!this.#up) return;
    const nonce = String(++this.#pings);
    const read = echo(nonce);
    for (const node of this.#cluster.nodes("master")) {
      // PINGs are counted, because a busy thread reads nothing while time passes
      const unanswered = this.#unanswered.get(node) ?? 0;
      if (unanswered >= MAX_UNANSWERED) {
        node.stream?.destroy();
        continue;
      }
      this.#unanswered.set(node, unanswered + 1);
      this.#read(read, node.callBuffer("ping", nonce)).then(() => this.#unanswered.set(node, 0), () => {});
    }
  }

  /** Reads a reply as soon as it arrives, so that a wrong one is detected while its connection is still in use. */
  #read<T>(read: ReplyReader<T>, replied: Promise<unknown>): Promise<T> {
    return replied.then((reply) => {
      try {
        return read(reply);
      } catch (error) {
        this.#outOfStep(error);
        throw error;
      }
    });
  }

  /** Drops all connections: ioredis does not report which of them is out of step. */
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

  #disconnected(): void {
    if (this.#up && !this.#closed) this.#observer.down?.(toProviderError("reach the Redis Cluster", this.#error));
    this.#up = false;
  }
}

/** Returns the login as options of ioredis. A user with `nopass` accepts any password. */
function loginOf({ username, password }: RedisCredentials): RedisCredentials {
  rememberSecret(password);
  return { username, password: username === undefined ? password : password ?? "" };
}

/** Returns the error of the last node if ioredis reports that all nodes failed. */
function causeOf(error: unknown): unknown {
  return error instanceof Error && "lastNodeError" in error ? error.lastNodeError ?? error : error;
}
