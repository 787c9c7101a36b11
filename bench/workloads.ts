/** What is measured, and what a round of it gives. @module */
import type { Load } from "./load.ts";
import type { Subject } from "./process.ts";
import type { Figures } from "./subject.ts";

/** How much work a round does. */
export interface Size {
  readonly rounds: number;
  readonly events: number;
  readonly items: number;
  readonly calls: number;
}

/** One side of one comparison. */
export interface Bench {
  readonly side: string;
  readonly subject: Subject;
  readonly load: Load;
  readonly size: Size;
}

/** A workload: prepared once for each side, then run in alternating rounds. */
export interface Workload {
  readonly name: string;
  prepare?(bench: Bench): Promise<unknown>;
  /** One round; by metric what it gave. */
  run(bench: Bench): Promise<Record<string, number>>;
}

/** What a metric is, and what we want it to be. */
export interface Metric {
  readonly text: string;
  readonly unit: string;
  /** The ratio to raw that we aim at: at least for rates, at most for the rest. */
  readonly aim?: number;
  readonly rate: boolean;
}

/** Promises in flight of a publisher. */
const WINDOW = 500;
/** Putters and getters of a queue, each. */
const CONCURRENCY = 64;

/** Topics of the comparison of few and many. */
const FEW = 10;
const MANY = 10_000;

/** All metrics, in the order of the report. */
export const METRICS: Readonly<Record<string, Metric>> = {
  received: { text: "received events", unit: "/s", aim: 0.85, rate: true },
  receivedCpu: { text: "main CPU per received event", unit: "µs", aim: 0.35, rate: false },
  few: { text: `received events, ${FEW} topics`, unit: "/s", rate: true },
  fewCpu: { text: `main CPU per event, ${FEW} topics`, unit: "µs", rate: false },
  many: { text: `received events, ${MANY} topics`, unit: "/s", rate: true },
  manyCpu: { text: `main CPU per event, ${MANY} topics`, unit: "µs", rate: false },
  published: { text: "published events", unit: "/s", aim: 0.9, rate: true },
  publishedCpu: { text: "main CPU per published event", unit: "µs", rate: false },
  looped: { text: "published and received in one process", unit: "/s", rate: true },
  loopedCpu: { text: "main CPU per event of that", unit: "µs", rate: false },
  queued: { text: `queue put + get, ${CONCURRENCY} at once`, unit: "/s", aim: 0.8, rate: true },
  queuedCpu: { text: "main CPU per put + get", unit: "µs", rate: false },
  p50: { text: "sequential call, p50", unit: "ms", aim: 1.5, rate: false },
  p99: { text: "sequential call, p99", unit: "ms", rate: false },
  startup: { text: "process start to first subscription", unit: "ms", rate: false },
  opened: { text: "open, subscribe (warm)", unit: "ms", rate: false },
};

const topicsOf = (side: string, count: number) => Array.from({ length: count }, (_, i) => `${side}:${count}:${i}`);

function received(name: string, count: number): Workload {
  return {
    name,
    prepare: ({ side, subject }) => subject.do({ verb: "subscribe", topics: topicsOf(side, count) }),
    run: async ({ side, subject, load, size }) => {
      await subject.do({ verb: "expect", count: size.events });
      const loaded = load.publish(topicsOf(side, count), size.events);
      const figures = await subject.do({ verb: "received" });
      return { ...perEvent(name, figures, size.events), [`${name}Load`]: await loaded };
    },
  };
}

const published: Workload = {
  name: "published",
  run: async ({ side, subject, size }) => {
    const count = size.events / 2;
    const topic = `${side}:nobody`;
    return perEvent("published", await subject.do({ verb: "published", count, topic, window: WINDOW }), count);
  },
};

const looped: Workload = {
  name: "looped",
  prepare: ({ side, subject }) => subject.do({ verb: "subscribe", topics: [`${side}:looped`] }),
  run: async ({ side, subject, size }) => {
    const count = size.events / 2;
    const topic = `${side}:looped`;
    return perEvent("looped", await subject.do({ verb: "looped", count, topic, window: WINDOW }), count);
  },
};

const queued: Workload = {
  name: "queued",
  run: async ({ subject, size }) => {
    const count = size.items - size.items % CONCURRENCY;
    return perEvent("queued", await subject.do({ verb: "queued", count, concurrency: CONCURRENCY }), count);
  },
};

/** `server`: the process that serves, by side. */
function called(serverOf: (side: string) => Subject | undefined): Workload {
  return {
    name: "called",
    prepare: ({ side, subject }) => (serverOf(side) ?? subject).do({ verb: "serve" }),
    run: async ({ subject, size }) => {
      const { latencies } = await subject.do({ verb: "called", count: size.calls });
      const sorted = latencies!.sort((a, b) => a - b);
      return { p50: percentile(sorted, 0.5), p99: percentile(sorted, 0.99) };
    },
  };
}

const opened: Workload = {
  name: "opened",
  run: async ({ subject }) => ({ opened: (await subject.do({ verb: "opened" })).ms }),
};

/** What is measured between processes. */
export function betweenProcesses(serverOf: (side: string) => Subject | undefined): Workload[] {
  return [
    ...[received("received", 1), received("few", FEW), received("many", MANY)],
    ...[published, looped, queued, called(serverOf), opened],
  ];
}

/** What is measured inside of one. */
export function insideProcess(): Workload[] {
  return [looped, queued, called(() => undefined), opened];
}

/** The value below which that share of the sorted values lies. */
export function percentile(sorted: readonly number[], share: number): number {
  return sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * share))] ?? NaN;
}

function perEvent(name: string, { ms, cpu }: Figures, count: number): Record<string, number> {
  return { [name]: count / ms * 1_000, [`${name}Cpu`]: cpu / count * 1_000 };
}
