/** BullMQ: a queue and its workers. @module */
import { Queue, Worker } from "bullmq";
import type { Order, Side } from "../side.ts";

/** As many as the workload has getters. */
const CONCURRENCY = 64;

/** Opens a queue, and its worker with the first get. */
export function openSide(url: string): Promise<Side> {
  const { hostname: host, port, searchParams } = new URL(url);
  const connection = { host, port: Number(port) };
  // the worker continues after the last get, so each process has its own queue, unless several are to share one
  const common = searchParams.get("queue");
  const name = common ?? `bench-${crypto.randomUUID()}`;
  const queue = new Queue<Order>(name, { connection, defaultJobOptions: { removeOnComplete: true } });
  const taken: Order[] = [];
  const waiting: ((order: Order) => void)[] = [];
  let worker: Worker<Order> | undefined;
  const work = () =>
    new Worker<Order>(name, ({ data }) => {
      const next = waiting.shift();
      if (next) next(data);
      else taken.push(data);
      return Promise.resolve();
    }, { connection, concurrency: CONCURRENCY });
  return Promise.resolve({
    fill: async (items) => {
      await queue.addBulk(items.map((data) => ({ name: "order", data })));
    },
    consume: (handler, concurrency) => {
      let left = 0;
      let done = Promise.withResolvers<void>();
      const consumer = new Worker<Order>(name, ({ data }) => {
        if (left++ === 0) done = Promise.withResolvers();
        handler(data);
        return Promise.resolve();
      }, { connection, concurrency });
      consumer.on("completed", () => --left === 0 && done.resolve());
      return { acknowledged: () => done.promise, close: () => consumer.close() };
    },
    subscribe: async () => void await queue.waitUntilReady(),
    put: (item) => queue.add("order", item),
    get: () => {
      worker ??= work();
      const order = taken.shift();
      return order ? Promise.resolve(order) : new Promise((resolve) => waiting.push(resolve));
    },
    close: async () => {
      await worker?.close();
      if (common === null) await queue.obliterate({ force: true });
      await queue.close();
    },
  });
}
