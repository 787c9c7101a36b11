/** Keys on POSIX queues and on AWS: the places that signatures cover are the same at both ends, whatever a transport does to names. */
// run: on deno
import { assert, assertEquals } from "@std/assert";
import { afterAll, beforeAll, describe, it } from "@std/testing/bdd";
import { Bus, type BusError, type Provider } from "../../mod.ts";
import { RawClient } from "../../src/conformance/raw_client.ts";
import { aws } from "../../src/providers/aws/provider.ts";
import { type Emulator, startEmulator } from "../aws/emulator.ts";
import { until } from "../support/until.ts";
import { KEYS } from "./attacked.ts";
import { fresh, onIpc } from "./grounds.ts";

/** Exchanges each kind of message, encrypted, and refuses a forged one of each kind. */
async function exchange(provider: Provider): Promise<void> {
  const namespace = fresh();
  const open = () => Bus.open(provider, { namespace, keys: KEYS, encrypt: true, timeout: 20_000 });
  await using bus = await open();
  await using caller = await open();
  const attacker = await RawClient.open(provider, namespace);
  try {
    const errors: BusError[] = [];
    for (const each of [bus, caller]) each.addEventListener("error", ({ error }) => errors.push(error as BusError));
    const seen: unknown[] = [];
    const handler = (kind: string) => (event: unknown, { topic }: { topic: string }) => seen.push([kind, topic, event]);
    const subscriptions = [
      bus.subscribe("orders/ü", handler("topic")),
      bus.subscribe("orders*", handler("pattern"), { pattern: true }),
      bus.subscribe("orders/ü", handler("group"), { group: "g" }),
      bus.subscribe("orders*", handler("pattern's group"), { pattern: true, group: "g" }),
    ];
    await Promise.all(subscriptions.map(({ ready }) => ready));
    await caller.publish(new Date(5), "orders/ü", { headers: { h: "1" } });
    await until("all have the event", () => seen.length === 4);
    const kinds = ["group", "pattern", "pattern's group", "topic"];
    assertEquals(new Set(seen), new Set(kinds.map((kind) => [kind, "orders/ü", new Date(5)])));

    const queue = bus.queue<unknown>("jobs");
    await caller.queue("jobs").put(new Map([[1, 2n]]));
    const failing = queue.consume(() => {
      throw new Error("no");
    }, { maxAttempts: 1 });
    await until("the item is a dead letter", () => errors.length === 1);
    await until("the queue has it", async () => await queue.dead.size() === 1);
    await failing.close();
    await until("it is back", async () => await queue.dead.retry() === 1);
    assertEquals(await queue.get({ timeout: 20_000 }), new Map([[1, 2n]]));

    await bus.expose("f", (n: number) => n * 2);
    await bus.expose("values", async function* () {
      yield* [1, 2, 3];
    });
    assertEquals(await caller.stub("f")(4), 8);
    assertEquals(await caller.stub("f", { multi: true })(4), [{ status: "fulfilled", value: 8 }]);
    const values: unknown[] = [];
    for await (const value of caller.stream("values")()) values.push(value);
    assertEquals(values, [1, 2, 3]);
    assertEquals([bus.health().refused, caller.health().refused], [0, 0]);

    await attacker.publish("orders/ü", '"forged"');
    await attacker.put("jobs", '"forged"');
    const [server] = await attacker.sender.servers("f");
    await attacker.sender.post(server!.inbox, '"forged"');
    await caller.queue("jobs").put("good");
    assertEquals(await queue.get({ timeout: 20_000 }), "good");
    await until("all are refused", () => bus.health().refused! >= 6);
    assertEquals(seen.length, 4);
    assert(errors.slice(1).every(({ message }) => message.endsWith("it is not signed")));
    await Promise.all(subscriptions.slice(2).map((group) => group.free()));
    for (const name of ["jobs", "jobs.dead"]) await bus.queue(name).free();
  } finally {
    await attacker.close();
  }
}

onIpc("a bus with keys", ({ it, provider }) => {
  it("exchanges all kinds of messages, and refuses forged ones", () => exchange(provider()));
});

describe("a bus with keys, on AWS", () => {
  let emulator: Emulator;
  beforeAll(async () => void (emulator = await startEmulator()));
  afterAll(async () => await emulator.stop());

  it("exchanges all kinds of messages, and refuses forged ones", async () => {
    await exchange(aws({ ...emulator.options, lease: 10_000, poll: 2_000 }));
  });
});
