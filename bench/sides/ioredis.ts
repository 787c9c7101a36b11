/** Bare ioredis in its simplest use. @module */
import { Redis } from "ioredis";
import { channelOf, type Order, RUNTIME, type Side } from "../side.ts";

const QUEUE = "bench:raw:queue";
const FUNCTION = `bench:raw:function:${RUNTIME}`;

/** Opens the raw side. */
export async function openSide(url: string): Promise<Side> {
  const opened: Redis[] = [];
  const connect = async () => {
    const redis = new Redis(url, { lazyConnect: true });
    opened.push(redis);
    await redis.connect();
    return redis;
  };
  const [sender, subscriber] = await Promise.all([connect(), connect()]);
  let popping: Promise<Redis> | undefined;
  const taker = () => popping ??= connect();
  const handlers = new Map<string, (text: string) => void>();
  subscriber.on("message", (channel: string, text: string) => handlers.get(channel)?.(text));
  let calls = 0;

  return {
    subscribe: async (topics, handler) => {
      for (const topic of topics) handlers.set(channelOf(topic), (text) => handler(JSON.parse(text)));
      await subscriber.subscribe(...topics.map(channelOf));
    },
    publish: (event, topic) => sender.publish(channelOf(topic), JSON.stringify(event)),
    put: (item) => sender.lpush(QUEUE, JSON.stringify(item)),
    get: async () => {
      // pipelined on one connection: faster here than a connection for each waiting pop
      const popped = await (await taker()).brpop(QUEUE, 0);
      return JSON.parse(popped![1]);
    },
    serve: async () => {
      handlers.set(FUNCTION, (text) => {
        const [inbox, order] = JSON.parse(text) as [string, Order];
        sender.lpush(inbox, JSON.stringify(order));
      });
      await subscriber.subscribe(FUNCTION);
    },
    call: async (order) => {
      const inbox = `${FUNCTION}:answer:${++calls}`;
      const [popped] = await Promise.all([
        (await taker()).brpop(inbox, 5),
        sender.publish(FUNCTION, JSON.stringify([inbox, order])),
      ]);
      return JSON.parse(popped![1]);
    },
    close: () => {
      for (const redis of opened) redis.disconnect();
      return Promise.resolve();
    },
  };
}
