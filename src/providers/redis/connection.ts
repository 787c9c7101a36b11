/**
 * One connection to one Redis server, for ever: it comes back by itself, and every command on it ends.
 *
 * @module
 */
import { Redis } from "ioredis";
import { ClosedError } from "../../errors.ts";
import { textOf } from "../../internal/thrown.ts";
import type { Client, Observer } from "./client.ts";
import { type Batch, Command, type Pulse } from "./command.ts";
import { outcomeUnknown, senseless, toProviderError } from "./errors.ts";
import { guard } from "./parser_guard.ts";
import { Master, type Member, placeOf } from "./master.ts";
import { addresses, retryDelay, serverOptions, type Settings } from "./settings.ts";
import { Pushes } from "./pubsub_parser.ts";
import { echo, exactly, info, PING, type Reads } from "./replies.ts";

/** A timer that fires so late (ms) says that this thread was busy, not that the server is silent. */
const LATE = 250;
/** Milliseconds for the goodbye. */
const GOODBYE = 250;
/** A timer that fires so late (ms) says that this process did nothing at all, so that the master may have become another. */
const ASLEEP = 1_000;
/** A connection that breaks sooner than after so many times the wait for it counts as a failed attempt. */
const HELD = 4;
/** Characters that are handed to the socket at once. */
const CHUNK = 256 * 1024;

/** A {@linkcode Client} of one server, found by address, socket or Sentinels; of a Cluster any one node. */
export class Connection implements Client, Member {
  #redis: Redis;
  #master: Master;
  #observer: Observer;
  #settings: Settings;
  #timeout: number;
  /** Batches without all their replies, oldest first, so by deadline. */
  #open: Batch[] = [];
  /** Those of them that wait for the connection. */
  #unsent: Batch[] = [];
  #turn: Batch | undefined;
  #setup: Batch | undefined;
  #timer: ReturnType<typeof setTimeout> | undefined;
  #fires = 0;
  #late = false;
  /** A length that was corrupted on the way swallows all that follows: bytes come, but no replies. */
  #pulse: Pulse = { stuck: undefined, outOfStep: (error) => this.#outOfStep(error) };
  /** How many PINGs, and `performance.now()` when the next is due. */
  #pings = 0;
  #due = 0;
  /** Attempts since a connection held, and the wait for the next. */
  #attempts = 0;
  #retry: ReturnType<typeof setTimeout> | undefined;
  #delay = 0;
  #since = Infinity;
  #connected = 0;
  #up = false;
  #error: unknown = new Error("Connection is closed.");
  #opening: PromiseWithResolvers<void> | undefined;
  #closing: Promise<void> | undefined;

  /** `timeout`: ms that any one command may take; `master`: shared by those that are to be on one server. */
  constructor(settings: Settings, timeout: number, observer: Observer = {}, master = new Master(settings)) {
    this.#settings = settings;
    this.#master = master;
    this.#observer = observer;
    this.#timeout = timeout;
    const redis = this.#redis = new Redis({
      ...serverOptions(settings),
      lazyConnect: true,
      connectTimeout: timeout,
      disableClientInfo: true,
      // a timer that ioredis also sets for a connection that broke by itself: it would hold the process for 2 s
      disconnectTimeout: GOODBYE,
      // ours: what waits, what is sent again (nothing), what is subscribed again
      enableOfflineQueue: false,
      autoResendUnfulfilledCommands: false,
      autoResubscribe: false,
      // ours: when to connect again, and to which server; without it what is in flight on a broken connection rejects at once
      retryStrategy: () => null,
      enableReadyCheck: false,
      // the replies' only place where all errors come along
      reconnectOnError: (error) => {
        this.#master.refused(error);
        return false;
      },
    });
    redis.on("error", (error) => {
      this.#error = error;
      if (senseless(error)) this.#outOfStep(error);
    });
    redis.on("connect", () => this.#listen());
    redis.on("ready", () => this.#prepare());
    redis.on("close", () => this.#broke());
    redis.on("end", () => this.#again());
    // the names of changed keys: a list, which is left to ioredis
    if (observer.message) redis.on("message", observer.message.bind(observer));
  }

  get up(): boolean {
    // what is in flight rejects before "close" is emitted
    return this.#up && this.#redis.status === "ready" && !this.#redis.stream.destroyed;
  }

  get waits(): boolean {
    return this.#open.some(({ open, sent }) => sent && open > 0);
  }

  /**
   * Connects. A server that is not there is told at once, and then nothing is left behind.
   *
   * @throws {ProviderError} "unavailable" or "denied"
   */
  async open(timeout: number): Promise<void> {
    const opening = this.#opening = Promise.withResolvers<void>();
    const timer = setTimeout(() => opening.reject(new Error(`no answer within ${timeout} ms`)), timeout);
    this.#watch(Math.min(PING, this.#timeout));
    this.#master.join(this);
    this.#connect();
    try {
      await opening.promise;
    } catch (error) {
      await this.close();
      throw toProviderError("connect to Redis", error);
    } finally {
      clearTimeout(timer);
      this.#opening = undefined;
    }
  }

  call<T>(reads: Reads<T>, name: string, ...args: string[]): Promise<T> {
    if (this.#closing) return Promise.reject(new ClosedError("Cannot use the connection to Redis: it is closed"));
    this.#turn ??= this.#begin();
    return this.#add(this.#turn, reads, name, args);
  }

  close(): Promise<void> {
    return this.#closing ??= this.#close();
  }

  leave(error: unknown, soon: boolean): void {
    if (this.#closing) return;
    if (this.#retry !== undefined && soon) return void this.#connect();
    if (!this.#up) return;
    this.#error = error;
    this.#redis.stream.destroy();
  }

  flush(): void {
    if (!this.#up || this.#master.held) return;
    while (this.#unsent.length > 0 && this.#write(this.#unsent[0]!)) this.#unsent.shift();
  }

  /** Sends before all that waits for the connection. */
  #direct<T>(reads: Reads<T>, name: string, ...args: string[]): Promise<T> {
    this.#setup ??= this.#begin();
    return this.#add(this.#setup, reads, name, args);
  }

  #begin(): Batch {
    const batch: Batch = { commands: [], deadline: performance.now() + this.#timeout, open: 0, pulse: this.#pulse };
    while (this.#open[0]?.open === 0) this.#open.shift();
    this.#open.push(batch);
    queueMicrotask(() => this.#flush());
    return batch;
  }

  #add<T>(batch: Batch, reads: Reads<T>, name: string, args: string[]): Promise<T> {
    return new Promise((resolve, reject) => {
      batch.open++;
      batch.commands.push(new Command(name, args, batch, (reply) => resolve(reads(reply)), reject));
    });
  }

  #flush(): void {
    const [setup, turn] = [this.#setup, this.#turn];
    this.#setup = this.#turn = undefined;
    if (setup && !this.#write(setup)) reject(setup, this.#error);
    if (turn) this.#unsent.push(turn);
    if (performance.now() - this.#fires > ASLEEP) this.#master.doubt();
    this.flush();
  }

  /** False: the connection does not take it, nothing was sent. */
  #write(batch: Batch): boolean {
    const redis = this.#redis;
    const stream = redis.stream;
    if (redis.status !== "ready" || !stream?.writable) return false;
    batch.sent = { at: performance.now(), heard: stream.bytesRead };
    let text = "";
    // what ioredis takes for the stream of a pipeline: one write for all
    const sink = {
      isPipeline: true,
      destination: { redis: { stream } },
      write: (chunk: string) => {
        text += chunk;
        if (text.length < CHUNK) return;
        stream.write(text);
        text = "";
      },
    };
    for (const command of batch.commands) {
      if (!command.settled) redis.sendCommand(...[command, sink] as unknown as Parameters<Redis["sendCommand"]>);
    }
    if (text) stream.write(text);
    return true;
  }

  #listen(): void {
    guard(this.#redis, (error) => this.#outOfStep(error), (parse) => {
      if (!this.#observer.message) return parse;
      const pushes = new Pushes(this.#observer, parse);
      return (bytes) => pushes.feed(bytes);
    });
  }

  /** Gives up a connection that makes no sense. What ioredis still reads of it would go to whoever comes next. */
  #outOfStep(error: unknown): void {
    this.#error = error;
    for (const batch of this.#open) if (batch.sent) reject(batch, error);
    this.#redis.stream.destroy();
  }

  async #prepare(): Promise<void> {
    const { stream } = this.#redis;
    const holds = () => this.#redis.stream === stream && this.#redis.status === "ready" && !this.#closing;
    const { db } = this.#settings;
    try {
      await this.#master.arrived(this, placeOf(this.#redis), () => this.#direct(info, "info"));
      // ioredis selects it too, and stays with the first where that is refused
      if (db > 0) await this.#direct(exactly("OK"), "select", String(db));
      await this.#observer.prepare?.((reads, name, ...args) => this.#direct(reads, name, ...args));
    } catch (error) {
      if (!holds()) return;
      // after a refused password, which ioredis has reported, this says nothing
      if (this.#settings.password === undefined || !/NOAUTH/.test(textOf(error))) this.#error = error;
      stream.destroy();
    }
    if (!holds() || stream.destroyed) return;
    const again = this.#connected++ > 0;
    this.#since = performance.now();
    this.#up = true;
    this.#flush();
    this.#opening?.resolve();
    this.#observer.up?.(again);
  }

  #broke(): void {
    this.#pulse.stuck = undefined;
    if (this.#up && !this.#closing) this.#observer.down?.(toProviderError("reach Redis", this.#error));
    this.#up = false;
  }

  async #connect(): Promise<void> {
    clearTimeout(this.#retry);
    this.#retry = undefined;
    try {
      const address = await this.#master.locate(this.#attempts);
      if (this.#closing) return;
      Object.assign(this.#redis.options, address);
      this.#redis.connect().catch(() => {}); // it is said by events too
    } catch (error) {
      this.#error = error;
      this.#again();
    }
  }

  /** An attempt failed, or the connection broke. */
  #again(): void {
    if (this.#closing) return;
    if (performance.now() - this.#since > HELD * this.#delay) this.#attempts = 0;
    this.#since = Infinity;
    this.#attempts++;
    // of a Cluster, any node will do; while opening, each is tried once
    if (this.#connected > 0) this.#delay = retryDelay(this.#settings, this.#attempts);
    else if (this.#attempts >= addresses(this.#settings).length) return this.#opening?.reject(this.#error);
    this.#retry = setTimeout(() => this.#connect(), this.#delay);
  }

  #watch(wait: number): void {
    this.#fires = performance.now() + wait;
    this.#timer = setTimeout(() => this.#look(), wait);
  }

  /** Ends what is overdue, and a connection on which nothing comes back any more. */
  #look(): void {
    const now = performance.now();
    // first let a busy thread read what has come meanwhile
    this.#late = now - this.#fires > LATE && !this.#late;
    if (this.#late) return this.#watch(LATE);
    const heard = this.#redis.stream?.bytesRead ?? 0;
    let silent = false;
    for (let batch = this.#open[0]; batch && (batch.open === 0 || batch.deadline <= now); batch = this.#open[0]) {
      this.#open.shift();
      // one that had to wait for the connection has given the server less time
      const given = batch.sent ? now - batch.sent.at : 0;
      silent ||= batch.open > 0 && batch.sent?.heard === heard && given > this.#timeout / 2;
      if (batch.open > 0 && batch.sent) this.#pulse.stuck ??= now;
      reject(batch, new Error(`no reply within ${this.#timeout} ms`, { cause: this.#error }));
    }
    this.#unsent = this.#unsent.filter((batch) => batch.open > 0);
    silent ||= now - (this.#pulse.stuck ?? now) > this.#timeout;
    const due = now >= this.#due;
    if (due) this.#due = now + Math.min(PING, this.#timeout);
    if (silent) {
      this.#error = new Error(`no reply within ${this.#timeout} ms`);
      this.#redis.stream?.destroy();
    } else if (due && this.#up) {
      this.#ping();
    }
    this.#watch(Math.max(1, Math.min(this.#due, this.#open[0]?.deadline ?? Infinity) - now));
  }

  /** On a busy connection too: what comes back says whether it is still in step. */
  #ping(): void {
    const nonce = String(++this.#pings);
    this.call(echo(nonce), "ping", nonce).catch(() => {});
    // a connection that has subscribed may not ask
    if (this.#observer.message || !this.#master.tells) return;
    this.call(info, "info", "replication").then((said) => this.#master.says(said), () => {});
  }

  async #close(): Promise<void> {
    clearTimeout(this.#timer);
    clearTimeout(this.#retry);
    this.#master.part(this);
    if (this.#up) {
      this.#flush(); // what was said before the goodbye goes before it
      const goodbye = Promise.withResolvers<void>();
      const timer = setTimeout(goodbye.resolve, GOODBYE);
      this.#direct(exactly("OK"), "quit").then(() => goodbye.resolve(), () => goodbye.resolve());
      await goodbye.promise;
      clearTimeout(timer);
    }
    this.#up = false;
    const closed = new ClosedError("The connection to Redis was closed");
    for (const batch of this.#open.splice(0)) reject(batch, batch.sent ? outcomeUnknown() : closed);
    this.#unsent = [];
    this.#redis.disconnect();
    this.#redis.stream?.destroy();
  }
}

function reject(batch: Batch, error: unknown): void {
  for (const command of batch.commands) command.reject(error);
}
