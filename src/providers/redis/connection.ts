/**
 * One connection to one Redis server. It reconnects by itself, and every command on it has a deadline.
 *
 * @module
 */
import { Redis } from "ioredis";
import { type BusError, ClosedError } from "../../errors.ts";
import { within } from "../../internal/time.ts";
import type { Client, Observer } from "./client.ts";
import { type Batch, Command, rejectBatch, Replies, writeBatch } from "./command.ts";
import { CLOSED, noConnection, noReply, outcomeUnknown, outOfStep, toProviderError } from "./errors.ts";
import { authenticate, isNeedless, login } from "./login.ts";
import { guardParser } from "./parser_guard.ts";
import { Master, type Member } from "./master.ts";
import { addresses, addressOf, MANAGED, retryDelay, serverOptions, type Settings } from "./settings.ts";
import { operation } from "./operations.ts";
import { PubSubParser } from "./pubsub_parser.ts";
import { echo, exactly, info, PING, type ReplyReader } from "./replies.ts";

/** If a timer fires this many milliseconds late, the thread was busy, so the server may have answered. */
const LATE = 250;
/** Milliseconds to wait for the reply to QUIT. */
const QUIT = 250;
/** If a timer fires this many milliseconds late, the process was suspended, so the master may have changed. */
const SUSPENDED = 1_000;
/** A connection counts as a failed attempt if it breaks before it has lasted this many times as long as the pause before it. */
const STABLE = 4;

/** A {@linkcode Client} of one server: by address, by socket, behind Sentinels, or any one node of a Cluster. */
export class Connection implements Client, Member {
  #redis: Redis;
  #master: Master;
  #observer: Observer;
  #settings: Settings;
  #timeout: number;
  /** The batches that still wait for replies, oldest first, so in the order of their deadlines. */
  #pending: Batch[] = [];
  /** The pending batches that wait for the connection, oldest first. */
  #unsent: Batch[] = [];
  /** The batch of this turn. `#preparation` is the batch that prepares a new connection. */
  #batch: Batch | undefined;
  #preparation: Batch | undefined;
  /** The timer of the next check. `#checkAt` is the time of that check. */
  #timer: ReturnType<typeof setTimeout> | undefined;
  #checkAt = 0;
  #late = false;
  #replies: Replies;
  /** The number of sent PINGs. `#pingAt` is the time of the next one. */
  #pings = 0;
  #pingAt = 0;
  /**
   * The number of failed attempts since a connection was stable. `#retry` is the timer of the next attempt, `#delay` the pause before it.
   */
  #attempts = 0;
  #retry: ReturnType<typeof setTimeout> | undefined;
  #delay = 0;
  /** The time when the connection became ready. */
  #readyAt = Infinity;
  /** The number of times that a connection became ready. */
  #connected = 0;
  #up = false;
  #error: unknown = CLOSED;
  #opening: PromiseWithResolvers<void> | undefined;
  #closing: Promise<void> | undefined;

  /** Creates a connection. Each command may take `timeout` milliseconds. Connections that must use the same server share a `master`. */
  constructor(settings: Settings, timeout: number, observer: Observer = {}, master = new Master(settings)) {
    this.#settings = settings;
    this.#master = master;
    this.#observer = observer;
    this.#timeout = timeout;
    const redis = this.#redis = new Redis({
      ...serverOptions(settings),
      ...MANAGED,
      connectTimeout: timeout,
      // ioredis sets this timer for a broken connection too: its default would keep the process alive for 2 s
      disconnectTimeout: QUIT,
      // the only hook that sees every error reply
      reconnectOnError: (error) => {
        this.#master.checkError(error);
        return false;
      },
    });
    this.#replies = new Replies(redis, (error) => this.#outOfStep(error));
    redis.on("error", (error) => {
      this.#error = error;
      if (outOfStep(error)) this.#outOfStep(error);
    });
    redis.on("connect", () => this.#attachParser());
    redis.on("ready", () => this.#prepare());
    redis.on("close", () => this.#disconnected());
    redis.on("end", () => this.#scheduleConnect());
    // ioredis parses the server's reports of changed keys: they are lists, while another client can publish only strings
    redis.on("messageBuffer", (_, keys) => observer.changed?.(keys));
  }

  get up(): boolean {
    // commands reject before "close" is emitted
    return this.#up && this.#redis.status === "ready" && !this.#redis.stream.destroyed;
  }

  get waiting(): boolean {
    return this.#pending.some(({ pending, sent }) => sent && pending > 0);
  }

  /**
   * Connects. If the server cannot be reached, it releases everything and rejects immediately.
   *
   * @throws {ProviderError} "unavailable" or "denied"
   */
  async open(timeout: number): Promise<void> {
    const opening = this.#opening = Promise.withResolvers<void>();
    const timer = setTimeout(() => opening.reject(noReply(timeout, !!this.#settings.tls)), timeout);
    this.#scheduleCheck(Math.min(PING, this.#timeout));
    // each address has a part of the time for opening, its first commands included, which may be more than the time of a command
    const ofCommand = this.#timeout;
    const each = timeout / Math.max(1, addresses(this.#settings).length);
    this.#timeout = this.#redis.options.connectTimeout = Math.max(ofCommand, each);
    this.#master.add(this);
    this.#connect();
    try {
      await opening.promise;
    } catch (error) {
      await this.close();
      throw toProviderError("connect to Redis", error, this.#replies.address);
    } finally {
      clearTimeout(timer);
      this.#timeout = this.#redis.options.connectTimeout = ofCommand;
      this.#opening = undefined;
    }
  }

  call<T>(read: ReplyReader<T>, name: string, ...args: string[]): Promise<T> {
    if (this.#closing) return Promise.reject(toProviderError(operation(name, args), new ClosedError()));
    this.#batch ??= this.#begin();
    return this.#add(this.#batch, read, name, args);
  }

  close(): Promise<void> {
    return this.#closing ??= this.#close();
  }

  /** Destroys the connection immediately. It may be called while `close` is running. */
  abort(): void {
    this.#closing ??= Promise.resolve();
    this.#end();
  }

  reconnect(error: unknown, now: boolean): void {
    if (this.#closing) return;
    if (this.#retry !== undefined && now) return void this.#connect();
    if (!this.#up) return;
    this.#error = error;
    this.#redis.stream.destroy();
  }

  sendPending(): void {
    if (!this.#up || this.#master.paused) return;
    while (this.#unsent.length > 0 && this.#write(this.#unsent[0]!)) this.#unsent.shift();
  }

  /** Sends a command before all commands that wait for the connection. */
  #callFirst<T>(read: ReplyReader<T>, name: string, ...args: string[]): Promise<T> {
    this.#preparation ??= this.#begin();
    return this.#add(this.#preparation, read, name, args);
  }

  #begin(): Batch {
    const deadline = performance.now() + this.#timeout;
    const batch: Batch = { commands: [], deadline, pending: 0, replies: this.#replies };
    while (this.#pending[0]?.pending === 0) this.#pending.shift();
    this.#pending.push(batch);
    queueMicrotask(() => this.#flush());
    return batch;
  }

  #add<T>(batch: Batch, read: ReplyReader<T>, name: string, args: string[]): Promise<T> {
    return new Promise((resolve, reject) => {
      batch.commands.push(new Command(name, args, batch, (reply) => resolve(read(reply, args)), reject));
      batch.pending++;
    });
  }

  #flush(): void {
    const [preparation, batch] = [this.#preparation, this.#batch];
    this.#preparation = this.#batch = undefined;
    if (preparation && !this.#write(preparation)) rejectBatch(preparation, this.#error);
    if (batch) this.#unsent.push(batch);
    if (performance.now() - this.#checkAt > SUSPENDED) this.#master.verify();
    this.sendPending();
  }

  /** Writes a batch to the socket. Returns false, and writes nothing, if the connection is not ready. */
  #write(batch: Batch): boolean {
    const redis = this.#redis;
    const stream = redis.stream;
    if (redis.status !== "ready" || !stream?.writable) return false;
    batch.sent = { at: performance.now(), received: stream.bytesRead };
    writeBatch(redis, batch);
    return true;
  }

  #attachParser(): void {
    guardParser(this.#redis, (error) => this.#outOfStep(error), (parse) => {
      if (!this.#observer.message) return parse;
      const parser = new PubSubParser(this.#observer, parse);
      return (bytes) => parser.parse(bytes);
    });
  }

  /** Drops the connection, and rejects all commands, because ioredis would resolve them with wrong replies from this stream. */
  #outOfStep(error: unknown): void {
    this.#error = error;
    for (const batch of this.#pending) if (batch.sent) rejectBatch(batch, error);
    this.#redis.stream.destroy();
  }

  async #prepare(): Promise<void> {
    const { stream } = this.#redis;
    const current = () => this.#redis.stream === stream && this.#redis.status === "ready" && !this.#closing;
    const { db } = this.#settings;
    const call: Client["call"] = (read, name, ...args) => this.#callFirst(read, name, ...args);
    try {
      const credentials = await login(this.#settings, this.#timeout);
      if (!current()) return;
      const address = addressOf(this.#redis);
      await authenticate(call, credentials, (error) => isNeedless(error, address, this.#settings));
      await this.#master.accept(this, address, () => this.#callFirst(info, "info"));
      // ioredis would ignore a refusal and stay on database 0
      if (db > 0) await this.#callFirst(exactly("OK"), "select", String(db));
      await this.#observer.prepare?.(call);
    } catch (error) {
      if (!current()) return;
      this.#error = error;
      stream.destroy();
    }
    if (!current() || stream.destroyed) return;
    const again = this.#connected++ > 0;
    this.#readyAt = performance.now();
    this.#error = CLOSED;
    this.#up = true;
    this.#flush();
    this.#opening?.resolve();
    this.#observer.up?.(again);
  }

  #disconnected(): void {
    this.#replies.overdueSince = undefined;
    if (this.#up && !this.#closing) this.#observer.down?.(this.#reason());
    this.#up = false;
  }

  #reason(): BusError {
    return toProviderError("reach Redis", this.#error, this.#replies.address);
  }

  async #connect(): Promise<void> {
    clearTimeout(this.#retry);
    this.#retry = undefined;
    try {
      const address = await this.#master.locate(this.#attempts);
      if (this.#closing) return;
      Object.assign(this.#redis.options, address);
      this.#redis.connect().catch(() => {}); // events report it too
    } catch (error) {
      this.#error = error;
      this.#scheduleConnect();
    }
  }

  /** Connects again, after a pause, when an attempt failed or the connection broke. */
  #scheduleConnect(): void {
    if (this.#closing) return;
    if (performance.now() - this.#readyAt > STABLE * this.#delay) this.#attempts = 0;
    this.#readyAt = Infinity;
    this.#attempts++;
    // open() tries each node of a Cluster once
    if (this.#connected > 0) {
      this.#observer.stillDown?.(this.#reason());
      this.#delay = retryDelay(this.#settings, this.#attempts);
    } else if (this.#attempts >= addresses(this.#settings).length) return this.#opening?.reject(this.#error);
    this.#retry = setTimeout(() => this.#connect(), this.#delay);
  }

  #scheduleCheck(wait: number): void {
    this.#checkAt = performance.now() + wait;
    this.#timer = setTimeout(() => this.#check(), wait);
  }

  /** Rejects overdue commands, and drops a connection on which no replies arrive any more. */
  #check(): void {
    const now = performance.now();
    // a busy thread first reads the replies that have arrived meanwhile
    this.#late = now - this.#checkAt > LATE && !this.#late;
    if (this.#late) return this.#scheduleCheck(LATE);
    const received = this.#redis.stream?.bytesRead ?? 0;
    let silent = false;
    while (this.#pending[0] && (this.#pending[0].pending === 0 || this.#pending[0].deadline <= now)) {
      const batch = this.#pending.shift()!;
      // if the batch waited for the connection, the server had less time
      const given = batch.sent ? now - batch.sent.at : 0;
      silent ||= batch.pending > 0 && batch.sent?.received === received && given > this.#timeout / 2;
      if (batch.pending > 0 && batch.sent) this.#replies.overdueSince ??= now;
      rejectBatch(batch, batch.sent ? noReply(this.#timeout) : noConnection(this.#error));
    }
    this.#unsent = this.#unsent.filter((batch) => batch.pending > 0);
    // after a corrupted length, bytes still arrive, but no replies
    silent ||= now - (this.#replies.overdueSince ?? now) > this.#timeout;
    const due = now >= this.#pingAt;
    if (due) this.#pingAt = now + Math.min(PING, this.#timeout);
    if (silent) {
      this.#error = noReply(this.#timeout);
      this.#redis.stream?.destroy();
    } else if (due && this.#up) this.#ping();
    this.#scheduleCheck(Math.max(1, Math.min(this.#pingAt, this.#pending[0]?.deadline ?? Infinity) - now));
  }

  /** Sends a PING, even on a busy connection. The reply shows whether replies still match commands. */
  #ping(): void {
    const nonce = String(++this.#pings);
    this.call(echo(nonce), "ping", nonce).catch(() => {});
    // a connection that has subscribed must not send INFO
    if (this.#observer.message || !this.#master.checksRole) return;
    this.call(info, "info", "replication").then((info) => this.#master.checkRole(info), () => {});
  }

  async #close(): Promise<void> {
    clearTimeout(this.#timer);
    clearTimeout(this.#retry);
    this.#master.remove(this);
    if (this.#up) {
      this.#flush(); // commands of this turn are sent before QUIT
      await within(QUIT, this.#callFirst(exactly("OK"), "quit")).catch(() => {});
    }
    this.#end();
  }

  #end(): void {
    clearTimeout(this.#timer);
    clearTimeout(this.#retry);
    this.#master.remove(this);
    this.#up = false;
    for (const batch of this.#pending.splice(0)) rejectBatch(batch, batch.sent ? outcomeUnknown() : new ClosedError());
    this.#unsent = [];
    this.#opening?.reject(new ClosedError());
    this.#redis.disconnect();
    this.#redis.stream?.destroy();
  }
}
