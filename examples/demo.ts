/**
 * The demo: separate processes of the operating system exchange events, share a queue and call each other.
 *
 *     deno task demo            on Linux over the kernel's message queues, on other systems over a Redis server that it starts
 *     deno task demo redis://…  over the transport at this URL
 *
 * It plays a small kitchen. The process that you start is the restaurant; it starts two cooks and a cashier. Orders are
 * events, dishes wait in a queue, and calls ask for prices. The demo ends by itself.
 *
 * @module
 */
import { spawn } from "node:child_process";
import process from "node:process";
import { fileURLToPath } from "node:url";
import { Bus, procedure } from "../mod.ts";
import { providerFor } from "../cli/mod.ts";
import { ownTransport } from "./providers.ts";

class OrderPlaced {
  static readonly topic = "kitchen.OrderPlaced";
  constructor(readonly table: number, readonly dish: string) {}
}

class DishReady {
  static readonly topic = "kitchen.DishReady";
  constructor(readonly table: number, readonly dish: string, readonly cook: string) {}
}

const priceOf = procedure<(dish: string) => number>("priceOf");
const TABLES = [[1, "soup"], [2, "pizza"], [3, "pasta"], [4, "salad"], [5, "stew"], [6, "cake"]] as const;

const roles: Record<string, (bus: Bus, name: string) => Promise<void>> = {
  async restaurant(bus) {
    const served: DishReady[] = [];
    const all = Promise.withResolvers<void>();
    bus.subscribe(DishReady, (ready) => {
      served.push(ready);
      say("restaurant", `table ${ready.table} gets its ${ready.dish}, made by ${ready.cook}`);
      if (served.length === TABLES.length) all.resolve();
    });
    const staff = ["cook Ada", "cook Bo", "cashier Cy"].map((name) => start(name));
    await Promise.all(staff.map((person) => person.ready));

    for (const [table, dish] of TABLES) {
      const heard = await bus.publish(new OrderPlaced(table, dish));
      say("restaurant", `table ${table} orders ${dish} (an event; ${heard} process listens)`);
    }
    await all.promise;

    const price = bus.stub(priceOf);
    let total = 0;
    for (const { dish } of served) total += await price(dish);
    say("restaurant", `the cashier was called ${served.length} times: ${total} in all`);
    const names = await bus.stub("whoIsThere", { multi: true })();
    say(
      "restaurant",
      `everybody was called at once: ${names.map((n) => n.status === "fulfilled" && n.value).sort().join(", ")}`,
    );

    await bus.publish("closing time", "kitchen/closing");
    await Promise.all(staff.map((person) => person.ended));
    await bus.queue("dishes").free();
    say("restaurant", "everybody has gone home");
  },

  async cook(bus, name) {
    const dishes = bus.queue<OrderPlaced>("dishes");
    const consumer = dishes.consume(async ({ table, dish }) => {
      say(name, `cooks ${dish} (an item of the queue that both cooks share)`);
      await new Promise((resolve) => setTimeout(resolve, 60));
      await bus.publish(new DishReady(table, dish, name));
    });
    await untilClosing(bus, name);
    await consumer.close();
  },

  async cashier(bus, name) {
    const dishes = bus.queue<OrderPlaced>("dishes");
    bus.subscribe(OrderPlaced, (order) => dishes.put(order));
    await bus.expose(priceOf, (dish) => dish.length * 2);
    await untilClosing(bus, name);
  },
};

/** Serves until the restaurant publishes closing time. */
async function untilClosing(bus: Bus, name: string): Promise<void> {
  const closing = Promise.withResolvers<void>();
  await bus.subscribe("kitchen/*", () => closing.resolve(), { pattern: true }).ready;
  await bus.expose("whoIsThere", () => name);
  console.log("ready");
  await closing.promise;
}

function say(name: string, text: string): void {
  console.log(`${`[${name} · ${process.pid}]`.padEnd(24)} ${text}`);
}

/** Starts this file in another process, which prints "ready" when it serves. */
function start(name: string): { ready: Promise<void>; ended: Promise<void> } {
  const runtime = "Deno" in globalThis ? ["run", "-A"] : ["run"];
  const child = spawn(process.execPath, [...runtime, fileURLToPath(import.meta.url), where, namespace, name], {
    stdio: ["ignore", "pipe", "inherit"],
  });
  const ready = Promise.withResolvers<void>();
  const ended = Promise.withResolvers<void>();
  child.stdout.on("data", (data: Uint8Array) => {
    const text = new TextDecoder().decode(data);
    if (/^ready$/m.test(text)) ready.resolve();
    process.stdout.write(text.replace(/^ready\n/gm, ""));
  });
  child.on("exit", (code) => {
    if (code === 0) return ended.resolve();
    const error = new Error(`${name} ended with ${code}`);
    ready.reject(error);
    ended.reject(error);
  });
  return { ready: ready.promise, ended: ended.promise };
}

const [url, namespace = `demo-${crypto.randomUUID()}`, name = "restaurant"] = process.argv.slice(2);
await using transport = url === undefined ? await ownTransport() : undefined;
const where = url ?? transport!.url;
await using bus = await Bus.open(await providerFor(where), { namespace, types: [OrderPlaced, DishReady] });
await roles[name.split(" ")[0]!]!(bus, name);
