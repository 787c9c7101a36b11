import { assertEquals, assertRejects } from "@std/assert";
import { describe, it } from "@std/testing/bdd";
import { UNSIGNED } from "../../src/codec/envelope.ts";
import type { Core } from "../../src/core.ts";
import { type BusError, ProviderError } from "../../src/errors.ts";
import { LeaseWatch, LostLeases } from "../../src/port/lost_leases.ts";
import { Deliveries } from "../../src/queue/deliveries.ts";

/** The texts that are sent by a transport that accepts up to `max` characters, or always rejects with this error. */
function deliveries(error?: BusError, max = 100) {
  const sent: [queue: string, text: string][] = [];
  const settled: string[] = [];
  const leases = new LostLeases();
  const core = {
    report: () => {},
    codec: { maxBody: max },
    envelopes: UNSIGNED,
    sender: {
      send: (queue: string, text: string) => {
        if (error) return Promise.reject(error);
        if (text.length > max) return Promise.reject(new ProviderError("too_large", "too large"));
        sent.push([queue, text]);
        return Promise.resolve();
      },
    },
    link: {
      leases,
      settle: (_queue: string, _receipts: string[], outcome: string) => {
        settled.push(outcome);
        return Promise.resolve([true]);
      },
    },
    activity: { taken: () => {} },
  } as unknown as Core;
  const watch = new LeaseWatch(leases, "jobs", "1");
  const all = new Deliveries("jobs", undefined, core);
  const delivery = { receipt: "1", body: "", attempt: 1, started: false, item: "", watch };
  const move = (body: string, fault = new Error("fault")) =>
    all.moveToDeadLetters({ ...delivery, body }, false, fault, "jobs.dead");
  const giveBack = () => all.giveBack(delivery, new Error("fault"));
  return { sent, settled, move, giveBack, watch, leases };
}

describe("Deliveries", () => {
  it("puts an item as it is into the dead-letter queue if its letter is too large for the transport", async () => {
    const { sent, settled, move } = deliveries();
    const body = '"'.repeat(90); // a letter has two characters for each
    await move(body);
    assertEquals(sent, [["jobs.dead", body]]);
    assertEquals(settled, ["ack"]);
  });

  it("puts an item with the beginning of the class and of the message of an error that has long ones", async () => {
    const { sent, move } = deliveries(undefined, 10_000);
    await move("item", Object.assign(new Error("m".repeat(100_000)), { name: "n".repeat(100_000) }));
    const [[, text]] = sent as [[string, string]];
    assertEquals([text.match(/n{5,}/)?.[0].length, text.match(/m{5,}/)?.[0].length], [4_096, 4_096]);
  });

  it("keeps an item whose letter could not be put for another reason", async () => {
    const { settled, move } = deliveries(new ProviderError("unavailable", "no connection"));
    await assertRejects(() => move("?"), ProviderError, "no connection");
    assertEquals(settled, []);
  });

  it("does not watch the lease of an item any more that it has given back: nothing else would end that", async () => {
    const { settled, giveBack, watch, leases } = deliveries();
    await giveBack();
    leases.loseAll();
    assertEquals([settled, watch.signal.aborted], [["untried"], false]);
  });
});
