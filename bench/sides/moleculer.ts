/** Moleculer over its Redis transporter: events to every node that has a handler, actions for calls. @module */
import { ServiceBroker } from "moleculer";
import { type Order, RUNTIME, type Side } from "../side.ts";

/** Opens a node. */
export function openSide(url: string): Promise<Side> {
  let count = 0;
  const known = new Set<string>();
  const service = `bench-${RUNTIME}`;
  const node = () =>
    new ServiceBroker({
      nodeID: `bench-${crypto.randomUUID()}`,
      namespace: "bench",
      transporter: { type: "Redis", options: { host: new URL(url).hostname, port: Number(new URL(url).port) } },
      logger: false,
      metrics: false,
      tracing: false,
    });
  const brokers: ServiceBroker[] = [];
  const start = async (broker: ServiceBroker) => {
    brokers.push(broker);
    await broker.start();
    return broker;
  };
  // a node announces its handlers when it starts, so one node sends, and each handler gets a further node
  const sender = start(node());
  const serving = async (schema: object) => {
    const broker = node();
    broker.createService({ name: `bench-${++count}`, ...schema });
    await start(broker);
  };
  return Promise.resolve({
    subscribe: async (topics, handler) => {
      const events = topics.map((topic) => [topic, (context: { params: unknown }) => handler(context.params as Order)]);
      await serving({ events: Object.fromEntries(events) });
    },
    publish: async (event, topic) => {
      const broker = await sender;
      // messages to an unknown node are lost
      while (!known.has(topic)) {
        if (broker.registry.events.list({}).some(({ name }: { name: string }) => name === topic)) known.add(topic);
        else await new Promise((resolve) => setTimeout(resolve, 20));
      }
      await broker.broadcast(topic, event);
    },
    serve: () => serving({ name: service, actions: { echo: (context: { params: unknown }) => context.params } }),
    call: async (order) => {
      const broker = await sender;
      await broker.waitForServices(service);
      return await broker.call(`${service}.echo`, order);
    },
    close: async () => {
      await Promise.all(brokers.map((broker) => broker.stop()));
    },
  });
}
