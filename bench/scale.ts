/** Measures how the bus over Redis and bare ioredis scale with topics, bytes and processes. @module */
import type { Load } from "./load.ts";
import { type Runtime, startSubject, type Subject } from "./process.ts";
import type { Samples } from "./report.ts";
import { BYTES, loaded, PROCESSES } from "./workloads.ts";

/** The quantity that grows along each curve: topics that all have events, or subscribed topics of which ten have events. */
export const CURVES = ["topics", "subscribed"] as const;
/** One of them. */
export type Curve = (typeof CURVES)[number];

/** One point of a curve. */
export interface Point {
  readonly curve: Curve;
  readonly x: number;
  readonly system: string;
  /** Events delivered a second. */
  readonly rate: number;
}

const TOPICS = [1, 10, 100, 1_000, 10_000];
/** Deliveries of a point. */
const DELIVERIES = 50_000;
/** Bytes of a point. */
const VOLUME = 40e6;
/** The number of rounds of a curve. Only the last one counts; the others warm up. */
const RUNS = 2;

const SYSTEMS = ["ioredis", "tsmq"] as const;
type System = (typeof SYSTEMS)[number];

/** Measures both curves on a runtime. */
export async function curves(runtime: Runtime, url: string, load: Load): Promise<Point[]> {
  const points: Point[] = [];
  for (const system of SYSTEMS) {
    const subject = await startSubject(runtime, system, "redis", url);
    const last = async (topics: readonly string[]) => {
      let value = NaN;
      for (let i = 0; i < RUNS; i++) value = (await loaded("x", subject, load, topics, DELIVERIES)).x!;
      return value;
    };
    try {
      const ten = Array.from({ length: 10 }, (_, i) => `ten:${system}:${i}`);
      await subject.do({ verb: "subscribe", topics: ten });
      for (const x of TOPICS) {
        const topics = Array.from({ length: x }, (_, i) => `scale:${system}:${x}:${i}`);
        await subject.do({ verb: "subscribe", topics });
        points.push({ curve: "topics", x, system, rate: await last(topics) });
        points.push({ curve: "subscribed", x, system, rate: await last(ten) });
      }
    } finally {
      await subject.stop();
    }
  }
  return points;
}

/** Measures events of growing size, and events to a growing number of processes, in rounds that alternate between the systems. */
export async function grow(runtime: Runtime, url: string, rounds: number, samples: Samples): Promise<void> {
  const start = (system: System) => startSubject(runtime, system, "redis", url);
  const add = (metric: string, system: System, value: number) =>
    samples.add(metric, { group: "redis", system, runtime }, value);
  /** Runs a round for each system, after one that only warms up. */
  const alternate = async (metric: string, run: (system: System) => Promise<number>) => {
    for (let round = 0; round <= rounds; round++) {
      for (const system of round % 2 === 0 ? SYSTEMS : SYSTEMS.toReversed()) {
        const value = await run(system);
        if (round > 0) add(metric, system, value);
      }
    }
  };
  const subjects: Record<System, Subject[]> = { ioredis: [], tsmq: [] };
  try {
    for (const system of SYSTEMS) subjects[system].push(await start(system), await start(system));
    for (const bytes of BYTES) {
      for (const system of SYSTEMS) {
        await subjects[system][1]!.do({ verb: "subscribe", topics: [`bytes:${system}:${bytes}`] });
      }
      await alternate(`bytes${bytes}`, (system) => {
        const [from, to] = subjects[system] as [Subject, Subject];
        return sized(from, to, `bytes:${system}:${bytes}`, bytes);
      });
    }
    for (const count of PROCESSES) {
      for (const system of SYSTEMS) {
        while (subjects[system].length <= count) {
          const missing = Math.min(5, count + 1 - subjects[system].length);
          subjects[system].push(...await Promise.all(Array.from({ length: missing }, () => start(system))));
        }
        const topics = [`processes:${system}:${count}`];
        await Promise.all(subjects[system].slice(1, count + 1).map((one) => one.do({ verb: "subscribe", topics })));
      }
      await alternate(`processes${count}`, (system) => fanOut(subjects[system], `processes:${system}:${count}`, count));
    }
  } finally {
    await Promise.all(Object.values(subjects).flat().map((subject) => subject.stop()));
  }
}

async function sized(from: Subject, to: Subject, topic: string, bytes: number): Promise<number> {
  const count = Math.min(DELIVERIES / 2, Math.max(20, Math.round(VOLUME / bytes)));
  await to.do({ verb: "expect", count });
  const received = to.do({ verb: "received" });
  await from.do({ verb: "published", count, topic, window: Math.min(500, Math.ceil(4e6 / bytes)), bytes });
  return count / (await received).ms * 1_000;
}

/** The first subject publishes, the next ones get each event. */
async function fanOut([publisher, ...others]: readonly Subject[], topic: string, count: number): Promise<number> {
  const some = others.slice(0, count);
  const each = DELIVERIES / count;
  await Promise.all(some.map((subject) => subject.do({ verb: "expect", count: each })));
  const begin = performance.now();
  const received = Promise.all(some.map((subject) => subject.do({ verb: "received" })));
  await publisher!.do({ verb: "published", count: each, topic, window: 500 });
  await received;
  return DELIVERIES / (performance.now() - begin) * 1_000;
}
