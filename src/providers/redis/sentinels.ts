/**
 * The client of Redis Sentinels. It finds the address of the master, and reports failovers. It asks only the Sentinels in the options, and
 * not those that they know: anyone who may publish on the channel `__sentinel__:hello` of the master can make them know another one,
 * which would receive the password.
 *
 * @module
 */
import { connectionFault, textOf } from "../../internal/thrown.ts";
import { Redis, type RedisOptions as IoRedisOptions } from "ioredis";
import { authenticate, isNeedless } from "./login.ts";
import { guardParser } from "./parser_guard.ts";
import { type Address, addressOf as serverOf, retryDelay, type Settings } from "./settings.ts";

/** Milliseconds for a Sentinel to connect and to answer. All Sentinels are asked at the same time. */
const TIMEOUT = 1_500;
/** Milliseconds to wait for further answers after the first: a Sentinel that was not connected may still return the old master. */
const GRACE = 250;
/** Milliseconds for which an answer is reused, unless there is news. */
const FRESH = 100;
/** Milliseconds between PINGs to each watched Sentinel. */
const PING = 10_000;

/** The channels of Sentinels → the meaning of an event. The leading Sentinel announces a promotion; all announce the new master. */
const NEWS: Readonly<Record<string, "failover" | "moved" | "aborted">> = {
  "+failover-state-select-slave": "failover",
  "+failover-state-send-slaveof-noone": "failover",
  "+promoted-slave": "moved",
  "+switch-master": "moved",
  "-failover-abort-not-elected": "aborted",
  "-failover-abort-no-good-slave": "aborted",
  "-failover-abort-slave-timeout": "aborted",
};

/** News of Sentinels. "failover": a replica will be promoted. "moved": the master may have changed. "aborted": the master stays. */
export type News = (typeof NEWS)[string];

interface Answer extends Address {
  /** Increases with each failover. */
  readonly epoch: number;
}

/** The Sentinels of one master. */
export class Sentinels {
  #settings: Settings;
  #onNews: (news: News) => void;
  /** `host:port` → address. */
  #known: ReadonlyMap<string, Address>;
  #watchers = new Map<string, { readonly redis: Redis; pinged: boolean }>();
  #clients = new Set<Redis>();
  #asking: Promise<Address> | undefined;
  /** The time until which the last answer is reused. */
  #freshUntil = Infinity;
  #timer: ReturnType<typeof setInterval> | undefined;

  /** Creates a client. `onNews` receives the news after {@linkcode watch}. */
  constructor(settings: Settings, onNews: (news: News) => void) {
    this.#settings = settings;
    this.#onNews = onNews;
    this.#known = new Map((settings.sentinels ?? []).map((each) => [`${each.host}:${each.port}`, each]));
  }

  /**
   * Finds the address of the master. The answer of the Sentinel that knows of the latest failover wins.
   *
   * @throws {Error} when no Sentinel answers or none knows the name
   */
  locate(): Promise<Address> {
    if (performance.now() > this.#freshUntil) this.#asking = undefined;
    return this.#asking ??= this.#share(this.#locate());
  }

  /** Subscribes to news of failovers until {@linkcode close}. */
  watch(): void {
    this.#timer ??= setInterval(() => this.#ping(), PING);
    for (const [key, address] of this.#known) {
      if (!this.#watchers.has(key)) this.#watchers.set(key, { redis: this.#subscribe(address), pinged: false });
    }
  }

  /** Closes all connections to Sentinels. */
  close(): void {
    clearInterval(this.#timer);
    this.#timer = undefined;
    for (const redis of this.#clients) redis.disconnect();
    this.#watchers.clear();
  }

  /** Shares one answer between concurrent calls of {@linkcode locate}. */
  async #share(asking: Promise<Address>): Promise<Address> {
    this.#freshUntil = Infinity;
    try {
      const address = await asking;
      this.#freshUntil = performance.now() + FRESH;
      return address;
    } catch (error) {
      this.#freshUntil = -Infinity;
      throw error;
    }
  }

  async #locate(): Promise<Address> {
    const { promise, resolve } = Promise.withResolvers<void>();
    const errors: unknown[] = [];
    const answers: Answer[] = [];
    let timer: ReturnType<typeof setTimeout> | undefined;
    const asked = [...this.#known.values()].map((address) =>
      this.#ask(address).then((answer) => {
        answers.push(answer);
        timer ??= setTimeout(resolve, GRACE);
      }, (error) => void errors.push(error))
    );
    Promise.all(asked).then(() => resolve());
    await promise;
    clearTimeout(timer);
    if (answers.length === 0) {
      const [cause] = errors;
      const why = textOf(cause);
      throw new Error(`No Sentinel knows the address of the master "${this.#settings.name}": ${why}`, { cause });
    }
    const { host, port } = answers.reduce((best, answer) => answer.epoch > best.epoch ? answer : best);
    return { host, port };
  }

  async #ask(address: Address): Promise<Answer> {
    const redis = this.#client(address, { commandTimeout: TIMEOUT, retryStrategy: () => null });
    const ask = (verb: string) => redis.call("sentinel", verb, this.#settings.name!);
    let fault: unknown; // `connect` rejects without the reason
    redis.on("error", (error) => fault = error);
    try {
      await redis.connect().catch((error) => {
        const at = `${address.host}:${address.port}`;
        throw new Error(connectionFault(fault, "the Sentinel", at) ?? textOf(fault ?? error), {
          cause: fault ?? error,
        });
      });
      await this.#authenticate(redis);
      const [found, state] = await Promise.all([
        ask("get-master-addr-by-name"),
        // an ACL user of a Sentinel may be allowed to ask for the address only
        ask("master").catch(() => undefined),
      ]);
      const master = addressOf(found);
      if (!master) throw new Error(`the Sentinel at ${address.host}:${address.port} does not know this name`);
      return { ...master, epoch: Number(fieldsOf(state).get("config-epoch") ?? 0) || 0 };
    } finally {
      redis.disconnect();
    }
  }

  #report(news: News): void {
    this.#asking = undefined;
    this.#onNews(news);
  }

  #subscribe(address: Address): Redis {
    let subscribed = false;
    let attempts = 0;
    const redis = this.#client(address, { retryStrategy: () => retryDelay(this.#settings, ++attempts) });
    redis.on("message", (channel: string, body: string) => {
      const news = Object.hasOwn(NEWS, channel) ? NEWS[channel] : undefined;
      if (news && body.split(" ").includes(this.#settings.name!)) this.#report(news);
    });
    redis.on("ready", async () => {
      const watcher = this.#watchers.get(`${address.host}:${address.port}`);
      if (watcher) watcher.pinged = false;
      try {
        await this.#authenticate(redis);
        await redis.subscribe(...Object.keys(NEWS));
        attempts = 0;
        // news may have been missed meanwhile
        if (subscribed) this.#report("moved");
        subscribed = true;
      } catch {
        // the connection broke again, or the ACL forbids it: then error replies of the old master reveal a failover
      }
    });
    redis.connect().catch(() => {});
    return redis;
  }

  async #authenticate(redis: Redis): Promise<void> {
    const { sentinelUsername: username, sentinelPassword: password } = this.#settings;
    await authenticate(
      async (read, ...command) => read(await redis.callBuffer(...command)),
      { username, password },
      (error) => isNeedless(error, serverOf(redis), this.#settings),
    );
  }

  #client({ host, port }: Address, options: IoRedisOptions): Redis {
    const redis = new Redis({
      host,
      port,
      tls: this.#settings.sentinelTls as IoRedisOptions["tls"],
      lazyConnect: true,
      connectTimeout: TIMEOUT,
      enableReadyCheck: false,
      enableOfflineQueue: false,
      autoResubscribe: false,
      autoResendUnfulfilledCommands: false,
      maxRetriesPerRequest: 0,
      disableClientInfo: true,
      ...options,
    });
    this.#clients.add(redis);
    redis.on("end", () => this.#clients.delete(redis));
    redis.on("error", () => {}); // commands and the next attempt report the error
    redis.on("connect", () => guardParser(redis));
    return redis;
  }

  /** Sends PINGs. A connection without a reply to the last PING is replaced, because it may miss news. */
  #ping(): void {
    for (const watcher of this.#watchers.values()) {
      const { redis } = watcher;
      if (redis.status !== "ready") continue;
      if (watcher.pinged) {
        watcher.pinged = false;
        redis.stream.destroy();
        continue;
      }
      watcher.pinged = true;
      redis.ping().then(() => watcher.pinged = false, () => {});
    }
  }
}

function addressOf(reply: unknown): Address | undefined {
  if (!Array.isArray(reply)) return undefined;
  const [host, port] = [String(reply[0]), Number(reply[1])];
  return host && Number.isInteger(port) && port > 0 && port < 65_536 ? { host, port } : undefined;
}

/** Reads a list of names and values. */
function fieldsOf(reply: unknown): Map<string, string> {
  const fields = new Map<string, string>();
  if (Array.isArray(reply)) {
    for (let i = 0; i + 1 < reply.length; i += 2) fields.set(String(reply[i]), String(reply[i + 1]));
  }
  return fields;
}
