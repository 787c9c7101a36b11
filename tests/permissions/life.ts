/** Opens, uses and closes a bus with the permissions of this process. Prints "done", or the error. */
import process from "node:process";
import { Bus, BusError, type Provider } from "../../mod.ts";
import { say } from "../support/peer_side.ts";

async function live(provider: Provider, namespace: string): Promise<string> {
  const bus = await Bus.open(provider, { namespace, connectTimeout: 8_000 });
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

/** The life of a bus over what `make` gives for this process's arguments: the options, and a namespace. */
export async function run<O>(make: (options: O) => Provider): Promise<void> {
  const [options, namespace] = process.argv.slice(2) as [string, string];
  say(
    await live(make(JSON.parse(options)), namespace).catch((error) => ({
      typed: error instanceof BusError,
      code: error.code,
      message: String(error.message),
    })),
  );
}
