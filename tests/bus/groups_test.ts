/** Groups while the worker of their buses dies. */
import { assertEquals } from "@std/assert";
import { describe, it } from "@std/testing/bdd";
import { Bus } from "../../mod.ts";
import { until } from "../support/until.ts";
import { faulty } from "./faulty.ts";

describe("a group whose worker dies", () => {
  it("is bound again in the new worker, and its members continue", async () => {
    const { provider, fault } = faulty();
    await using publisher = await Bus.open(provider);
    await using bus = await Bus.open(provider);
    const gaps: string[] = [];
    bus.addEventListener("gap", ({ detail }) => gaps.push(detail.reason));
    for (const each of [publisher, bus]) each.addEventListener("error", () => {});
    const seen: [unknown, number | undefined][] = [];
    const member = bus.subscribe("orders", (event, { attempt }) => void seen.push([event, attempt]), { group: "g" });
    await member.ready;
    await publisher.publish(1, "orders");
    await until("the first event is handled", () => seen.length === 1);
    fault("throw");
    await until("the buses are up again", () => [bus, publisher].every((each) => each.health().restarts === 1), 30_000);
    await until("they have everything again", () => [bus, publisher].every((each) => each.health().state === "up"));
    await publisher.publish(2, "orders");
    await until("the second event is handled", () => seen.length === 2);
    assertEquals(seen, [[1, 1], [2, 1]]);
    assertEquals(gaps.length, 1); // the stored events of a broker in the worker are lost with it
    await member.free();
    await publisher.publish(3, "orders");
    assertEquals(await publisher.queue("orders@g").qsize(), 0);
  });
});
