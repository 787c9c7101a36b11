/**
 * The environment of a case: buses in its own namespace, waits with a deadline, and cleanup.
 *
 * @module
 */
import { Bus } from "../bus.ts";
import type { BusErrorEvent } from "../events.ts";
import type { BusOptions } from "../options.ts";
import type { Features, Provider } from "../provider/provider.ts";
import type { Queue } from "../queue/queue.ts";
import { ConformanceError, ok, show } from "./assert.ts";
import type { Faults, Harness } from "./harness.ts";
import { Collector } from "./collector.ts";
import { RawClient } from "./raw_client.ts";

/** Milliseconds between two checks of a condition. */
const POLL = 5;
/** Milliseconds for which a case checks that nothing happens, in addition to the provider's latency. */
const QUIET = 40;
/** Milliseconds for the cleanup after a case. */
export const CLEARING = 30_000;
/** Milliseconds for a bus to open. Thirty workers that load an SDK at the same time are slow, and only a hang is a failure. */
export const OPENING = 60_000;

/** The environment of one case. */
export class CaseContext {
  /** A random namespace. */
  readonly namespace: string = `kit-${crypto.randomUUID().slice(0, 8)}`;
  /** The provider. */
  readonly provider: Provider;
  /** The provider's features. */
  readonly features: Features;
  readonly #harness: Harness;
  readonly #buses = new Map<Bus, Collector<BusErrorEvent>>();
  readonly #expected = new Set<Bus>();
  readonly #queues = new Set<string>();
  readonly #collectors = new Set<{ end(): void }>();
  readonly #cleanups: (() => unknown)[] = [];
  #condition = "";
  #over = false;

  /** Creates an environment without buses. */
  constructor(harness: Harness) {
    this.#harness = harness;
    this.provider = harness.provider();
    this.features = this.provider.features;
  }

  /** The faults that the harness can cause. Use it only in cases that are skipped without faults. */
  get faults(): Faults {
    ok(this.#harness.faults !== undefined, "the harness has no faults");
    return this.#harness.faults;
  }

  /** Opens a bus in the case's namespace. An error that it reports fails the case, unless the case asks for `errors`. */
  async open(options: BusOptions = {}, provider: Provider = this.#harness.provider()): Promise<Bus> {
    const bus = await Bus.open(provider, {
      namespace: this.namespace,
      connectTimeout: OPENING,
      ...this.#harness.options,
      ...options,
    });
    this.adopt(bus);
    return bus;
  }

  /** Adds a bus that the case opened itself, to close it after the case. */
  adopt(bus: Bus): void {
    const errors = this.collect<BusErrorEvent>("the reported errors");
    bus.addEventListener("error", (event) => errors.add(event));
    this.#buses.set(bus, errors);
  }

  /** Opens several buses. */
  buses(count: number, options?: BusOptions): Promise<Bus[]> {
    return Promise.all(Array.from({ length: count }, () => this.open(options)));
  }

  /** Returns the errors that a bus reports, which the case expects. */
  errors(bus: Bus): Collector<BusErrorEvent> {
    this.#expected.add(bus);
    return this.#buses.get(bus)!;
  }

  /** Returns a queue, which is freed after the case together with its dead letters. */
  queue<T = unknown>(bus: Bus, name: string): Queue<T> {
    this.frees(name, `${name}.dead`);
    return bus.queue<T>(name);
  }

  /** Registers queues to free after the case. */
  frees(...names: string[]): void {
    for (const name of names) this.#queues.add(name);
  }

  /** Opens another client of the same transport, which sends raw bodies. */
  async rawClient(namespace: string = this.namespace): Promise<RawClient> {
    const client = await RawClient.open(this.#harness.provider(), namespace);
    this.after(() => client.close());
    return client;
  }

  /** Creates a collector whose `add` can be passed as a handler. */
  collect<T>(what = "the handled values"): Collector<T> {
    const collector = new Collector<T>(what);
    this.#collectors.add(collector);
    return collector;
  }

  /** Creates a gate that a handler waits for. It opens at the end of the case at the latest. */
  gate(): { readonly passed: Promise<void>; open(): void } {
    const { promise, resolve } = Promise.withResolvers<void>();
    this.after(resolve);
    return { passed: promise, open: resolve };
  }

  /** Waits until the condition holds. */
  async until(condition: () => boolean | Promise<boolean>, what: string): Promise<void> {
    this.#condition = what;
    while (!(await condition())) {
      if (this.#over) throw new ConformanceError(`the condition never held: ${what}`);
      await this.pause(POLL);
    }
    this.#condition = "";
  }

  /** Waits until everything that was sent must be visible to all buses. */
  settle(): Promise<void> {
    return this.pause(this.features.latency);
  }

  /** Waits long enough to see that something does not happen. */
  quiet(): Promise<void> {
    return this.pause(2 * this.features.latency + QUIET);
  }

  /** Waits for `ms` milliseconds. Only cases about the passing of time itself use it. */
  pause(ms: number): Promise<void> {
    return new Promise((resolve) => setTimeout(resolve, ms));
  }

  /** Registers a cleanup for the end of the case. Cleanups run in reverse order. */
  after(cleanup: () => unknown): void {
    this.#cleanups.push(cleanup);
  }

  /** Runs a case until its end or its deadline, then the cleanups. */
  async run(body: (context: CaseContext) => Promise<void>, deadline: number): Promise<void> {
    let timer: ReturnType<typeof setTimeout> | undefined;
    const over = new Promise<never>((_, reject) => {
      timer = setTimeout(() => {
        this.#over = true;
        for (const collector of this.#collectors) collector.end();
        const doing = this.#condition ? `, waiting until ${this.#condition}` : "";
        // a collector's own message is more precise, so it rejects first
        setTimeout(() => reject(new ConformanceError(`the case did not end within ${deadline} ms${doing}`)), 4 * POLL);
      }, deadline);
    });
    try {
      await Promise.race([body(this), over]);
      this.#judge();
    } catch (error) {
      await this.#clear().catch(() => {}); // the case's own failure has the better message
      throw error;
    } finally {
      clearTimeout(timer);
    }
    await this.#clear();
  }

  #judge(): void {
    for (const [bus, errors] of this.#buses) {
      const [first] = errors.values;
      if (!first || this.#expected.has(bus)) continue;
      throw new ConformanceError(`a bus reported an error on "${first.topic}": ${show(first.error)}`, {
        cause: first.error,
      });
    }
  }

  async #clear(): Promise<void> {
    for (const cleanup of this.#cleanups.reverse()) await cleanup();
    if (this.#queues.size > 0) {
      const up = [...this.#buses.keys()].find((bus) => bus.namespace === this.namespace && bus.health().state === "up");
      const bus = up ?? await this.open();
      await Promise.all([...this.#queues].map((name) => bus.queue(name).free()));
    }
    // a bus that the case closed may have had less time than it needed, so its report is not judged
    const open = [...this.#buses.keys()].filter((bus) => bus.health().state !== "closed");
    const reports = await Promise.all(open.map((bus) => bus.close({ timeout: CLEARING })));
    ok(reports.every((report) => report.clean), "a bus had to be cut off from its transport when it was closed");
  }
}
