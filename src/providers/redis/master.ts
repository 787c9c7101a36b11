/**
 * The master that all connections of one half share. If they used different servers, registrations and subscriptions would not be found. So
 * they detect a new master together, and move to it together.
 *
 * @module
 */
import { Redis } from "ioredis";
import { ProviderError } from "../../errors.ts";
import { textOf } from "../../internal/thrown.ts";
import { pause } from "../../internal/time.ts";
import { replyOf } from "./errors.ts";
import { authenticate, isNeedless, login } from "./login.ts";
import { guardParser } from "./parser_guard.ts";
import { type Address, addresses, addressOf, serverOptions, type Settings } from "./settings.ts";
import { info } from "./replies.ts";
import { type News, Sentinels } from "./sentinels.ts";

/** Milliseconds between checks of a server that loads its data. */
const LOADING = 500;
/** Milliseconds that a check of the master may take. */
const CHECK = 1_500;
/** Milliseconds between checks after error replies. */
const CHECK_INTERVAL = 500;
/** Milliseconds for which nothing is sent while a replica is promoted: the Sentinels check its role once a second. */
const PROMOTION = 4_000;
/** Milliseconds for which the last check decides between two servers that both claim to be the master. */
const DECIDED = 2_000;
/** Milliseconds for the old master to reply to earlier commands before a replica is promoted. */
const REPLY = 100;
/** Milliseconds for subscribers to move to the new master, before pending events are published there. */
const FOLLOW = 250;

/** A connection to the master. */
export interface Member {
  /** Whether the connection is up. */
  readonly up: boolean;
  /** Whether the connection waits for replies. */
  readonly waiting: boolean;
  /** Drops the connection if it is up, and reconnects. `now` also ends the pause before the next attempt. */
  reconnect(error: unknown, now: boolean): void;
  /** Sends the pending commands. */
  sendPending(): void;
}

/** Finds the master, and keeps the connections of one half on it. */
export class Master {
  #settings: Settings;
  #masterOnly: boolean;
  #members = new Set<Member>();
  #sentinels: Sentinels | undefined;
  /** The server of the members: its run id, or its address if INFO is not allowed. */
  #server: string | undefined;
  #pausing: ReturnType<typeof setTimeout> | undefined;
  #reply: ReturnType<typeof setTimeout> | undefined;
  /** The running check. `#probe` is its connection. */
  #checking: Promise<void> | undefined;
  #probe: Redis | undefined;
  /** The time when the last check ended. `#foundAt` is the time when a check last found a new master. */
  #checkedAt = -Infinity;
  #foundAt = -Infinity;
  #infoDenied = false;

  /**
   * Creates a master without connections. With `masterOnly`, connections refuse a replica, and move when the master changes. It has no
   * effect in a Cluster, where any node passes on events.
   */
  constructor(settings: Settings, masterOnly = false) {
    this.#settings = settings;
    this.#masterOnly = masterOnly && !settings.cluster;
    if (settings.sentinels) this.#sentinels = new Sentinels(settings, (news) => this.#onNews(news));
  }

  /** While true, members send nothing. */
  get paused(): boolean {
    return this.#pausing !== undefined;
  }

  /** Whether members pass the role of their server to {@linkcode checkRole} from time to time. */
  get checksRole(): boolean {
    return this.#masterOnly && !this.#infoDenied;
  }

  /** Adds a new connection. */
  add(member: Member): void {
    this.#members.add(member);
    if (this.#masterOnly) this.#sentinels?.watch();
  }

  /** Removes a closing connection. After the last one, everything is released. */
  remove(member: Member): void {
    this.#members.delete(member);
    if (this.#members.size > 0) return;
    this.#sentinels?.close();
    this.#probe?.disconnect();
    this.#resume();
  }

  /** Returns the address for an attempt, by its number. Returns undefined for a Unix socket. */
  async locate(attempt: number): Promise<Address | undefined> {
    if (this.#sentinels) return await this.#sentinels.locate();
    const nodes = addresses(this.#settings);
    return nodes[attempt % nodes.length];
  }

  /**
   * Accepts the server at this address for a new connection of a member, once it has loaded its data. `info` asks it for INFO. If another
   * member uses another server, a check decides which of them is the master.
   *
   * @throws {ProviderError} "unavailable" when the server is a replica, or not the master of the other members
   */
  async accept(member: Member, address: string, info: () => Promise<ReadonlyMap<string, string>>): Promise<void> {
    let fields: ReadonlyMap<string, string>;
    while ((fields = await info().catch((error) => this.#withoutInfo(error))).get("loading") === "1") {
      await pause(LOADING);
    }
    if (!this.#masterOnly) return;
    refuseReplica(fields);
    const server = fields.get("run_id") ?? address;
    const alone = [...this.#members].every((other) => other === member || !other.up);
    if (server !== this.#server && (!alone || performance.now() - this.#foundAt < DECIDED)) {
      this.#check().catch(() => {});
      throw new ProviderError(
        "unavailable",
        "Cannot use this Redis server: the other connections use another master",
      );
    }
    this.#server = server;
  }

  /** Makes all members reconnect if INFO shows that their server has become a replica. */
  checkRole(info: ReadonlyMap<string, string>): void {
    try {
      refuseReplica(info);
    } catch (error) {
      this.#reconnectAll(error);
    }
  }

  /** Checks an error reply: it may show that the server is not the master any more. */
  checkError(error: Error): void {
    if (!this.#masterOnly) return;
    const reply = replyOf(error.message);
    if (/^(READONLY|MASTERDOWN)/.test(reply)) this.#reconnectAll(error);
    // replicas leave a master that was replaced
    else if (/^NOREPLICAS/.test(reply) && performance.now() - this.#checkedAt > CHECK_INTERVAL) {
      this.#check().catch(() => {});
    }
  }

  /** Checks the master of a process that was suspended, before anything else is sent. */
  verify(): void {
    if (!this.#masterOnly || this.paused) return;
    this.#pause(CHECK);
    this.#check().catch(() => {}).then(() => this.#resume());
  }

  #onNews(news: News): void {
    if (news === "aborted") return this.#resume();
    if (news === "moved") {
      // a check that began earlier may have found the old master; if the new one cannot be reached yet, the members keep trying
      const before = this.#checking?.catch(() => {}) ?? Promise.resolve();
      before.then(() => this.#check()).catch((error) => this.#reconnectAll(error));
      return;
    }
    if (this.paused) return;
    this.#pause(PROMOTION);
    // the promoted replica will not have the commands that a frozen master executes from now on
    this.#reply = setTimeout(() => {
      for (const member of this.#members) {
        if (member.waiting) member.reconnect(new Error("the master sent no reply"), false);
      }
    }, REPLY);
  }

  /** Checks which server a new connection reaches. If it is another master, all members move to it. */
  #check(): Promise<void> {
    return this.#checking ??= this.#compare().finally(() => {
      this.#checking = undefined;
      this.#checkedAt = performance.now();
    });
  }

  async #compare(): Promise<void> {
    const address = await this.locate(0);
    const credentials = await login(this.#settings, CHECK);
    if (this.#members.size === 0) return;
    const redis = this.#probe = new Redis({
      ...serverOptions(this.#settings),
      ...address,
      lazyConnect: true,
      connectTimeout: CHECK,
      commandTimeout: CHECK,
      enableReadyCheck: false,
      maxRetriesPerRequest: 0,
      disableClientInfo: true,
      retryStrategy: () => null,
    });
    redis.on("error", () => {}); // the command rejects with it
    redis.on("connect", () => guardParser(redis));
    let fields: ReadonlyMap<string, string>;
    try {
      await redis.connect();
      await authenticate(
        async (read, ...command) => read(await redis.callBuffer(...command)),
        credentials,
        (error) => isNeedless(error, addressOf(redis), this.#settings),
      );
      fields = await redis.callBuffer("info").then(info, (error) => this.#withoutInfo(error));
    } finally {
      redis.disconnect();
    }
    const server = fields.get("run_id") ?? addressOf(redis);
    if (fields.get("role") === "slave" || server === this.#server) return;
    this.#foundAt = performance.now();
    this.#reconnectAll(new Error("another server is the master now"), server);
  }

  /** Returns the replacement for the reply to INFO if the server does not allow INFO. Throws any other error. */
  #withoutInfo(error: unknown): ReadonlyMap<string, string> {
    if (!/NOPERM|unknown command/.test(textOf(error))) throw error;
    this.#infoDenied = true;
    return new Map();
  }

  #reconnectAll(error: unknown, server?: string): void {
    this.#server = server;
    for (const member of this.#members) member.reconnect(error, server !== undefined);
    if (this.paused) this.#pause(FOLLOW);
  }

  #pause(ms: number): void {
    clearTimeout(this.#pausing);
    this.#pausing = setTimeout(() => {
      this.#resume();
      this.#check().catch(() => {});
    }, ms);
  }

  #resume(): void {
    clearTimeout(this.#pausing);
    clearTimeout(this.#reply);
    this.#pausing = undefined;
    for (const member of this.#members) member.sendPending();
  }
}

function refuseReplica(info: ReadonlyMap<string, string>): void {
  if (info.get("role") !== "slave") return;
  const master = `${info.get("master_host")}:${info.get("master_port")}`;
  throw new ProviderError("unavailable", `Cannot use this Redis server: it is a replica of ${master}`);
}
