/** The NATS client in its simplest use. @module */
import { connect } from "@nats-io/transport-node";
import { type Order, RUNTIME, type Side } from "../side.ts";

/** Opens a connection. */
export async function openSide(servers: string): Promise<Side> {
  const nats = await connect({ servers });
  const fn = `bench.function.${RUNTIME}`;
  let flushing: Promise<void> | undefined;
  // as the bus: a published event is one that the server has, and those of one turn share the question
  const flush = () =>
    flushing ??= Promise.resolve().then(() => {
      flushing = undefined;
      return nats.flush();
    });
  return {
    subscribe: async (topics, handler) => {
      for (const topic of topics) {
        nats.subscribe(`bench.${topic}`, { callback: (_, message) => handler(message.json<Order>()) });
      }
      await nats.flush();
    },
    publish: async (event, topic) => {
      nats.publish(`bench.${topic}`, JSON.stringify(event));
      await flush();
    },
    serve: async () => {
      nats.subscribe(fn, { callback: (_, message) => void message.respond(message.data) });
      await nats.flush();
    },
    call: async (order) => (await nats.request(fn, JSON.stringify(order), { timeout: 5_000 })).json(),
    close: () => nats.close(),
  };
}
