/** The bus, over a provider. @module */
import { Bus } from "../../src/bus.ts";
import type { Provider } from "../../src/provider/provider.ts";
import { type Order, RUNTIME, type Side } from "../side.ts";

const PROVIDERS: Record<string, (url: string) => Promise<Provider>> = {
  redis: async (url) => (await import("../../src/providers/redis/provider.ts")).redis({ url }),
  ipc: async () => (await import("../../src/providers/ipc/provider.ts")).ipc(),
  nats: async (servers) => (await import("../../examples/nats/provider.ts")).nats({ servers }),
  memory: async () => (await import("../../src/providers/memory/provider.ts")).memory(),
};

/** Opens a bus. */
export async function openSide(url: string, group: string): Promise<Side> {
  const bus = await Bus.open(await PROVIDERS[group]!(url), { namespace: "bench" });
  // print errors and gaps; a lost message also makes the waiting side time out
  for (const fault of ["error", "gap"]) {
    bus.addEventListener(fault, (event) => {
      console.error(`tsmq over ${group}, ${fault}:`, (event as CustomEvent).detail ?? event);
    });
  }
  const queue = bus.queue<Order>("bench:queue");
  const fn = `bench:function:${RUNTIME}`;
  const stub = bus.stub<(order: Order) => Order>(fn);
  return {
    subscribe: async (topics, handler) => {
      await Promise.all(topics.map((topic) => bus.subscribe<Order>(topic, handler).ready));
    },
    publish: (event, topic) => bus.publish(event, topic),
    put: (item) => queue.put(item),
    get: () => queue.get(),
    fill: (items) => Promise.all(items.map((item) => queue.put(item))),
    consume: (handler, concurrency) => {
      const consumer = queue.consume(handler, { concurrency });
      // it waits for the acknowledgements of its handlers
      return { acknowledged: () => consumer.close(), close: () => consumer.close() };
    },
    serve: () => bus.expose(fn, (order: Order) => order),
    call: (order) => stub(order),
    close: async () => {
      await queue.free();
      await bus.close();
    },
  };
}
