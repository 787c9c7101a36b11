import { assertEquals, assertRejects } from "@std/assert";
import { describe, it } from "@std/testing/bdd";
import { UNSIGNED } from "../../src/codec/envelope.ts";
import type { Core } from "../../src/core.ts";
import { type BusError, ProviderError } from "../../src/errors.ts";
import { LeaseWatch, LostLeases } from "../../src/port/lost_leases.ts";
import { Deliveries } from "../../src/queue/deliveries.ts";

/** The texts that are sent by a transport that accepts up to 100 characters, or always rejects with this error. */
function deliveries(error?: BusError) {
  const sent: [queue: string, text: string][] = [];
  const settled: string[] = [];
  const core = {
    codec: { maxBody: 100 },
    envelopes: UNSIGNED,
    sender: {
      send: (queue: string, text: string) => {
        if (error) return Promise.reject(error);
        if (text.length > 100) return Promise.reject(new ProviderError("too_large", "too large"));
        sent.push([queue, text]);
        return Promise.resolve();
      },
    },
    link: {
      settle: (_queue: string, _receipts: string[], outcome: string) => {
        settled.push(outcome);
        return Promise.resolve([true]);
      },
    },
    activity: { taken: () => {} },
  } as unknown as Core;
  const watch = new LeaseWatch(new LostLeases(), "jobs", "1");
  const move = (body: string) => {
    const delivery = { receipt: "1", body, attempt: 1, started: false, item: "", watch };
    return new Deliveries("jobs", undefined, core).moveToDeadLetters(delivery, false, new Error("fault"), "jobs.dead");
  };
  return { sent, settled, move };
}

describe("Deliveries", () => {
  it("puts an item as it is into the dead-letter queue if its letter is too large for the transport", async () => {
    const { sent, settled, move } = deliveries();
    const body = '"'.repeat(90); // a letter has two characters for each
    await move(body);
    assertEquals(sent, [["jobs.dead", body]]);
    assertEquals(settled, ["ack"]);
  });

  it("keeps an item whose letter could not be put for another reason", async () => {
    const { settled, move } = deliveries(new ProviderError("unavailable", "no connection"));
    await assertRejects(() => move("?"), ProviderError, "no connection");
    assertEquals(settled, []);
  });
});
