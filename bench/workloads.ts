/** The workloads, and the metrics of a round. @module */
import type { Load } from "./load.ts";
import type { Runtime, Subject } from "./process.ts";
import type { Figures } from "./subject.ts";
import type { System } from "./systems.ts";

/** The amount of work in one round. */
export interface Size {
  readonly rounds: number;
  readonly events: number;
  readonly items: number;
  readonly jobs: number;
  readonly calls: number;
}

/** A system on a runtime, at work. */
export interface Bench {
  readonly system: System;
  readonly runtime: Runtime;
  /** A unique name, used for its topics and queues. */
  readonly id: string;
  readonly subject: Subject;
  /** The process of the other side: it subscribes, or serves. */
  readonly partner: Subject;
  readonly load: Load;
  /** Milliseconds of CPU that the server of the transport has used. */
  serverCpu(): number;
  readonly size: Size;
}

/** A workload: prepared once for each system, then run in rounds that alternate between them. */
export interface Workload {
  readonly name: string;
  /** Runs once, because it takes long and varies little. */
  readonly once?: boolean;
  prepare?(bench: Bench): Promise<unknown>;
  /** Runs one round. Resolves with its results by metric. */
  run(bench: Bench): Promise<Record<string, number>>;
}

/** A metric of a workload. The aims for it are in `aims.ts`. */
export interface Metric {
  readonly text: string;
  readonly unit: string;
  /** The system that the others are compared with. Default: the first one of the transport. */
  readonly peer?: string;
  /** More is better. */
  readonly rate: boolean;
}

/** Promises in flight of a publisher. */
const WINDOW = 500;
/** Putters and getters of a queue, each. */
const CONCURRENCY = 64;
/** Buses whose idling is measured. */
const BUSES = 10;
/** Milliseconds of that measurement. */
const IDLE = 1_000;
/** Handlers of a consumer at once. */
const HANDLERS = [1, 16, 64, 256];
/** Calls at once. */
const AT_ONCE = [64, 1_000];
/** Bytes of an event. */
export const BYTES = [100, 1_000, 10_000, 100_000, 1_000_000];
/** Processes that receive each event. */
export const PROCESSES = [1, 10, 25, 50];

/** All metrics, in the order of the report. */
export const METRICS: Readonly<Record<string, Metric>> = {
  ...Object.assign({}, ...HANDLERS.map(jobMetrics)),
  shared: { text: "jobs, four processes with 64 at once each", unit: "/s", peer: "BullMQ", rate: true },
  sharedCpu: { text: "CPU per job, the four processes", unit: "µs", peer: "BullMQ", rate: false },
  picked: { text: "put to the handler of a waiting consumer, p50", unit: "ms", peer: "BullMQ", rate: false },
  picked99: { text: "put to the handler of a waiting consumer, p99", unit: "ms", peer: "BullMQ", rate: false },
  p50: { text: "sequential call, p50", unit: "ms", peer: "Moleculer", rate: false },
  p99: { text: "sequential call, p99", unit: "ms", peer: "Moleculer", rate: false },
  ...Object.assign({}, ...AT_ONCE.map(callMetrics)),
  crossed: {
    text: "calls, eight callers with 8 at once each to eight servers",
    unit: "/s",
    peer: "Moleculer",
    rate: true,
  },
  crossedCaller: { text: "CPU per call, the eight callers", unit: "µs", peer: "Moleculer", rate: false },
  crossedServed: { text: "CPU per call, the eight servers", unit: "µs", peer: "Moleculer", rate: false },
  events: { text: "events, process to process", unit: "/s", rate: true },
  eventsCpu: { text: "CPU per received event, whole process", unit: "µs", rate: false },
  queued: { text: `queue put + get, ${CONCURRENCY} at once`, unit: "/s", rate: true },
  queuedCpu: { text: "CPU per put + get, whole process", unit: "µs", rate: false },
  received: { text: "received of a full load", unit: "/s", rate: true },
  receivedCpu: { text: "main thread's CPU per event of it", unit: "µs", rate: false },
  published: { text: "published events", unit: "/s", rate: true },
  publishedCpu: { text: "main thread's CPU per published event", unit: "µs", rate: false },
  looped: { text: "published and received in one process", unit: "/s", rate: true },
  loopedCpu: { text: "main thread's CPU per event of it", unit: "µs", rate: false },
  ...Object.fromEntries(BYTES.map((bytes) => [`bytes${bytes}`, rate(`events of ${bytes.toLocaleString("en")} bytes`)])),
  ...Object.fromEntries(PROCESSES.map((n) => [`processes${n}`, rate(`received by ${n} process${n > 1 ? "es" : ""}`)])),
  roundTrip: { text: "round trip of 100 bytes to a handler, p50", unit: "µs", peer: "bare Workers", rate: false },
  oneWay: { text: "events of 100 bytes", unit: "/s", peer: "C", rate: true },
  idleBus: { text: "CPU of an idle process with one", unit: "ms/s", rate: false },
  further: { text: "a further bus of a process: open, subscribe", unit: "ms", rate: false },
  further30: { text: "30 further buses at once: open, subscribe", unit: "ms", rate: false },
  furtherMemory: { text: "memory of a further bus", unit: "MB", rate: false },
  startup: { text: "process start to first subscription", unit: "ms", rate: false },
  opened: { text: "one more: open, subscribe", unit: "ms", rate: false },
  idleMemory: { text: "memory of one more", unit: "MB", rate: false },
  idleCpu: { text: "CPU of one more that idles", unit: "ms/s", rate: false },
};

function rate(text: string): Metric {
  return { text, unit: "/s", peer: "ioredis", rate: true };
}

function jobMetrics(concurrency: number): Record<string, Metric> {
  const name = `consumed${concurrency}`;
  const what = concurrency === 1 ? "one at a time" : `${concurrency} at once`;
  const peer = "BullMQ";
  return {
    [name]: { text: `jobs, ${what}`, unit: "/s", peer, rate: true },
    [`${name}Cpu`]: { text: `CPU per job, whole process, ${what}`, unit: "µs", peer, rate: false },
    [`${name}Server`]: { text: `CPU per job, server, ${what}`, unit: "µs", peer, rate: false },
  };
}

function callMetrics(concurrency: number): Record<string, Metric> {
  const name = `called${concurrency}`;
  const what = `${concurrency.toLocaleString("en")} at once`;
  const peer = "Moleculer";
  return {
    [name]: { text: `calls, ${what}`, unit: "/s", peer, rate: true },
    [`${name}Caller`]: { text: `CPU per call, caller, ${what}`, unit: "µs", peer, rate: false },
    [`${name}Served`]: { text: `CPU per call, other side, ${what}`, unit: "µs", peer, rate: false },
    [`${name}Server`]: { text: `CPU per call, server, ${what}`, unit: "µs", peer, rate: false },
  };
}

const events: Workload = {
  name: "events",
  prepare: ({ id, partner }) => partner.do({ verb: "subscribe", topics: [`events:${id}`] }),
  run: async ({ system, id, subject, partner, size }) => {
    const count = size.events * system.share;
    await partner.do({ verb: "expect", count });
    const received = partner.do({ verb: "received" });
    await subject.do({ verb: "published", count, topic: `events:${id}`, window: WINDOW });
    const { ms, all } = await received;
    return { events: count / ms * 1_000, eventsCpu: all / count * 1_000 };
  },
};

const queued: Workload = {
  name: "queued",
  run: async ({ system, subject, size }) => {
    const items = size.items * system.share;
    const count = items - items % CONCURRENCY;
    const { ms, all } = await subject.do({ verb: "queued", count, concurrency: CONCURRENCY });
    return { queued: count / ms * 1_000, queuedCpu: all / count * 1_000 };
  },
};

const called: Workload = {
  name: "called",
  prepare: ({ partner }) => partner.do({ verb: "serve" }),
  run: async ({ system, subject, size }) => {
    const { latencies } = await subject.do({
      verb: "called",
      count: Math.ceil(size.calls * Math.sqrt(system.share)),
      concurrency: 1,
    });
    const sorted = latencies!.sort((a, b) => a - b);
    return { p50: percentile(sorted, 0.5), p99: percentile(sorted, 0.99) };
  },
};

function consumed(concurrency: number): Workload {
  const name = `consumed${concurrency}`;
  return {
    name,
    run: async ({ system, subject, size, serverCpu }) => {
      const count = Math.ceil(size.jobs * (concurrency === 1 ? 0.25 : 1) * Math.max(0.5, system.share));
      await subject.do({ verb: "fill", count });
      const before = serverCpu();
      const { ms, all } = await subject.do({ verb: "consumed", count, concurrency });
      const server = serverCpu() - before;
      return {
        [name]: count / ms * 1_000,
        [`${name}Cpu`]: all / count * 1_000,
        [`${name}Server`]: server / count * 1_000,
      };
    },
  };
}

const picked: Workload = {
  name: "picked",
  run: async ({ subject, size }) => {
    const { latencies } = await subject.do({ verb: "picked", count: size.calls / 4 });
    const sorted = latencies!.sort((a, b) => a - b);
    return { picked: percentile(sorted, 0.5), picked99: percentile(sorted, 0.99) };
  },
};

function atOnce(concurrency: number): Workload {
  const name = `called${concurrency}`;
  return {
    name,
    prepare: called.prepare,
    run: async ({ system, subject, partner, size, serverCpu }) => {
      const count = Math.ceil(size.jobs * Math.max(0.5, system.share) / concurrency) * concurrency;
      const before = [serverCpu(), (await partner.do({ verb: "cpu" })).all] as const;
      const { ms, all } = await subject.do({ verb: "called", count, concurrency });
      const [server, served] = [serverCpu() - before[0], (await partner.do({ verb: "cpu" })).all - before[1]];
      return {
        [name]: count / ms * 1_000,
        [`${name}Caller`]: all / count * 1_000,
        [`${name}Served`]: served / count * 1_000,
        [`${name}Server`]: server / count * 1_000,
      };
    },
  };
}

const received: Workload = {
  name: "received",
  prepare: ({ id, subject }) => subject.do({ verb: "subscribe", topics: [`loaded:${id}`] }),
  run: ({ id, subject, load, size }) => loaded("received", subject, load, [`loaded:${id}`], size.events),
};

/** Measures how a subject receives a load that is never the limit. */
export async function loaded(
  name: string,
  subject: Subject,
  load: Load,
  topics: readonly string[],
  count: number,
): Promise<Record<string, number>> {
  await subject.do({ verb: "expect", count });
  const published = load.publish(topics, count);
  const figures = await subject.do({ verb: "received" });
  await published;
  return perEvent(name, figures, count);
}

const published: Workload = {
  name: "published",
  run: async ({ id, subject, size }) => {
    const count = size.events / 2;
    const figures = await subject.do({ verb: "published", count, topic: `nobody:${id}`, window: WINDOW });
    return perEvent("published", figures, count);
  },
};

const looped: Workload = {
  name: "looped",
  prepare: ({ id, subject }) => subject.do({ verb: "subscribe", topics: [`looped:${id}`] }),
  run: async ({ id, subject, size }) => {
    const count = size.events / 2;
    const figures = await subject.do({ verb: "looped", count, topic: `looped:${id}`, window: WINDOW });
    return perEvent("looped", figures, count);
  },
};

const opened: Workload = {
  name: "opened",
  run: async ({ subject }) => ({ opened: (await subject.do({ verb: "opened" })).ms }),
};

const idle: Workload = {
  name: "idle",
  once: true,
  run: async ({ subject }) => {
    const { ms, all, rss } = await subject.do({ verb: "idle", count: BUSES, ms: IDLE });
    return { idleMemory: rss! / BUSES / 1e6, idleCpu: all / BUSES / ms * 1_000 };
  },
};

/** All workloads. */
export const WORKLOADS: readonly Workload[] = [
  events,
  ...HANDLERS.map(consumed),
  picked,
  queued, // the worker that BullMQ needs for it continues, and would take the items of the consumers above
  called,
  ...AT_ONCE.map(atOnce),
  received,
  published,
  looped,
  opened,
  idle,
];

/** The value below which that share of the sorted values lies. */
function percentile(sorted: readonly number[], share: number): number {
  return sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * share))] ?? NaN;
}

function perEvent(name: string, { ms, cpu }: Figures, count: number): Record<string, number> {
  return { [name]: count / ms * 1_000, [`${name}Cpu`]: cpu / count * 1_000 };
}
