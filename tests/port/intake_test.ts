import { assertEquals, assertRejects } from "@std/assert";
import { describe, it } from "@std/testing/bdd";
import { ProviderError } from "../../src/errors.ts";
import { Intake } from "../../src/port/intake.ts";
import { Leases } from "../../src/port/leases.ts";
import type { Timers } from "../../src/port/timers.ts";
import type { Delivery, ReceiveOptions, Receiver } from "../../src/provider/provider.ts";
import { until } from "../support/until.ts";

const THREE: Delivery[] = ["1", "2", "3"].map((body) => ({ receipt: `receipt ${body}`, body, attempt: 1 }));

/** An intake whose receiver answers when `answer` is called, and whose timers fire when their `act` is called. */
function intake(lease?: number) {
  const timers: { readonly ms: number; readonly act: () => void }[] = [];
  const after = (ms: number, act: () => void) => {
    timers.push({ ms, act });
    return () => {};
  };
  const answers: ((deliveries: Delivery[] | Promise<never>) => void)[] = [];
  const back: unknown[] = [];
  const signals: AbortSignal[] = [];
  const asked: number[] = [];
  const receiver = {
    receive: (_queue: string, { max, signal }: ReceiveOptions) => {
      asked.push(max);
      signals.push(signal);
      return new Promise<Delivery[]>((resolve) => answers.push(resolve));
    },
    restore: (_queue: string, items: Delivery[]) => {
      back.push(items.map(({ body }) => body));
      return Promise.resolve();
    },
    settle: (_queue: string, receipts: string[], outcome: string) => {
      back.push([outcome, ...receipts]);
      return Promise.resolve(receipts.map(() => true));
    },
  } as unknown as Receiver;
  const idle = Promise.withResolvers<void>();
  const both = { after } as unknown as Timers;
  const made = new Intake(receiver, new Leases(receiver, both, () => {}), both, "queue", lease, idle.resolve);
  const answer = (items: Delivery[] | Promise<never>) => answers.shift()!(items);
  const asks = (what: string) => until(`${what} asks`, () => answers.length === 1);
  return { intake: made, timers, answer, asks, asked, signals, back, idle: idle.promise };
}

describe("Intake", () => {
  it("receives for all gets of one turn at once", async () => {
    const { intake: gets, answer, asks, asked, idle } = intake();
    const got = [1, 2, 3].map((id) => gets.take(id, 1, Infinity));
    await asks("each get");
    answer(THREE);
    assertEquals((await Promise.all(got)).flat(), THREE);
    await idle;
    assertEquals(asked, [3]);
  });

  it("ends a get without an item when its time has passed, neither sooner nor later", async () => {
    const { intake: gets, timers, answer, asks, idle } = intake();
    const got = gets.take(1, 1, 150);
    assertEquals(timers.map(({ ms }) => ms), [150]);
    await asks("the get");
    timers[0]!.act();
    assertEquals(await got, []);
    answer([]);
    await idle;
  });

  for (const [lease, expected] of [[undefined, ["2", "3"]], [1_000, ["untried", "receipt 2", "receipt 3"]]] as const) {
    it(`gives back items for a get that has ended: ${lease ? "with a lease" : "without a lease"}`, async () => {
      const { intake: gets, answer, asks, back, idle } = intake(lease);
      const goes = gets.take(1, 2, Infinity);
      const stays = gets.take(2, 1, Infinity);
      await asks("each get");
      gets.cancel(1);
      assertEquals(await goes, []);
      answer(THREE);
      assertEquals((await stays).map(({ body }) => body), ["1"]);
      await idle;
      assertEquals(back, [expected]);
    });
  }

  it("does not cancel a call that does not wait for another get that does not wait, because it would return no item", async () => {
    const { intake: gets, answer, asks, signals, idle } = intake();
    const first = gets.take(1, 1, 0);
    await asks("the first get");
    const second = gets.take(2, 1, 0);
    assertEquals(signals.map(({ aborted }) => aborted), [false]);
    answer(THREE.slice(0, 1));
    assertEquals((await first).map(({ body }) => body), ["1"]);
    await asks("the second get");
    answer(THREE.slice(1, 2));
    assertEquals((await second).map(({ body }) => body), ["2"]);
    await idle;
    const third = gets.take(3, 1, 60_000);
    await asks("the third get");
    const fourth = gets.take(4, 1, 0);
    assertEquals(signals.map(({ aborted }) => aborted), [false, false, true]);
    answer([]);
    await asks("the fourth get");
    answer([]);
    assertEquals(await fourth, []);
    await asks("the third get again");
    answer(THREE.slice(2));
    assertEquals((await third).map(({ body }) => body), ["3"]);
  });

  for (const again of [true, false]) {
    const state = again ? "reachable again" : "not reachable yet";
    it(`rejects a get only if the transport is unreachable when its time has passed: ${state}`, async () => {
      const { intake: gets, timers, answer, asks, idle } = intake();
      const got = gets.take(1, 1, 60_000);
      await asks("the get");
      answer(Promise.reject(new ProviderError("unavailable", "on purpose")));
      await until("it pauses", () => timers.length === 2);
      if (again) {
        timers[1]!.act();
        await asks("the get again");
        // this call waits at the transport: it would have failed if that was unreachable
        timers[0]!.act();
        assertEquals(await got, []);
        answer([]);
      } else {
        timers[0]!.act();
        await assertRejects(() => got, ProviderError, "on purpose");
        timers[1]!.act();
      }
      await idle;
    });
  }
});
