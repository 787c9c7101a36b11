/**
 * Measures the cost of a failover behind Sentinels under steady traffic, each time with new servers:
 *
 *     deno task test:faults --failover=10          ten planned ones, ten crashes and ten freezes
 *     deno task test:faults --failover=10 --bun
 */
import { pathToFileURL } from "node:url";
import process from "node:process";
import { Bus } from "../../mod.ts";
import { Names } from "../../src/providers/redis/names.ts";
import { redis } from "../../src/providers/redis/provider.ts";
import type { RedisOptions } from "../../src/providers/redis/provider.ts";
import { type Sentinels, startSentinels } from "../support/redis_cluster.ts";
import { pause, until } from "../support/until.ts";

/** Items that are in the queue before, so that `get` always finds what both servers have. */
const BACKLOG = 500;
/** Milliseconds between two of each: put, get, publish. */
const PACE = 3;

/** The ways in which the master is lost. */
export type Failure = "planned" | "crash" | "freeze";

/** The cost of one failover. */
export interface Cost {
  /** Acknowledged puts, those of them that nobody got, and ms from the first to the last of these. */
  readonly puts: number;
  readonly lost: number;
  readonly risk: number;
  /** Items that were got twice. */
  readonly twice: number;
  /** Events that were published, those of them that were missed, and those missed on a bus that reported no gap. */
  readonly events: number;
  readonly missed: number;
  readonly unsaid: number;
  /** The longest time in ms without an acknowledged put, and without an event. */
  readonly stop: number;
  readonly silence: number;
  /** Puts that were rejected. */
  readonly rejected: number;
}

/** Loses the master under traffic. `fail` may do it in a way of its own. */
export async function failover(
  ground: Sentinels,
  failure: Failure,
  options: RedisOptions = { sentinels: ground.sentinels.nodes, name: ground.name },
): Promise<Cost> {
  const namespace = `failover-${crypto.randomUUID()}`;
  const open = () => Bus.open(redis(options), { namespace });
  await using stack = new AsyncDisposableStack();
  const [putter, publisher, subscriber, ...getters] = await Promise.all(Array.from({ length: 5 }, open)) as [
    Bus,
    Bus,
    Bus,
    Bus,
    Bus,
  ];
  for (const bus of [putter, publisher, subscriber, ...getters]) {
    stack.use(bus);
    bus.addEventListener("error", () => {});
  }

  const acked = new Map<number, number>();
  const got = new Map<number, number>();
  const published = new Set<number>();
  const heard = new Map<number, number>();
  let [rejected, gaps, running] = [0, 0, true];
  subscriber.addEventListener("gap", () => gaps++);
  await subscriber.subscribe("events", (event) => heard.set(event as number, performance.now())).ready;

  const put = async (number: number) => {
    try {
      await putter.queue("items").put(number);
      acked.set(number, performance.now());
    } catch {
      rejected++;
    }
  };
  for (let number = 0; number < BACKLOG; number++) await put(number);
  const steadily = async (act: (number: number) => Promise<unknown>) => {
    const acts: Promise<unknown>[] = [];
    for (let number = BACKLOG; running; number++) {
      acts.push(act(number));
      await pause(PACE);
    }
    await Promise.all(acts);
  };
  const takes = async (bus: Bus) => {
    const queue = bus.queue<number>("items");
    while (running) {
      const item = await queue.get({ timeout: 500 }).catch(() => undefined);
      if (item !== undefined) got.set(item, (got.get(item) ?? 0) + 1);
      await pause(PACE);
    }
  };
  const traffic = [
    steadily(put),
    steadily((number) => publisher.publish(number, "events").then(() => published.add(number), () => {})),
    ...getters.map(takes),
  ];

  await pause(500);
  const start = performance.now();
  await lose(ground, failure);
  await pause(1_000);
  await until("puts are acknowledged again", () => performance.now() - Math.max(...acked.values()) < 200, 30_000);
  await pause(1_000);
  running = false;
  await Promise.all(traffic);
  const buses = [putter, publisher, subscriber, ...getters];
  await until("all buses are up", () => buses.every((bus) => bus.health().state === "up"), 30_000);
  // the new master has all remaining items, and all of them will be delivered
  const rest = await ground.replica.run("lrange", new Names(namespace).list("items"), 0, -1) as string[];
  for (const item of rest.map((body) => parseInt(body))) got.set(item, (got.get(item) ?? 0) + 1);

  const lost = [...acked].filter(([number]) => !got.has(number)).map(([, at]) => at);
  const missed = [...published].filter((number) => !heard.has(number));
  return {
    puts: acked.size,
    lost: lost.length,
    risk: lost.length > 0 ? Math.round(Math.max(...lost) - Math.min(...lost)) : 0,
    twice: [...got.values()].filter((times) => times > 1).length,
    events: published.size,
    missed: missed.length,
    unsaid: gaps > 0 ? 0 : missed.length,
    stop: longest([...acked.values()].filter((at) => at >= start - 100)),
    silence: longest([...heard.values()].filter((at) => at >= start - 100)),
    rejected,
  };
}

async function lose(ground: Sentinels, failure: Failure): Promise<void> {
  const old = ground.master;
  if (failure === "planned") await ground.sentinels.servers[0]!.run("sentinel", "failover", ground.name);
  else if (failure === "crash") await old.kill();
  else old.freeze();
  await until("another is the master", async () => await ground.masterPort() !== old.port, 30_000);
  if (failure === "freeze") old.thaw();
}

function longest(times: number[]): number {
  times.sort((a, b) => a - b);
  return Math.round(Math.max(0, ...times.slice(1).map((at, i) => at - times[i]!)));
}

async function main(times: number, failures: readonly Failure[]): Promise<void> {
  for (const failure of failures) {
    const costs: Cost[] = [];
    for (let round = 0; round < times; round++) {
      await using ground = await startSentinels();
      const cost = await failover(ground, failure);
      console.log(failure, JSON.stringify(cost));
      costs.push(cost);
    }
    console.log(`${failure}, ${times} times: min, middle, max`);
    for (const key of Object.keys(costs[0]!) as (keyof Cost)[]) {
      const values = costs.map((cost) => cost[key]).sort((a, b) => a - b);
      console.log(`  ${key}: ${values[0]}, ${values[values.length >> 1]}, ${values.at(-1)}`);
    }
  }
}

if (import.meta.url === pathToFileURL(process.argv[1] ?? "").href) {
  const [times = "10", ...failures] = process.argv.slice(2);
  await main(Number(times), failures.length > 0 ? failures as Failure[] : ["planned", "crash", "freeze"]);
}
