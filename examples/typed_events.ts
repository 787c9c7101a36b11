/**
 * Events with types, from two schema libraries. Any library that implements Standard Schema works.
 *
 *     deno task install && deno run -A examples/typed_events.ts
 *
 * @module
 */
import * as v from "valibot";
import * as z from "zod";
import { Bus, memory, type ValidationError } from "../mod.ts";

/** Checked by valibot. */
class OrderPlaced {
  static readonly topic = "shop.OrderPlaced"; // an explicit name, because minifiers rename classes
  static readonly schema = v.object({ id: v.string(), total: v.pipe(v.number(), v.minValue(0)) });
  constructor(readonly id: string, readonly total: number) {}
}

/** Checked by zod. */
class OrderPaid {
  static readonly topic = "shop.OrderPaid";
  static readonly schema = z.object({ id: z.string(), at: z.date() });
  constructor(readonly id: string, readonly at: Date) {}
}

await using bus = await Bus.open(memory(), { namespace: "shop" });
const paid = Promise.withResolvers<void>();

bus.subscribe(OrderPlaced, (order) => console.log(`placed: ${order.id} for ${order.total}`)); // order: OrderPlaced
bus.subscribe(OrderPaid, (order) => {
  // an instance of the class, with its Date
  console.log(`paid: ${order.id} in ${order.at.getUTCFullYear()}, ${order instanceof OrderPaid}`);
  paid.resolve();
});

// the subscriber's own schema, which also transforms the event
const total = z.object({ total: z.number() }).transform(({ total }) => total);
bus.subscribe("shop.OrderPlaced", (sum) => console.log(`total: ${sum}`), { schema: total }); // sum: number

await bus.publish(new OrderPlaced("o-1", 12));
await bus.publish(new OrderPlaced("o-2", -1)).catch((error: ValidationError) => {
  console.log(`not sent: ${error.issues[0]?.path?.join(".")}: ${error.issues[0]?.message}`);
});
await bus.publish(new OrderPaid("o-1", new Date("2026-01-02")));
await paid.promise;
