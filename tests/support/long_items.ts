/** Items that are larger than `maxReceive`, on transports that check the size of an item before they read it. */
import { assertEquals } from "@std/assert";
import { Bus } from "../../src/bus.ts";
import type { Provider } from "../../src/provider/provider.ts";
import { until } from "./until.ts";

/** Asserts that an item with the largest headers is received if its body has `maxReceive` bytes, also signed and encrypted. */
export async function assertLargestHeaders(provider: Provider): Promise<void> {
  const keys = [{ id: "k", secret: "0123456789abcdef".repeat(4) }];
  const headers = { h: '"'.repeat(8_000) };
  for (const options of [{}, { keys }, { keys, encrypt: true }]) {
    await using bus = await Bus.open(provider, { namespace: crypto.randomUUID(), maxReceive: 202, ...options });
    const queue = bus.queue("q");
    const item = "x".repeat(200);
    await queue.put(item, { headers });
    assertEquals(await queue.get({ timeout: 10_000 }), item);
    await queue.free();
  }
}

/** Asserts that an item whose dead letter would be too long to be taken is itself put into the dead-letter queue. */
export async function assertLongLetter(provider: Provider): Promise<void> {
  const namespace = crypto.randomUUID();
  await using large = await Bus.open(provider, { namespace });
  await using bus = await Bus.open(provider, { namespace, maxReceive: 300_000 });
  const errors: string[] = [];
  bus.addEventListener("error", ({ error }) => errors.push(String(error)));
  const queue = bus.queue("q");
  const item = Array<string>(190_000).fill("");
  await large.queue("q").put(item); // 600 kB; as a string in a letter, 1 MB
  const consumer = queue.consume(() => {}, { maxAttempts: 1 });
  await until("it is dead-lettered", async () => await queue.dead.size() === 1 && await queue.qsize() === 0);
  await consumer.close();
  assertEquals([await queue.dead.retry(), await queue.dead.purge(), await queue.dead.size()], [0, 0, 1]);
  assertEquals(errors.filter((error) => error.startsWith("ProviderError")), []);
  assertEquals(await large.queue(queue.dead.name).get({ timeout: 10_000 }), item);
  await Promise.all([queue.free(), bus.queue(queue.dead.name).free()]);
}
