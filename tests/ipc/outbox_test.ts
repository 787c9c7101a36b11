/** Messages to addresses that a peer chooses. */
import { assertEquals } from "@std/assert";
import { describe, it } from "@std/testing/bdd";
import { GONE, Outbox, type OutboxContext } from "../../src/providers/ipc/outbox.ts";
import { kept } from "../support/spy.ts";

describe("an address that a message from the wire names", () => {
  it("is no key of a table of the engine, whose hashes its peers know", async () => {
    const address = "/pymq_global_$5000000_1_1.0.abc-inbox";
    const failed = Promise.withResolvers<unknown[]>();
    const queues = { use: () => undefined };
    const outbox = new Outbox({ queues } as unknown as OutboxContext);
    const uses = kept(() => {
      outbox.send({ bus: address, queue: address, pymq: false } as Parameters<Outbox["send"]>[0], {
        ...{ topic: "", body: "", sent: () => {} },
        failed: (...reasons) => failed.resolve(reasons),
      });
    });
    assertEquals(uses.filter((use) => typeof use === "string"), []);
    assertEquals(await failed.promise, [address, GONE]); // it was sent at the end of the turn
  });
});
