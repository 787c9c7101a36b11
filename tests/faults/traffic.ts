/** Continuous traffic of every style over a bus, with a tally of each message. */
import { Bus, type BusOptions, type Provider } from "../../mod.ts";
import { pause, until } from "../support/until.ts";
import { Holes } from "./holes.ts";
import { type Style, STYLES, Tally } from "./tally.ts";

/** Deadlines that are so short that a fault affects them. */
export const DEADLINES: BusOptions = { connectTimeout: 15_000, sendTimeout: 1_000, timeout: 4_000 };
/** Milliseconds after which an item of a dead holder comes back. */
const LEASE = 1_500;
/**
 * The same while no holder dies: longer than a pause of a busy machine, and short enough to wait for. What SQS hands to a poll that is broken
 * off comes back when they are over.
 */
const HELD = 5_000;

/** Returns the milliseconds of a lease. `once` is true if the fault kills and cuts nothing. */
export function leaseOf(once: boolean): number {
  return once ? HELD : LEASE;
}

/** Milliseconds after which a wait counts as a hang. It is far more than a busy machine needs. SQS hides what a lost reply contained for 20 s. */
export const HANG = 120_000;
/** Each process of a peer numbers its events from a multiple of this. */
export const PEER = 1_000_000;
/** Milliseconds between two messages of each style. */
const PACE: Record<Style, number> = { events: 8, get: 12, consume: 12, call: 12, "multi call": 40 };

/** Once a fault has met enough messages, one in so many is sent. */
const FAR = 8;

/** The error of a handler that throws on purpose. */
export class Flaw extends Error {}

/** The options of the traffic. */
export interface TrafficOptions {
  readonly provider: Provider;
  readonly namespace: string;
  /** Milliseconds between messages, as a multiple of the usual. Default 1. */
  readonly pace?: number;
  /** The messages of each style at this pace after {@linkcode Traffic.hurry}; then they become rare. Default: all. */
  readonly near?: number;
  /** Whether no item of `consume` may be handled twice. Default: false. */
  readonly once?: boolean;
}

/** One bus that sends, and two buses that handle. */
export class Traffic {
  readonly tallies: Readonly<Record<Style, Tally>> = {
    events: new Tally(),
    get: new Tally(),
    consume: new Tally(),
    call: new Tally(),
    "multi call": new Tally(),
  };
  /** The events of other processes, which are counted too. */
  readonly peers = new Tally();
  /** The gaps that the subscribed bus has reported. */
  gaps = 0;
  /** The number of handlers that will throw. */
  flaws = 0;
  /** Milliseconds that each handler takes. */
  slow = 0;
  readonly #once: boolean;
  /** The most recorded starts of one item that this process may not know of. */
  unheard = 0;
  /** Ends the gets that wait; new ones follow. */
  cancelGets = new AbortController();
  readonly sending: Bus;
  readonly serving: readonly [Bus, Bus];
  readonly provider: Provider;
  readonly #near: number;
  readonly #timers: ReturnType<typeof setInterval>[] = [];
  /** The ticks of each style's timer since the last {@linkcode hurry}. */
  readonly #ticks = new Map<Style, number>();
  readonly #acts: Record<Style, (n: number) => Promise<unknown>>;
  readonly #ended = new AbortController();
  readonly #executed = new Set<string>();
  readonly #holes = { events: new Holes(), peers: new Holes() };
  /** Item → the number of handler starts. */
  readonly #starts = new Map<number, number>();
  #last = -1;
  #marked = false;
  #loops: Promise<unknown>[] = [];

  private constructor(
    provider: Provider,
    sending: Bus,
    serving: readonly [Bus, Bus],
    near: number,
    once: boolean,
  ) {
    this.provider = provider;
    this.#once = once;
    this.#near = near;
    this.sending = sending;
    this.serving = serving;
    this.#acts = this.#prepare();
  }

  /** Opens the buses and starts to send. */
  static async start(
    { provider, namespace, pace = 1, near = Infinity, once = false }: TrafficOptions,
  ): Promise<Traffic> {
    const open = () => Bus.open(provider, { ...DEADLINES, namespace });
    const [sending, first, second] = await Promise.all([open(), open(), open()]);
    const traffic = new Traffic(provider, sending, [first, second], near, once);
    await traffic.#serve();
    traffic.#send(pace);
    return traffic;
  }

  get buses(): readonly Bus[] {
    return [this.sending, ...this.serving];
  }

  async #serve(): Promise<void> {
    const [bus] = this.serving;
    for (const each of this.buses) each.addEventListener("error", (event) => this.#error(event.error));
    const holes = this.#holes;
    bus.addEventListener("gap", (event) => {
      this.gaps++;
      const { topic } = event.detail;
      if (topic === "events" || topic === "peers") holes[topic].gap();
    });
    const { events, get } = this.tallies;
    await bus.subscribe<number>("events", async (n) => {
      if (n === MARK) return void (this.#marked = true);
      const fresh = events.see(n);
      if (this.provider.features.ordered) {
        if (!fresh) events.wrong.push(`${n} came again, after ${this.#last}`);
        else if (n < this.#last) events.late(n, this.#last);
        this.#last = Math.max(n, this.#last);
        holes.events.see(n);
      }
      if (this.slow > 0) await pause(this.slow);
    }).ready;
    await bus.subscribe<number>("peers", (n) => {
      this.peers.see(n);
      if (this.provider.features.ordered) holes.peers.see(n, Math.floor(n / PEER));
    }).ready;
    await this.expose();
    for (const [index, server] of this.serving.entries()) {
      await server.expose("all", (n: number) => this.#execute("multi call", n, index));
    }
    bus.queue<number>("jobs").consume((n, { attempt }) => this.handle(n, attempt), {
      concurrency: 4,
      lease: leaseOf(this.#once),
      backoff: 20,
    });
    const queue = bus.queue<number>("got");
    this.#loops.push((async () => {
      while (!this.#ended.signal.aborted) {
        const signal = AbortSignal.any([this.cancelGets.signal, this.#ended.signal]);
        const n = await queue.get({ signal }).catch(() => undefined);
        if (n !== undefined && !get.see(n) && this.#exact) get.wrong.push(`${n} was got twice`);
        if (this.slow > 0) await pause(this.slow);
      }
    })());
  }

  /** Lets the next messages come at the full pace, because a fault comes now. */
  hurry(): void {
    this.#ticks.clear();
  }

  /** Exposes the function of the single calls on both servers at the same time. */
  async expose(): Promise<void> {
    await Promise.all(this.serving.map((bus, i) => bus.expose("echo", (n: number) => this.#execute("call", n, i))));
  }

  /** Handles an item of the consumer. */
  async handle(n: number, attempt: number): Promise<void> {
    this.started(n, attempt);
    if (this.slow > 0) await pause(this.slow);
    if (this.flaws > 0) {
      this.flaws--;
      throw new Flaw("on purpose");
    }
    this.tallies.consume.see(n);
  }

  /** More items for the consumers than their handlers start at once. */
  burst(count: number): Promise<unknown> {
    const { consume } = this.tallies;
    return Promise.all(Array.from({ length: count }, () => consume.send(this.#acts.consume)));
  }

  /** Records the start of a handler, and the number of its attempt. */
  started(n: number, attempt: number): void {
    const { consume } = this.tallies;
    const starts = (this.#starts.get(n) ?? 0) + 1;
    this.#starts.set(n, starts);
    if (this.#starts.size > 20_000) this.#starts.delete(this.#starts.keys().next().value!);
    if (attempt > 1) consume.redelivered++;
    if (this.#once && starts > 1) consume.wrong.push(`${n} was handled ${starts} times`);
    if (attempt > starts + this.unheard && this.provider.features.exactAttempts) {
      consume.wrong.push(`${n} was attempt ${attempt} at its start number ${starts}`);
    }
  }

  async #execute(style: Style, n: number, server: number): Promise<number> {
    const id = style === "call" ? `${n}` : `${n} at ${server}`;
    const key = `${style} ${id}`;
    if (this.#executed.has(key)) this.tallies[style].wrong.push(`${id} was executed twice`);
    this.#executed.add(key);
    if (this.#executed.size > 20_000) this.#executed.delete(this.#executed.values().next().value!);
    if (this.slow > 0) await pause(this.slow);
    return 2 * n;
  }

  /** SQS may deliver an item twice, and reports it. */
  get #exact(): boolean {
    return this.provider.features.exactSize;
  }

  /** The functions that send the next message of each style. */
  #prepare(): Record<Style, (n: number) => Promise<unknown>> {
    const { sending, tallies } = this;
    const got = sending.queue<number>("got");
    const jobs = sending.queue<number>("jobs");
    const echo = sending.stub<(n: number) => number>("echo");
    const all = sending.stub<(n: number) => number>("all", { multi: true });
    const put = { timeout: 1_000 };
    return {
      events: (n) => sending.publish(n, "events"),
      get: (n) => got.put(n, put),
      consume: (n) => jobs.put(n, put),
      call: async (n) => this.#answered("call", n, await echo(n)),
      "multi call": async (n) => {
        const answers = await all(n);
        if (answers.length === 0) tallies["multi call"].wrong.push(`${n} found nobody`);
        const values = answers.flatMap((one) => one.status === "fulfilled" ? [one.value] : []);
        for (const value of values) if (value !== 2 * n) tallies["multi call"].wrong.push(`${n} gave ${value}`);
        const failed = answers.find((one) => one.status === "rejected");
        if (failed) throw (failed as PromiseRejectedResult).reason;
        this.#answered("multi call", n, values[0]);
      },
    };
  }

  #send(pace: number): void {
    for (const style of STYLES) {
      const send = () => {
        const ticks = this.#ticks.get(style) ?? 0;
        this.#ticks.set(style, ticks + 1);
        if (ticks < this.#near || ticks % FAR === 0) void this.tallies[style].send(this.#acts[style]);
      };
      this.#timers.push(setInterval(send, PACE[style] * pace));
    }
  }

  #answered(style: Style, n: number, value: unknown): void {
    if (value !== 2 * n) this.tallies[style].wrong.push(`${n} gave ${value}`);
    else if (!this.tallies[style].see(n)) this.tallies[style].wrong.push(`${n} was answered twice`);
  }

  #error(error: unknown): void {
    if (error instanceof Flaw || (error as { name?: string })?.name === "ProviderError") return;
    const { code } = error as { code?: string };
    if (code !== "timeout" && code !== "lease_lost" && code !== "worker_died" && code !== "closed") {
      this.faults.push(error);
    }
  }

  /** Returns the reported errors, except those of the transport and of handlers. */
  readonly faults: unknown[] = [];

  /**
   * Stops sending, checks that each style still works, and waits for every accepted message. Messages of the styles in `misses` may
   * be missing if a gap was reported.
   */
  async settle(misses: readonly Style[]): Promise<void> {
    for (const timer of this.#timers.splice(0)) clearInterval(timer);
    const tallies = [...Object.values(this.tallies), this.peers];
    await until("every promise is settled", () => tallies.every(({ pending }) => pending === 0), HANG).catch(() => {});
    await until("the buses are up", () => this.buses.every((bus) => bus.health().state === "up"), HANG);
    await until("an event comes through", async () => {
      await this.sending.publish(MARK, "events").catch(() => {});
      await pause(50);
      return this.#marked;
    }, HANG);
    for (const style of STYLES) {
      const tally = this.tallies[style];
      const done = () => tally.sent - tally.failures;
      const before = done();
      await until(`${style} continues`, async () => {
        await tally.send(this.#acts[style]);
        return done() > before;
      }, HANG);
    }
    const due = STYLES.filter((style) => !this.forgives(style, misses)).map((style) => this.tallies[style]);
    if (!this.forgives("events", misses)) due.push(this.peers);
    const come = () => due.every(({ missing }) => missing === 0);
    await until("all has come", come, HANG).catch(() => {}); // it is counted
    const { events, peers } = this.#holes;
    for (const n of [...events.without(this.tallies.events), ...peers.without(this.peers)]) {
      this.tallies.events.wrong.push(`${n} was missed, and no gap stood in its place`);
    }
    await until("the rest may come", () => tallies.every(({ missing }) => missing === 0), LEASE).catch(() => {});
  }

  /** Whether the missing messages of a style were reported by a gap. */
  forgives(style: Style, misses: readonly Style[]): boolean {
    return this.gaps > 0 && misses.includes(style);
  }

  /** Closes the buses. Returns false if one of them was cut off. */
  async close(): Promise<boolean> {
    for (const timer of this.#timers.splice(0)) clearInterval(timer);
    this.#ended.abort();
    await Promise.allSettled(["jobs", "got"].map((name) => this.sending.queue(name).free()));
    const reports = await Promise.all(this.buses.map((bus) => bus.close()));
    await Promise.all(this.#loops);
    return reports.every(({ clean }) => clean);
  }
}

/** The event that shows that events arrive again. */
const MARK = -1;
