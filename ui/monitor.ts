/**
 * Samples a namespace while a page is open, and sends the changes.
 *
 * @module
 */
import { Buffer } from "node:buffer";
import { TextMap } from "../src/internal/text_map.ts";
import { textOf } from "../src/internal/thrown.ts";
import { pause } from "../src/internal/time.ts";
import type { Action, Change, Frame, Job, LeftOut, Report, Row, TableName, Tables, Totals } from "./protocol.ts";
import type { Send } from "./server.ts";
import type { Snapshot, Source } from "./source.ts";

/** The number of samples that a new viewer receives. */
const MOMENTS = 300;
/** The number of reports that a new viewer receives. */
const REPORTS = 200;
/** The largest number of reports in one interval. Further ones are only counted. */
const BURST = 20;
/** The largest number of characters of a report. A cause from the wire may have megabytes. */
const LONGEST = 1_000;
/** The number of jobs that a new viewer receives. */
const JOBS = 5;
/** Samples take at most one twentieth of the time, except waiting for buses, so a large namespace is sampled less often. */
const SHARE = 20;
/** The longest time between two samples, in milliseconds. */
const SLOWEST = 60_000;
/** Milliseconds that sampling continues after the last viewer has left, because that viewer may only be reloading the page. */
const LINGER = 5_000;
/** Milliseconds between two checks of the progress of a job. */
const PROGRESS = 250;
/** The largest number of bytes of a table. A message with all tables is smaller than what a slow viewer may leave unread. */
const TABLE = 2_097_152;
/** The number of queues in one sample whose new dead letters are reported with their cause. */
const CAUSES = 3;

const NAMES: readonly TableName[] = ["queues", "topics", "groups", "functions", "buses"];

/** Options of {@linkcode Monitor}. */
export interface MonitorOptions {
  readonly transport: string;
  readonly namespace: string;
  /** The least number of milliseconds between two samples. */
  readonly interval: number;
}

/** Watches a namespace for all viewers. */
export class Monitor implements AsyncDisposable {
  readonly #source: Source;
  readonly #options: MonitorOptions;
  readonly #viewers = new Set<Send>();
  readonly #closing = new AbortController();
  readonly #jobs = new Map<number, Job>();
  readonly #work = new Set<Promise<void>>();
  #tables = new Map<TableName, TextMap<string>>(NAMES.map((name) => [name, new TextMap()]));
  #latest: Snapshot | undefined;
  #shown = shown({ tables: EMPTY, unknown: [] });
  #history: Totals[] = [];
  #reports: Report[] = [];
  #reported = 0;
  #running: Promise<void> | undefined;
  #nextJob = 1;
  #fault = "";
  /** Whether the history misses samples before the next one. */
  #missing = false;

  constructor(source: Source, options: MonitorOptions) {
    this.#source = source;
    this.#options = options;
  }

  /** Adds a viewer. Returns a function that removes it. */
  watch(send: Send): () => void {
    const { transport, namespace, interval } = this.#options;
    send(JSON.stringify(
      {
        type: "hello",
        transport,
        namespace,
        interval,
        history: this.#history,
        ...this.#shown,
        reports: this.#reports,
        jobs: [...this.#jobs.values()],
      } satisfies Frame,
    ));
    this.#viewers.add(send);
    this.#running ??= this.#run().finally(() => this.#running = undefined);
    return () => void this.#viewers.delete(send);
  }

  /** Reports something to all viewers, at most {@linkcode BURST} times in an interval. The end of a long text is left out. */
  report(kind: Report["kind"], all: string, time: number = Date.now()): void {
    if (++this.#reported > BURST) return;
    const text = all.length > LONGEST ? `${all.slice(0, LONGEST)}…` : all;
    const report = { time, kind, text };
    this.#reports = [report, ...this.#reports].slice(0, REPORTS);
    this.#broadcast({ type: "report", report });
  }

  /** Starts a job, whose progress all viewers see. */
  start(action: Action): void {
    const work = this.#do(action).finally(() => this.#work.delete(work));
    this.#work.add(work);
  }

  /** Stops sampling. Resolves when the running jobs have ended. */
  async [Symbol.asyncDispose](): Promise<void> {
    this.#closing.abort();
    await Promise.all([this.#running, ...this.#work]);
  }

  #broadcast(frame: Frame): void {
    const text = JSON.stringify(frame);
    for (const send of this.#viewers) send(text);
  }

  async #run(): Promise<void> {
    const { signal } = this.#closing;
    let stop: (() => Promise<void>) | undefined;
    try {
      stop = await this.#source.count();
    } catch (error) {
      this.report("error", `Events are not counted: ${textOf(error)}`);
    }
    // the first rate would be that of the time without viewers
    let last = await this.#sample();
    let left: number | undefined;
    while (!signal.aborted) {
      const { interval } = this.#options;
      await pause(Math.min(SLOWEST, Math.max(interval, (SHARE - 1) * last.took)), signal);
      if (signal.aborted) break;
      if (this.#viewers.size > 0) left = undefined;
      else if (performance.now() - (left ??= performance.now()) > LINGER) break;
      last = await this.#sample(last);
    }
    await stop?.().catch(() => {});
  }

  /** Takes a sample and sends the changes. */
  async #sample(before?: { readonly at: number; readonly events: number }) {
    const start = performance.now();
    let snapshot: Snapshot | undefined;
    try {
      snapshot = await this.#source.snapshot();
      this.#fault = "";
    } catch (error) {
      const fault = textOf(error);
      if (fault !== this.#fault) this.report("error", `Cannot read the contents of the namespace: ${fault}`);
      this.#fault = fault;
    }
    const at = performance.now();
    if (!before || !snapshot) this.#missing = true;
    if (!snapshot) return { at, took: at - start, events: before?.events ?? 0 };
    const { events, tables, took } = snapshot;
    const seconds = before && (at - before.at) / 1_000;
    const sum = sums(tables, before && seconds ? Math.max(0, events - before.events) / seconds : 0);
    const totals: Totals = { ...sum, ...this.#missing && this.#history.length > 0 && { gap: true } };
    if (this.#latest) await this.#reportDead(this.#latest.tables, tables);
    this.#latest = snapshot;
    this.#shown = shown(snapshot);
    if (before) {
      this.#history = [...this.#history, totals].slice(-MOMENTS);
      this.#missing = false;
    }
    if (this.#reported > BURST) {
      const more = this.#reported - BURST;
      this.#reported = 0;
      this.report("error", `${more} more reports at this moment`);
    }
    this.#reported = 0;
    this.#broadcast({
      type: "sample",
      totals,
      changes: this.#changes(this.#shown.tables),
      leftOut: this.#shown.leftOut,
      unknown: this.#shown.unknown,
      took: Math.round(took),
    });
    // without the wait for the answers of buses, which costs nothing
    return { at, took: took + performance.now() - at, events };
  }

  #changes(tables: Tables): Partial<Record<TableName, Change>> {
    const changes: Partial<Record<TableName, Change>> = {};
    for (const name of NAMES) {
      const before = this.#tables.get(name)!;
      const now = new TextMap(tables[name].map((row: Row) => [row.id, JSON.stringify(row)]));
      const set = tables[name].filter((row: Row) => before.get(row.id) !== now.get(row.id));
      const removed = [...before.keys()].filter((id) => !now.has(id));
      if (set.length > 0 || removed.length > 0) changes[name] = { set, removed };
      this.#tables.set(name, now);
    }
    return changes;
  }

  async #reportDead(before: Tables, now: Tables): Promise<void> {
    const known = new TextMap(before.queues.map(({ name, dead = 0 }) => [name, dead]));
    const grown = now.queues.flatMap(({ name, dead = 0 }) => {
      const more = dead - (known.get(name) ?? 0);
      return more > 0 ? [{ name, dead, more }] : [];
    });
    const letters = await Promise.all(
      grown.slice(0, CAUSES).map(async ({ name, dead }) => {
        return await this.#source.lastLetter(name, dead).catch(() => undefined);
      }),
    );
    grown.forEach(({ name, more }, index) => {
      const { cause, time } = letters[index] ?? {};
      this.report("dead", `${name}: ${more} more${cause ? `, the last one: ${cause}` : ""}`, time);
    });
  }

  async #do(action: Action): Promise<void> {
    const id = this.#nextJob++;
    const title = titleOf(action);
    const show = (job: Pick<Job, "done" | "state" | "total" | "error">) => {
      const one = { id, title, ...job };
      this.#jobs.set(id, one);
      const ended = [...this.#jobs.values()].filter(({ state }) => state !== "running");
      for (const { id } of ended.slice(0, -JOBS)) this.#jobs.delete(id);
      this.#broadcast({ type: "job", job: one });
    };
    show({ done: 0, state: "running" });
    const ended = new AbortController();
    try {
      const total = await this.#source.size(action).catch(() => undefined);
      show({ done: 0, total, state: "running" });
      const following = total === undefined ? undefined : this.#follow(action, total, ended.signal, show);
      const done = await this.#source.act(action).finally(() => ended.abort());
      await following;
      show({ done: done ?? total ?? 0, total: done ?? total, state: "done" });
      this.report("action", `${title}: ${done ?? "done"}`);
    } catch (error) {
      show({ done: 0, state: "failed", error: textOf(error) });
      this.report("error", `${title}: ${textOf(error)}`);
    }
  }

  /** Shows the progress of an action by the number of items that are left. */
  async #follow(action: Action, total: number, signal: AbortSignal, show: (job: Omit<Job, "id" | "title">) => void) {
    let done = 0;
    while (!signal.aborted) {
      await pause(PROGRESS, signal);
      if (signal.aborted) return;
      const left = await this.#source.size(action).catch(() => undefined);
      if (signal.aborted || left === undefined || total - left <= done) continue;
      done = total - left;
      show({ done, total, state: "running" });
    }
  }
}

const EMPTY: Tables = { queues: [], topics: [], groups: [], functions: [], buses: [] };

/** Returns the part of a snapshot that viewers receive. */
function shown({ tables: all, unknown }: Pick<Snapshot, "tables" | "unknown">) {
  const tables: Tables = {
    queues: fitting(all.queues),
    topics: fitting(all.topics),
    groups: fitting(all.groups),
    functions: fitting(all.functions),
    buses: fitting(all.buses),
  };
  const leftOut = Object.fromEntries(NAMES.map((name) => [name, all[name].length - tables[name].length])) as LeftOut;
  return { tables, leftOut, unknown };
}

/** Returns as many rows as one table of a message may have. */
function fitting<R extends Row>(rows: readonly R[]): R[] {
  let left = TABLE;
  return rows.filter((row) => {
    const size = Buffer.byteLength(JSON.stringify(row)) + 1;
    const fits = size <= left;
    if (fits) left -= size;
    return fits;
  });
}

function sums({ queues }: Tables, events: number): Totals {
  const sum = (field: Exclude<keyof Totals, "time" | "events" | "gap">) =>
    queues.reduce((all, { [field]: value = 0 }) => all + value, 0);
  return {
    time: Math.round(Date.now() / 100) / 10,
    events: tenths(events),
    in: tenths(sum("in")),
    out: tenths(sum("out")),
    waiting: sum("waiting"),
    leased: sum("leased"),
    delayed: sum("delayed"),
    dead: sum("dead"),
  };
}

function tenths(value: number): number {
  return Math.round(value * 10) / 10;
}

function titleOf({ action, queue, key }: Action): string {
  if (action === "purge") return `Purge ${queue}`;
  const letters = key === undefined ? "dead letters" : "a dead letter";
  return `${action === "retry" ? "Retry" : "Purge"} ${letters} of ${queue}`;
}
