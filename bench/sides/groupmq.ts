/** GroupMQ: a queue whose items are in order within their group, so that handlers run at once only for different groups. @module */
import { Queue, Worker } from "groupmq";
import { Redis } from "ioredis";
import type { Order, Side } from "../side.ts";

/** Groups in turn: more than the handlers of any workload. */
const GROUPS = 512;

/** Opens a queue. */
export function openSide(url: string): Promise<Side> {
  const redis = new Redis(url, { maxRetriesPerRequest: null });
  const queue = new Queue<Order>({ redis, namespace: `bench-${crypto.randomUUID()}` });
  let added = 0;
  const put = (data: Order) => queue.add({ groupId: String(added++ % GROUPS), data });
  return Promise.resolve({
    fill: async (items) => {
      for (let i = 0; i < items.length; i += GROUPS) await Promise.all(items.slice(i, i + GROUPS).map(put));
    },
    consume: (handler, concurrency) => {
      let left = 0;
      let done = Promise.withResolvers<void>();
      const consumer = new Worker<Order>({
        queue,
        concurrency,
        handler: ({ data }) => {
          if (left++ === 0) done = Promise.withResolvers();
          handler(data);
          return Promise.resolve();
        },
      });
      consumer.on("completed", () => --left === 0 && done.resolve());
      consumer.run().catch((error) => console.error(error));
      return { acknowledged: () => done.promise, close: () => consumer.close() };
    },
    subscribe: async () => void await redis.ping(),
    put,
    close: async () => {
      await queue.close();
      redis.disconnect();
    },
  });
}
