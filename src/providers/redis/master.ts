/**
 * The server that all connections of one half share. Two of them on different servers would miss each other: one would register where
 * nobody looks, the other listen where nobody publishes. So they notice together that the master is another, and move together.
 *
 * @module
 */
import { Redis } from "ioredis";
import { ProviderError } from "../../errors.ts";
import { textOf } from "../../internal/thrown.ts";
import { pause } from "../../internal/time.ts";
import { replyOf } from "./errors.ts";
import { guard } from "./parser_guard.ts";
import { type Address, addresses, serverOptions, type Settings } from "./settings.ts";
import { info } from "./replies.ts";
import { type News, Sentinels } from "./sentinels.ts";

/** Milliseconds between looks at a server that is still loading. */
const LOADING = 500;
/** Milliseconds for a look at where a new connection leads. */
const LOOK = 1_500;
/** Milliseconds from one such look to the next, while replies give reason for one. */
const AGAIN = 500;
/** Milliseconds for which nothing is sent while a replica is promoted: the Sentinels look at it once a second. */
const HOLD = 4_000;
/** Milliseconds for which a look decides between two servers that both claim to be the master. */
const DECIDED = 2_000;
/** Milliseconds in which a master replies to what it had got before a replica is promoted. */
const REPLY = 100;

/** Milliseconds that subscribers have to follow to the new master, before what has waited is published there. */
const FOLLOW = 250;

/** A connection to the master. */
export interface Member {
  /** Whether it is connected. */
  readonly up: boolean;
  /** Whether it waits for replies. */
  readonly waits: boolean;
  /** Gives up the connection, if there is one, and connects anew: `soon` without the rest of its wait. */
  leave(error: unknown, soon: boolean): void;
  /** Sends what has waited. */
  flush(): void;
}

/** Where the connections of one half go. */
export class Master {
  #settings: Settings;
  #strict: boolean;
  #members = new Set<Member>();
  #sentinels: Sentinels | undefined;
  /** The server on which the members are: its run id, or where it does not say that, its address. */
  #server: string | undefined;
  #held: ReturnType<typeof setTimeout> | undefined;
  #reply: ReturnType<typeof setTimeout> | undefined;
  #looking: Promise<void> | undefined;
  #looker: Redis | undefined;
  #looked = -Infinity;
  /** When a look found it. */
  #found = -Infinity;
  #blind = false;

  /**
   * `strict`: a replica is refused, and the connections move when the master does; never in a Cluster, where any node will do.
   */
  constructor(settings: Settings, strict = false) {
    this.#settings = settings;
    this.#strict = strict && !settings.cluster;
    if (settings.sentinels) this.#sentinels = new Sentinels(settings, (news) => this.#heard(news));
  }

  /** While true, members send nothing. */
  get held(): boolean {
    return this.#held !== undefined;
  }

  /** Whether the server tells what it is, so that it is worth asking from time to time. */
  get tells(): boolean {
    return this.#strict && !this.#blind;
  }

  /** A connection is opened. */
  join(member: Member): void {
    this.#members.add(member);
    if (this.#strict) this.#sentinels?.watch();
  }

  /** A connection is closed; after the last one nothing is left. */
  part(member: Member): void {
    this.#members.delete(member);
    if (this.#members.size > 0) return;
    this.#sentinels?.close();
    this.#looker?.disconnect();
    this.#release();
  }

  /** Where the attempt of this number is to connect; undefined: there is only one place. */
  async locate(attempt: number): Promise<Address | undefined> {
    if (this.#sentinels) return await this.#sentinels.locate();
    const nodes = addresses(this.#settings);
    return nodes[attempt % nodes.length];
  }

  /**
   * A new connection of a member leads to the server at this address, which says by `info` what it is. While it loads its data, that
   * is asked again. While another member is on another server, a look decides which of them is right.
   *
   * @throws {ProviderError} "unavailable" when it is no master, or not the one of the others
   */
  async arrived(member: Member, address: string, info: () => Promise<ReadonlyMap<string, string>>): Promise<void> {
    let said: ReadonlyMap<string, string>;
    while ((said = await info().catch((error) => this.#silent(error))).get("loading") === "1") await pause(LOADING);
    if (!this.#strict) return;
    refuseReplica(said);
    const server = said.get("run_id") ?? address;
    const alone = [...this.#members].every((other) => other === member || !other.up);
    if (server !== this.#server && (!alone || performance.now() - this.#found < DECIDED)) {
      this.#look().catch(() => {});
      throw new ProviderError(
        "unavailable",
        "Cannot use this Redis server: the other connections are on another master",
      );
    }
    this.#server = server;
  }

  /** What the server says of itself now. */
  says(info: ReadonlyMap<string, string>): void {
    try {
      refuseReplica(info);
    } catch (error) {
      this.#leave(error);
    }
  }

  /** An error reply: it may say that this is the wrong server. */
  refused(error: Error): void {
    if (!this.#strict) return;
    const reply = replyOf(error.message);
    if (/^(READONLY|MASTERDOWN)/.test(reply)) this.#leave(error);
    // a master whose replicas have left it may be none any more
    else if (/^NOREPLICAS/.test(reply) && performance.now() - this.#looked > AGAIN) this.#look().catch(() => {});
  }

  /** This process did nothing for a while: before anything is sent, the master is looked for. */
  doubt(): void {
    if (!this.#strict || this.held) return;
    this.#hold(LOOK);
    this.#look().catch(() => {}).then(() => this.#release());
  }

  #heard(news: News): void {
    if (news === "aborted") return this.#release();
    if (news === "moved") {
      // not by a look that began before; and what cannot be reached now is what the members try next
      const before = this.#looking?.catch(() => {}) ?? Promise.resolve();
      before.then(() => this.#look()).catch((error) => this.#leave(error));
      return;
    }
    if (this.held) return;
    this.#hold(HOLD);
    // what a master that had been frozen does from now on, the promoted replica does not know
    this.#reply = setTimeout(() => {
      for (const member of this.#members) if (member.waits) member.leave(new Error("no reply"), false);
    }, REPLY);
  }

  /** Looks where a new connection leads. If that is another master, all move. */
  #look(): Promise<void> {
    return this.#looking ??= this.#compare().finally(() => {
      this.#looking = undefined;
      this.#looked = performance.now();
    });
  }

  async #compare(): Promise<void> {
    const address = await this.locate(0);
    if (this.#members.size === 0) return;
    const redis = this.#looker = new Redis({
      ...serverOptions(this.#settings),
      ...address,
      lazyConnect: true,
      connectTimeout: LOOK,
      commandTimeout: LOOK,
      enableReadyCheck: false,
      maxRetriesPerRequest: 0,
      disableClientInfo: true,
      retryStrategy: () => null,
    });
    redis.on("error", () => {}); // the command says it
    redis.on("connect", () => guard(redis, () => redis.stream.destroy()));
    let said: ReadonlyMap<string, string>;
    try {
      await redis.connect();
      said = await redis.callBuffer("info").then(info, (error) => this.#silent(error));
    } finally {
      redis.disconnect();
    }
    const server = said.get("run_id") ?? placeOf(redis);
    if (said.get("role") === "slave" || server === this.#server) return;
    this.#found = performance.now();
    this.#leave(new Error("the master is another server now"), server);
  }

  /** What INFO was refused with. Throws it, unless the server does not say at all what it is. */
  #silent(error: unknown): ReadonlyMap<string, string> {
    if (!/NOPERM|unknown command/.test(textOf(error))) throw error;
    this.#blind = true;
    return new Map();
  }

  #leave(error: unknown, server?: string): void {
    this.#server = server;
    for (const member of this.#members) member.leave(error, server !== undefined);
    if (this.held) this.#hold(FOLLOW);
  }

  #hold(ms: number): void {
    clearTimeout(this.#held);
    this.#held = setTimeout(() => {
      this.#release();
      this.#look().catch(() => {});
    }, ms);
  }

  #release(): void {
    clearTimeout(this.#held);
    clearTimeout(this.#reply);
    this.#held = undefined;
    for (const member of this.#members) member.flush();
  }
}

/** Where a client connects to. */
export function placeOf({ options }: Redis): string {
  return `${options.host}:${options.port}`;
}

function refuseReplica(info: ReadonlyMap<string, string>): void {
  if (info.get("role") !== "slave") return;
  const master = `${info.get("master_host")}:${info.get("master_port")}`;
  throw new ProviderError("unavailable", `Cannot use this Redis server: it is a replica of ${master}`);
}
