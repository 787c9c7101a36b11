/** Measures many processes over Redis: four that share the jobs of one queue, and eight callers to eight servers. @module */
import { type Runtime, startSubject, type Subject } from "./process.ts";
import { Samples, type Source } from "./report.ts";

/** Processes with a consumer, and the handlers of each. */
const CONSUMERS = 4;
const HANDLERS = 64;
/** Callers, servers of one function, and the calls at once of each caller. */
const CALLERS = 8;
const AT_ONCE = 8;
/** Milliseconds between two checks of the consumers. */
const LOOK = 20;

/** The systems and their share of the work. */
const JOBS = [["tsmq", "tsmq", 1], ["BullMQ", "bullmq", 0.25]] as const;
const CALLS = [["tsmq", "tsmq", 1], ["Moleculer", "moleculer", 0.5]] as const;

interface Size {
  readonly rounds: number;
  readonly jobs: number;
}

/** Measures both workloads on a runtime. */
export async function fleets(runtime: Runtime, url: string, size: Size, samples: Samples): Promise<void> {
  const queue = `${url}?queue=${crypto.randomUUID()}`;
  await alternating(JOBS, size.rounds, async ([system, side, share]) => {
    const start = () => startSubject(runtime, side, "redis", side === "bullmq" ? queue : url);
    const consumers = await Promise.all(Array.from({ length: CONSUMERS }, start));
    const count = Math.ceil(size.jobs * 2 * share);
    const run = (keep: boolean) =>
      shared(consumers, count, { group: "redis", system, runtime }, keep ? samples : new Samples());
    return { run, subjects: consumers };
  });
  await alternating(CALLS, size.rounds, async ([system, side, share]) => {
    const start = () => startSubject(runtime, side, "redis", url);
    const servers = await Promise.all(Array.from({ length: CALLERS }, start));
    await Promise.all(servers.map((server) => server.do({ verb: "serve" })));
    const callers = await Promise.all(Array.from({ length: CALLERS }, start));
    const count = Math.ceil(size.jobs * share / AT_ONCE / 2) * AT_ONCE;
    const run = (keep: boolean) =>
      crossed(callers, servers, count, { group: "redis", system, runtime }, keep ? samples : new Samples());
    return { run, subjects: [...callers, ...servers] };
  });
}

interface Fleet {
  readonly subjects: readonly Subject[];
  run(keep: boolean): Promise<void>;
}

/** Starts all systems, then runs rounds that alternate between them, after one that only warms up. */
async function alternating<T>(
  systems: readonly T[],
  rounds: number,
  start: (system: T) => Promise<Fleet>,
): Promise<void> {
  const fleets: Fleet[] = [];
  try {
    for (const system of systems) fleets.push(await start(system));
    for (let round = 0; round <= rounds; round++) {
      for (const fleet of round % 2 === 0 ? fleets : fleets.toReversed()) await fleet.run(round > 0);
    }
  } finally {
    await Promise.all(fleets.flatMap(({ subjects }) => subjects).map((subject) => subject.stop()));
  }
}

async function shared(consumers: readonly Subject[], count: number, source: Source, samples: Samples): Promise<void> {
  await consumers[0]!.do({ verb: "fill", count });
  await Promise.all(consumers.map((one) => one.do({ verb: "join", concurrency: HANDLERS })));
  const look = () => Promise.all(consumers.map((one) => one.do({ verb: "handled" })));
  let figures = await look();
  while (figures.reduce((sum, { count }) => sum + count!, 0) < count) {
    await new Promise((resolve) => setTimeout(resolve, LOOK));
    figures = await look();
  }
  await Promise.all(consumers.map((one) => one.do({ verb: "leave" })));
  const busy = figures.filter(({ count }) => count! > 0);
  const ms = Math.max(...busy.map(({ last }) => last!)) - Math.min(...busy.map(({ first }) => first!));
  samples.add("shared", source, count / ms * 1_000);
  samples.add("sharedCpu", source, figures.reduce((sum, { all }) => sum + all, 0) / count * 1_000);
}

async function crossed(
  callers: readonly Subject[],
  servers: readonly Subject[],
  count: number,
  source: Source,
  samples: Samples,
): Promise<void> {
  const cpu = async () => {
    const figures = await Promise.all(servers.map((server) => server.do({ verb: "cpu" })));
    return figures.reduce((sum, { all }) => sum + all, 0);
  };
  const before = await cpu();
  const figures = await Promise.all(callers.map((one) => one.do({ verb: "called", count, concurrency: AT_ONCE })));
  const calls = count * callers.length;
  samples.add("crossed", source, calls / Math.max(...figures.map(({ ms }) => ms)) * 1_000);
  samples.add("crossedCaller", source, figures.reduce((sum, { all }) => sum + all, 0) / calls * 1_000);
  samples.add("crossedServed", source, (await cpu() - before) / calls * 1_000);
}
