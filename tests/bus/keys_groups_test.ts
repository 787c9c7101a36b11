/** Keys: the events that groups store are signed for their topics, whichever queue they are in. */
// run: on deno
import { assertEquals } from "@std/assert";
import type { BusOptions } from "../../mod.ts";
import { unwrap, wrap } from "../../src/codec/envelope.ts";
import { TOPIC } from "../../src/codec/headers.ts";
import { until } from "../support/until.ts";
import { scene } from "./attacked.ts";
import { beside, onEach } from "./grounds.ts";

onEach("a group of a bus with keys", (ground) => {
  const it = beside(ground); // on Redis, joining a group takes a second

  for (const options of [{ encrypt: false }, { encrypt: true }] satisfies BusOptions[]) {
    const how = options.encrypt ? "encrypted" : "signed";

    for (const [target, pattern] of [["orders.de", false], ["orders.*", true]] as const) {
      it(`has the ${how} events of ${target}, and none that was forged or moved`, async () => {
        await using all = await scene(ground, options);
        const { bus, caller, attacker, tapped, refused } = all;
        const seen: unknown[] = [];
        const queue = bus.queue<unknown>(`${target}@g`);
        const first = bus.subscribe(target, (event, { topic }) => seen.push([topic, event]), { pattern, group: "g" });
        await first.ready;
        await caller.publish({ id: 1 }, "orders.de", { headers: { h: "secret-header" } });
        await until("it is handled", () => seen.length === 1);
        await first.unsubscribe();
        await caller.publish({ id: 2 }, "orders.de");
        await caller.publish({ id: 9 }, "users");
        await caller.queue("other").put({ id: 8 });
        // the member that leaves may have taken it, and gives it back
        await until("it waits", async () => await queue.qsize() === 1);
        const peeked = await queue.peek();
        assertEquals(peeked.map(({ item, error }) => error ?? item), [{ id: 2 }]);
        for (const [, text] of [tapped.published.at(-1)!, tapped.put.at(-1)!]) await attacker.put(queue.name, text);
        await attacker.put(queue.name, '{"id":7}');
        const [, other] = tapped.published.at(-1)!;
        const skipped = other.replace('{"__tsmq":{', `{"__tsmq":{"${TOPIC}":"users",`); // the group skips its topic
        for (const text of [skipped, wrap('{"id":6}', { [TOPIC]: "users" })]) await attacker.put(queue.name, text);
        await caller.publish({ id: 3 }, "orders.de");
        const second = bus.subscribe(target, (event, { topic }) => seen.push([topic, event]), { pattern, group: "g" });
        await until("all are handled", () => seen.length === 3);
        assertEquals(seen, [1, 2, 3].map((id) => ["orders.de", { id }]));
        await until("the others are dead letters", async () => await queue.dead.size() === 3);
        await refused(4);
        assertEquals([all.errors.length, await queue.dead.size()], [4, 3]); // nobody needs the one of another topic
        await second.free();
      });

      it(`retries a dead letter of ${target} as the original ${how} event`, async () => {
        await using all = await scene(ground, options);
        const { bus, caller, tapped, errors } = all;
        const seen: unknown[] = [];
        const queue = bus.queue<unknown>(`${target}@g`);
        const group = bus.subscribe(target, (event, { topic, headers }) => {
          seen.push([topic, event, { ...headers }]);
          if (seen.length === 1) throw new Error("no");
        }, { pattern, group: "g", maxAttempts: 1 });
        await group.ready;
        await caller.publish({ id: 1 }, "orders.de", { headers: { h: "1" } });
        await until("it is a dead letter", async () => await queue.dead.size() === 1);
        assertEquals(await queue.dead.retry(), 1);
        const { headers } = unwrap(tapped.put.at(-1)![1])!;
        if (pattern) assertEquals(headers[TOPIC], "orders.de"); // without a pattern, the queue's name shows the topic
        await until("it is handled again", () => seen.length === 2);
        assertEquals(seen[1], ["orders.de", { id: 1 }, { h: "1" }]);
        assertEquals([errors.length, bus.health().refused], [1, 0]);
        await group.free();
      });
    }

    it(`does not make ${how} events items of other queues, or dead letters`, async () => {
      await using all = await scene(ground, options);
      const { bus, caller, attacker, tapped, refused } = all;
      await caller.publish({ id: 1 }, "orders");
      const [, text] = tapped.published.at(-1)!;
      const { headers } = unwrap(text)!;
      assertEquals(headers[TOPIC], undefined);
      const moved = text.replace('{"__tsmq":{', `{"__tsmq":{"${TOPIC}":"orders",`);
      const names = ["orders", "orders@g.dead", "orders@g", "order*@g", "users@g", "orders@", "items"];
      for (const name of names) {
        for (const each of [text, moved]) {
          await attacker.put(name, each);
          await caller.queue(name).put("good");
          assertEquals(await bus.queue(name).get(), "good");
        }
      }
      await refused(2 * names.length);
    });
  }
});
