/** Measures how the bus over Redis and bare ioredis scale with topics, bytes and processes. @module */
import type { Load } from "./load.ts";
import { type Runtime, startSubject, type Subject } from "./process.ts";
import { loaded } from "./workloads.ts";

/** The growing quantities: topics with events on each, topics with events on ten of them, bytes of an event, processes. */
export const CURVES = ["topics", "subscribed", "bytes", "processes"] as const;
/** One of them. */
export type Curve = (typeof CURVES)[number];

/** One point of a curve. */
export interface Point {
  readonly curve: Curve;
  readonly x: number;
  readonly system: string;
  /** Events delivered a second, over all processes. */
  readonly rate: number;
}

const TOPICS = [1, 10, 100, 1_000, 10_000];
const BYTES = [100, 1_000, 10_000, 100_000, 1_000_000];
const PROCESSES = [1, 10, 25, 50];
/** Deliveries of a point. */
const DELIVERIES = 50_000;
/** Bytes of a point. */
const VOLUME = 60e6;
/** The number of rounds. Only the last one counts, the others warm up. */
const RUNS = 2;

/** Measures all curves on a runtime. */
export async function scale(runtime: Runtime, url: string, load: Load): Promise<Point[]> {
  const points: Point[] = [];
  for (const [system, side] of [["ioredis", "ioredis"], ["tsmq", "tsmq"]] as const) {
    const start = () => startSubject(runtime, side, "redis", url);
    const add = (curve: Curve, x: number, rate: number) => points.push({ curve, x, system, rate });
    const [subject, partner] = await Promise.all([start(), start()]);
    try {
      const ten = Array.from({ length: 10 }, (_, i) => `ten:${side}:${i}`);
      await subject.do({ verb: "subscribe", topics: ten });
      for (const count of TOPICS) {
        const topics = Array.from({ length: count }, (_, i) => `scale:${side}:${count}:${i}`);
        await subject.do({ verb: "subscribe", topics });
        for (const [curve, used] of [["topics", topics], ["subscribed", ten]] as const) {
          add(curve, count, await last(async () => (await loaded("x", subject, load, used, DELIVERIES)).x!));
        }
      }
      await partner.do({ verb: "subscribe", topics: [`bytes:${side}`] });
      for (const bytes of BYTES) {
        add("bytes", bytes, await last(() => sized(subject, partner, `bytes:${side}`, bytes)));
      }
    } finally {
      await Promise.all([subject.stop(), partner.stop()]);
    }
    await fanOut(start, side, (count, rate) => add("processes", count, rate));
  }
  return points;
}

async function last(run: () => Promise<number>): Promise<number> {
  let value = NaN;
  for (let i = 0; i < RUNS; i++) value = await run();
  return value;
}

async function sized(from: Subject, to: Subject, topic: string, bytes: number): Promise<number> {
  const count = Math.min(DELIVERIES / 2, Math.max(20, Math.round(VOLUME / bytes)));
  await to.do({ verb: "expect", count });
  const received = to.do({ verb: "received" });
  await from.do({ verb: "published", count, topic, window: Math.min(500, Math.ceil(4e6 / bytes)), bytes });
  return count / (await received).ms * 1_000;
}

/** One publishes, 1 to 50 processes get each event. */
async function fanOut(
  start: () => Promise<Subject>,
  side: string,
  add: (count: number, rate: number) => void,
): Promise<void> {
  const most = Math.max(...PROCESSES);
  const publisher = await start();
  const subjects: Subject[] = [];
  try {
    while (subjects.length < most) {
      subjects.push(...await Promise.all(Array.from({ length: Math.min(5, most - subjects.length) }, start)));
    }
    for (const count of PROCESSES) {
      const topic = `processes:${side}:${count}`;
      const some = subjects.slice(0, count);
      await Promise.all(some.map((subject) => subject.do({ verb: "subscribe", topics: [topic] })));
      add(
        count,
        await last(async () => {
          const each = DELIVERIES / count;
          await Promise.all(some.map((subject) => subject.do({ verb: "expect", count: each })));
          const begin = performance.now();
          const received = Promise.all(some.map((subject) => subject.do({ verb: "received" })));
          await publisher.do({ verb: "published", count: each, topic, window: 500 });
          await received;
          return DELIVERIES / (performance.now() - begin) * 1_000;
        }),
      );
    }
  } finally {
    await Promise.all([publisher, ...subjects].map((subject) => subject.stop()));
  }
}
