/** The bus. @module */
import { Bus } from "../src/bus.ts";
import type { Provider } from "../src/provider.ts";
import { memory } from "../src/providers/memory/provider.ts";
import { redis } from "../src/providers/redis/provider.ts";
import type { Order, Side } from "./side.ts";

/** The bus over Redis. */
export function openRedis(url: string): Promise<Side> {
  return open(redis({ url }));
}

/** The bus in memory. */
export function openMemory(): Promise<Side> {
  return open(memory());
}

async function open(provider: Provider): Promise<Side> {
  const bus = await Bus.open(provider, { namespace: "bench" });
  for (const fault of ["error", "gap"]) {
    // a lost event would make a round wait for ever: better an end with its reason
    bus.addEventListener(fault, (event) => {
      throw new Error(`${fault}: ${JSON.stringify((event as CustomEvent).detail)}`);
    });
  }
  const queue = bus.queue<Order>("bench:queue");
  const stub = bus.stub<(order: Order) => Order>("bench:function");
  return {
    subscribe: async (topics, handler) => {
      await Promise.all(topics.map((topic) => bus.subscribe<Order>(topic, handler).ready));
    },
    publish: (event, topic) => bus.publish(event, topic),
    put: (item) => queue.put(item),
    get: () => queue.get(),
    serve: () => bus.expose("bench:function", (order: Order) => order),
    call: (order) => stub(order),
    close: async () => {
      await bus.close();
    },
  };
}
