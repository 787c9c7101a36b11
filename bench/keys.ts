/**
 * Measures the cost of `keys` and `encrypt`: calls one after the other, jobs, and events, between two buses of one process over Redis.
 * Prints the ratio of each to the same work without keys in the same round: the median, the minimum and the maximum of the rounds. Also
 * prints the CPU time of an event, of an HMAC alone, and of an envelope without keys.
 *
 *     deno run -A --no-lock bench/keys.ts        bun bench/keys.ts
 *
 * @module
 */
import { createHmac } from "node:crypto";
import process from "node:process";
import { Bus, type BusOptions } from "../mod.ts";
import { UNSIGNED, unwrap, wrap } from "../src/codec/envelope.ts";
import { Hmac } from "../src/keys/hmac.ts";
import { redis } from "../src/providers/redis/provider.ts";
import { startRedis } from "./process.ts";

const ROUNDS = 9;
const CALLS = 1_500;
const JOBS = 3_000;
const EVENTS = 15_000;
const TIMES = 100_000;

const SECRET = "x".repeat(32);
const KINDS: Readonly<Record<string, BusOptions>> = {
  none: {},
  keys: { keys: [{ id: "k", secret: SECRET }] },
  encrypt: { keys: [{ id: "k", secret: SECRET }], encrypt: true },
};

/** Opens two buses. Returns functions that do the measured work and resolve with the milliseconds that it takes. */
async function open(url: string, namespace: string, options: BusOptions) {
  const provider = redis({ url });
  const [one, other] = await Promise.all([provider, provider].map((each) => Bus.open(each, { namespace, ...options })));
  const [server, client] = [one!, other!];
  await server.expose("double", (n: number) => n * 2);
  let [events, wanted] = [0, Infinity];
  let done = () => {};
  await server.subscribe("events", () => void (++events === wanted && done())).ready;
  const double = client.stub("double");
  await double(1);
  const queue = client.queue<number>("jobs");
  const took = async (work: () => Promise<unknown>) => {
    const [start, cpu] = [performance.now(), process.cpuUsage()];
    await work();
    const { user, system } = process.cpuUsage(cpu);
    return { time: performance.now() - start, cpu: (user + system) / EVENTS };
  };
  return {
    calls: () =>
      took(async () => {
        for (let i = 0; i < CALLS; i++) await double(i);
      }),
    jobs: async () => {
      await Promise.all(Array.from({ length: JOBS }, (_, i) => queue.put(i)));
      const { promise, resolve } = Promise.withResolvers<void>();
      let left = JOBS;
      const jobs = server.queue<number>("jobs");
      const figures = await took(async () => {
        const consumer = jobs.consume(() => void (--left === 0 && resolve()));
        await promise;
        await consumer.close();
      });
      return figures;
    },
    events: () =>
      took(async () => {
        [events, wanted] = [0, EVENTS];
        const { promise, resolve } = Promise.withResolvers<void>();
        done = resolve;
        for (let i = 0; i < EVENTS; i += 500) {
          await Promise.all(
            Array.from({ length: 500 }, (_, n) => client.publish({ id: i + n, text: "forty bytes" }, "events")),
          );
        }
        await promise;
      }),
    close: () => Promise.all([server.close(), client.close()]),
  };
}

function middle(values: readonly number[]): number {
  return values.toSorted((a, b) => a - b)[values.length >> 1]!;
}

/** Microseconds of one call of this function with 150 characters. */
function cost(work: (text: string) => unknown): number {
  const text = `"${"x".repeat(148)}"`;
  const rounds = Array.from({ length: 5 }, () => {
    const start = performance.now();
    for (let i = 0; i < TIMES; i++) work(text);
    return (performance.now() - start) / TIMES * 1_000;
  });
  return Math.min(...rounds);
}

/** Writes and reads a message as a bus did before there were keys. */
const bare = (text: string) => unwrap(wrap(text, undefined));
const unsigned = (text: string) => UNSIGNED.open("event", "t", UNSIGNED.seal("event", "t", text));
cost(bare);
cost(unsigned); // warms up
const off = [cost(unsigned), cost(bare)] as const;
console.log(`An envelope without keys: ${off[0].toFixed(3)} µs; before there were keys ${off[1].toFixed(3)} µs`);

const own = new Hmac(new TextEncoder().encode(SECRET));
const alone = [cost((text) => own.of(text)), cost((text) => createHmac("sha256", SECRET).update(text).digest())];
console.log(`HMAC of 150 bytes: ${alone[0]!.toFixed(1)} µs; by createHmac ${alone[1]!.toFixed(1)} µs`);
const redisServer = await startRedis();
try {
  const url = `redis://127.0.0.1:${redisServer.port}`;
  const kinds = await Promise.all(
    Object.entries(KINDS).map(async ([kind, options]) => ({ kind, buses: await open(url, `bench-${kind}`, options) })),
  );
  for (const work of ["calls", "jobs", "events"] as const) {
    for (const { buses } of kinds) await buses[work](); // warms up
    const rounds: Record<string, { time: number; cpu: number }>[] = [];
    while (rounds.length < ROUNDS) {
      const round: Record<string, { time: number; cpu: number }> = {};
      const turn = rounds.length % kinds.length;
      for (const { kind, buses } of [...kinds.slice(turn), ...kinds.slice(0, turn)]) round[kind] = await buses[work]();
      rounds.push(round);
    }
    for (const kind of ["keys", "encrypt"]) {
      const ratios = rounds.map((round) => round.none!.time / round[kind]!.time);
      const more = middle(rounds.map((round) => round[kind]!.cpu - round.none!.cpu));
      const cost = work === "events" ? `; ${more.toFixed(1)} µs more CPU for each` : "";
      const [least, most] = [Math.min(...ratios).toFixed(2), Math.max(...ratios).toFixed(2)];
      console.log(`${work} with ${kind}: ${middle(ratios).toFixed(2)} (${least} – ${most}) of the rate without${cost}`);
    }
  }
  await Promise.all(kinds.map(({ buses }) => buses.close()));
} finally {
  await redisServer.stop();
}
