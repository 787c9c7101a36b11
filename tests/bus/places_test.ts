/** Values that take far more memory than their texts, as objects with few integer keys do on Bun, count for the limits of what a bus holds. */
import { assert, assertEquals } from "@std/assert";
import { describe, it } from "@std/testing/bdd";
import process from "node:process";
import { Bus, memory } from "../../mod.ts";
import { overridden } from "../../src/conformance/runs.ts";
import type { Sender } from "../../src/provider/provider.ts";
import { until } from "../support/until.ts";
import { fresh } from "./grounds.ts";

const bun = "Bun" in globalThis;

describe("small messages of objects with few large integer keys", () => {
  const sparse = Array.from({ length: 6_400 }, () => ({ "999": 0 }));

  it("as arguments: on Bun, their places count for the limit of running calls", async () => {
    await using bus = await Bus.open(memory(), { namespace: fresh() });
    const gate = Promise.withResolvers<void>();
    let running = 0;
    await bus.expose("fn", async (_: unknown) => {
      running++;
      await gate.promise;
    });
    const calls = Array.from({ length: 5 }, () => bus.stub("fn")(sparse).then(() => "ran", (error) => error.code));
    const accepted = bun ? 3 : 5; // of 51 MB each on Bun, up to 128 MiB
    await until("they run", () => running === accepted);
    gate.resolve();
    assertEquals((await Promise.all(calls)).toSorted(), [
      ...Array(5 - accepted).fill("busy"),
      ...Array(accepted).fill("ran"),
    ]);
  });

  it("as arguments of calls that are refused: a refusal on its way does not keep them", async () => {
    const provider = memory();
    const gate = Promise.withResolvers<void>();
    let refused = 0;
    const open: typeof provider.open = async (context) => {
      const sender = await provider.open(context);
      const post: Sender["post"] = async (inbox, body) => {
        if (body.includes('"refused":"busy"')) {
          refused++;
          await gate.promise;
        }
        return await sender.post(inbox, body);
      };
      return overridden(sender, { post });
    };
    const namespace = fresh();
    await using server = await Bus.open({ ...provider, open }, { namespace });
    await using caller = await Bus.open(provider, { namespace });
    let running = 0;
    await server.expose("fn", async (_: unknown) => {
      running++;
      await gate.promise;
    });
    const before = process.memoryUsage().rss;
    const calls = Array.from({ length: 40 }, () => caller.stub("fn")(sparse).then(() => "ran", (error) => error.code));
    await until("all have arrived", () => running + refused === calls.length);
    const grown = process.memoryUsage().rss - before;
    gate.resolve();
    await Promise.all(calls);
    assert(grown < 1_000 * 2 ** 20, `refused calls took ${grown} bytes`); // they would take 1.8 GB
  });

  it("as events: on Bun, those that wait for a handler are not decoded, and all arrive in order", async () => {
    await using bus = await Bus.open(memory(), { namespace: fresh() });
    const gate = Promise.withResolvers<void>();
    const seen: unknown[] = [];
    await bus.subscribe("topic", async (event: unknown) => {
      await gate.promise;
      seen.push(Array.isArray(event) ? event.length : event);
    }).ready;
    const before = process.memoryUsage().rss;
    const sent = Array.from({ length: 40 }, (_, i) => i % 2 ? i : 6_400);
    for (const each of sent) await bus.publish(each === 6_400 ? sparse : each, "topic");
    const grown = process.memoryUsage().rss - before;
    gate.resolve();
    await until("all have arrived", () => seen.length === sent.length);
    assertEquals(seen, sent);
    assert(grown < 500 * 2 ** 20, `waiting events took ${grown} bytes`); // they would take a GB
  });
});
