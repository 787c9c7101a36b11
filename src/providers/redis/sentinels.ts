/**
 * Redis Sentinels: where the master is, and news of its failover.
 *
 * @module
 */
import { textOf } from "../../internal/thrown.ts";
import { Redis, type RedisOptions as IoRedisOptions } from "ioredis";
import { guard } from "./parser_guard.ts";
import { type Address, retryDelay, type Settings } from "./settings.ts";

/** Milliseconds for one Sentinel: a frozen one, or one whose machine died, must not take the time of the others. */
const TIMEOUT = 1_500;
/** Milliseconds that the others have to answer, once one has: one that was away may still name the old master. */
const GRACE = 250;
/** Milliseconds for which an answer is good, unless there is news. */
const GOOD = 100;
/** Milliseconds between PINGs to Sentinels that are listened to. */
const PING = 10_000;

/** The leading Sentinel says this before it promotes a replica, all say it when the master is another, and why it is not to be. */
const NEWS: Readonly<Record<string, "failover" | "moved" | "aborted">> = {
  "+failover-state-select-slave": "failover",
  "+failover-state-send-slaveof-noone": "failover",
  "+promoted-slave": "moved",
  "+switch-master": "moved",
  "-failover-abort-not-elected": "aborted",
  "-failover-abort-no-good-slave": "aborted",
  "-failover-abort-slave-timeout": "aborted",
};

/** What Sentinels tell: a replica is about to be promoted; the master may be another now; all stays as it is. */
export type News = (typeof NEWS)[string];

interface Answer extends Address {
  /** Grows with each failover. */
  readonly epoch: number;
  readonly others: readonly Address[];
}

/** The Sentinels of one master. */
export class Sentinels {
  #settings: Settings;
  #heard: (news: News) => void;
  /** By `host:port`: those that were named, and those that these know. */
  #known = new Map<string, Address>();
  #watchers = new Map<string, { readonly redis: Redis; waits: boolean }>();
  #clients = new Set<Redis>();
  #asking: Promise<Address> | undefined;
  /** Until when the last answer is good. */
  #good = Infinity;
  #timer: ReturnType<typeof setInterval> | undefined;

  /** `heard` gets what {@linkcode watch} hears. */
  constructor(settings: Settings, heard: (news: News) => void) {
    this.#settings = settings;
    this.#heard = heard;
    this.#learn(settings.sentinels ?? []);
  }

  /**
   * The address of the master: what the Sentinel says that knows of the latest failover.
   *
   * @throws {Error} when no Sentinel answers or none knows the name
   */
  locate(): Promise<Address> {
    if (performance.now() > this.#good) this.#asking = undefined;
    return this.#asking ??= this.#answered(this.#locate());
  }

  /** Listens for failovers until {@linkcode close}. */
  watch(): void {
    this.#timer ??= setInterval(() => this.#ping(), PING);
    for (const [key, address] of this.#known) {
      if (!this.#watchers.has(key)) this.#watchers.set(key, { redis: this.#listen(address), waits: false });
    }
  }

  /** Stops listening and asking. */
  close(): void {
    clearInterval(this.#timer);
    this.#timer = undefined;
    for (const redis of this.#clients) redis.disconnect();
    this.#watchers.clear();
  }

  /** Connections that look for the master together ask once. */
  async #answered(asking: Promise<Address>): Promise<Address> {
    this.#good = Infinity;
    try {
      const address = await asking;
      this.#good = performance.now() + GOOD;
      return address;
    } catch (error) {
      this.#good = -Infinity;
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
      throw new Error(`No Sentinel tells where the master "${this.#settings.name}" is: ${why}`, { cause });
    }
    for (const { others } of answers) this.#learn(others);
    if (this.#timer) this.watch();
    const { host, port } = answers.reduce((best, answer) => answer.epoch > best.epoch ? answer : best);
    return { host, port };
  }

  async #ask(address: Address): Promise<Answer> {
    const redis = this.#client(address, { commandTimeout: TIMEOUT, retryStrategy: () => null });
    const ask = (verb: string) => redis.call("sentinel", verb, this.#settings.name!);
    try {
      await redis.connect();
      const [found, state, others] = await Promise.all([
        ask("get-master-addr-by-name"),
        // a user of a Sentinel may be allowed no more than the address
        ask("master").catch(() => undefined),
        ask("sentinels").catch(() => undefined),
      ]);
      const master = addressOf(found);
      if (!master) throw new Error(`the Sentinel at ${address.host}:${address.port} does not know it`);
      return { ...master, epoch: Number(row(state).get("config-epoch") ?? 0) || 0, others: neighbours(others) };
    } finally {
      redis.disconnect();
    }
  }

  #tell(news: News): void {
    this.#asking = undefined;
    this.#heard(news);
  }

  #learn(addresses: readonly Address[]): void {
    for (const address of addresses) this.#known.set(`${address.host}:${address.port}`, address);
  }

  #listen(address: Address): Redis {
    let subscribed = false;
    let attempts = 0;
    const redis = this.#client(address, { retryStrategy: () => retryDelay(this.#settings, ++attempts) });
    redis.on("message", (channel: string, body: string) => {
      const news = Object.hasOwn(NEWS, channel) ? NEWS[channel] : undefined;
      if (news && body.split(" ").includes(this.#settings.name!)) this.#tell(news);
    });
    redis.on("ready", async () => {
      const watcher = this.#watchers.get(`${address.host}:${address.port}`);
      if (watcher) watcher.waits = false;
      try {
        await redis.subscribe(...Object.keys(NEWS));
        attempts = 0;
        // what was said meanwhile was missed
        if (subscribed) this.#tell("moved");
        subscribed = true;
      } catch {
        // broken again, or not allowed: then the servers' replies tell, later
      }
    });
    redis.connect().catch(() => {});
    return redis;
  }

  #client({ host, port }: Address, options: IoRedisOptions): Redis {
    const { sentinelUsername, sentinelPassword, sentinelTls } = this.#settings;
    const redis = new Redis({
      host,
      port,
      username: sentinelUsername,
      password: sentinelPassword,
      tls: sentinelTls as IoRedisOptions["tls"],
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
    redis.on("error", () => {}); // the command or the next attempt says it
    redis.on("connect", () => guard(redis, () => redis.stream.destroy()));
    return redis;
  }

  /** A connection on which nothing comes any more hears nothing either. */
  #ping(): void {
    for (const watcher of this.#watchers.values()) {
      const { redis } = watcher;
      if (redis.status !== "ready") continue;
      if (watcher.waits) {
        watcher.waits = false;
        redis.stream.destroy();
        continue;
      }
      watcher.waits = true;
      redis.ping().then(() => watcher.waits = false, () => {});
    }
  }
}

function addressOf(reply: unknown): Address | undefined {
  if (!Array.isArray(reply)) return undefined;
  const [host, port] = [String(reply[0]), Number(reply[1])];
  return host && Number.isInteger(port) && port > 0 && port < 65_536 ? { host, port } : undefined;
}

/** A row of names and values. */
function row(reply: unknown): Map<string, string> {
  const fields = new Map<string, string>();
  if (Array.isArray(reply)) {
    for (let i = 0; i + 1 < reply.length; i += 2) fields.set(String(reply[i]), String(reply[i + 1]));
  }
  return fields;
}

/** The other Sentinels of which one knows, without those that it cannot reach either. */
function neighbours(reply: unknown): Address[] {
  if (!Array.isArray(reply)) return [];
  return reply.map(row).flatMap((fields) => {
    const address = addressOf([fields.get("ip") ?? "", fields.get("port")]);
    return address && !fields.get("flags")?.includes("disconnected") ? [address] : [];
  });
}
