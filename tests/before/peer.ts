/** A bus of the version before; this file runs inside the tree of that version. */
import { Bus } from "../../mod.ts";
import { redis } from "../../src/providers/redis/provider.ts";
import { say, told } from "../support/peer_side.ts";
import { difference } from "../support/same.ts";
import { ALL, BARE, PLAIN, SAME, types } from "./values.ts";
import process from "node:process";

const [url, namespace] = process.argv.slice(2);
const bus = await Bus.open(redis({ url }), { namespace, types });
const got: unknown[] = [];
await bus.subscribe("to-before", (event) => got.push(event)).ready;
await bus.expose("plain", (i: number, value: unknown) => difference(value, PLAIN[i]));
await bus.expose("bare", (i: number, value: unknown) => difference(value, BARE[i]![1]));
await bus.expose("value", (i: number) => ALL[i]);

/** Returns the differences between the next values and these. */
async function compare(values: unknown[], next: (i: number) => Promise<unknown>): Promise<(string | undefined)[]> {
  const found: (string | undefined)[] = [];
  for (const [i, value] of values.entries()) found.push(difference(await next(i), value));
  return found.filter((one) => one !== undefined);
}

const queue = bus.queue("to-before");
const commands: Record<string, () => unknown> = {
  events: async () => {
    while (got.length < ALL.length) await new Promise((resolve) => setTimeout(resolve, 5));
    return compare([...SAME, ...BARE.map(([, bare]) => bare)], () => Promise.resolve(got.shift()));
  },
  items: () => compare([...SAME, ...BARE.map(([, bare]) => bare)], () => queue.get({ timeout: 5_000 })),
  leases: async () => {
    const lease = await queue.receive({ timeout: 5_000 });
    await lease.nack();
    return lease.attempt;
  },
  fail: async () => {
    const doomed = bus.queue("doomed");
    for (const value of ALL) await doomed.put(value);
    let failures = 0;
    const consumer = doomed.consume(() => {
      failures++;
      throw new RangeError("on purpose");
    }, { maxAttempts: 1 });
    while (failures < ALL.length || await bus.queue("doomed.dead").qsize() < ALL.length) {
      await new Promise((resolve) => setTimeout(resolve, 5));
    }
    await consumer.close();
  },
  send: async () => {
    for (const value of ALL) {
      await bus.publish(value, "from-before");
      await bus.queue("from-before").put(value);
    }
  },
  call: async () => {
    for (const value of ALL) await bus.stub("hear")(value);
    const answers = await Promise.all(PLAIN.map((_, i) => bus.stub("plain now")(i)));
    return compare(PLAIN, (i) => Promise.resolve(answers[i]));
  },
};
say("ready");
for await (const command of told<string>()) say(await commands[command]!() ?? "done");
await bus.close();
