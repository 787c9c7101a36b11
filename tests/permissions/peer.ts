/** A whole life of a bus under the permissions that it was given: says "done", or the error that it got. */
import { Bus, BusError, type Provider } from "../../mod.ts";
import { say } from "../support/peer_side.ts";

const [name, options, namespace] = Deno.args as [string, string, string];

async function live(): Promise<string> {
  const module = await import(`../../src/providers/${name}/provider.ts`) as Record<string, (o: unknown) => Provider>;
  const bus = await Bus.open(module[name]!(JSON.parse(options)), { namespace, connectTimeout: 8_000 });
  try {
    const arrived = Promise.withResolvers<unknown>();
    await bus.subscribe("topic", arrived.resolve).ready;
    await bus.publish("event", "topic");
    await arrived.promise;
    const queue = bus.queue("queue");
    await queue.put("item");
    const lease = await queue.receive();
    await lease.ack();
    await queue.free();
    await bus.expose("double", (n: number) => 2 * n);
    await bus.stub("double")(1);
  } finally {
    await bus.close();
  }
  return "done";
}

say(
  await live().catch((error) => ({
    typed: error instanceof BusError,
    code: error.code,
    message: String(error.message),
  })),
);
