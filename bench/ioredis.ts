/**
 * Compares two major versions of ioredis: the main thread's CPU for each received and each published event.
 *
 *     deno run -A bench/ioredis.ts        bun bench/ioredis.ts
 *
 * @module
 */
import { Redis as Five } from "ioredis";
import { Redis as Six } from "ioredis-6";
import { threadCpu } from "./cpu.ts";
import { Load } from "./load.ts";
import { startRedis } from "./process.ts";
import { channelOf, order } from "./side.ts";

const COUNT = 50_000;
const ROUNDS = 7;

interface Client {
  connect(): Promise<unknown>;
  subscribe(channel: string): Promise<unknown>;
  publish(channel: string, body: string): Promise<number>;
  on(event: "message", listener: (channel: string, body: string) => void): unknown;
  disconnect(): void;
}

/** Microseconds of this thread for each event. */
async function perEvent(work: () => Promise<unknown>): Promise<number> {
  const start = threadCpu();
  await work();
  return (threadCpu() - start) / COUNT * 1_000;
}

async function main(): Promise<void> {
  const redis = await startRedis();
  const load = await Load.open(redis.port);
  const options = { port: redis.port, host: "127.0.0.1", lazyConnect: true };
  const clients: Record<string, () => Client> = { "5": () => new Five(options), "6": () => new Six(options) };
  const figures: Record<string, number[]> = {};
  for (let round = 0; round <= ROUNDS; round++) {
    for (const [major, make] of Object.entries(clients)) {
      const [sender, subscriber] = [make(), make()];
      await Promise.all([sender.connect(), subscriber.connect()]);
      let seen = 0;
      const arrived = Promise.withResolvers<void>();
      subscriber.on("message", () => ++seen === COUNT && arrived.resolve());
      await subscriber.subscribe(channelOf("events"));
      const received = await perEvent(async () => {
        await Promise.all([load.publish(["events"], COUNT), arrived.promise]);
      });
      const body = JSON.stringify(order(1));
      const published = await perEvent(async () => {
        for (let i = 0; i < COUNT; i += 500) {
          await Promise.all(Array.from({ length: 500 }, () => sender.publish("nobody", body)));
        }
      });
      for (const client of [sender, subscriber]) client.disconnect();
      if (round === 0) continue; // warm-up
      (figures[`ioredis ${major}: received`] ??= []).push(received);
      (figures[`ioredis ${major}: published`] ??= []).push(published);
    }
  }
  for (const [what, values] of Object.entries(figures)) {
    const [least, middle, most] = [0, ROUNDS >> 1, ROUNDS - 1].map((i) => values.sort((a, b) => a - b)[i]!.toFixed(2));
    console.log(`${what.padEnd(22)} ${middle} µs of main CPU (${least} – ${most})`);
  }
  load.close();
  await redis.stop();
}

await main();
