/** Texts that nobody has verified become keys of no table of the engine, where texts with one hash make each access slow. */
import { assertEquals } from "@std/assert";
import { describe, it } from "@std/testing/bdd";
import { SignedEnvelopes } from "../src/keys/signed_envelopes.ts";
import { Leases } from "../src/port/leases.ts";
import { LostLeases } from "../src/port/lost_leases.ts";
import { Timers } from "../src/port/timers.ts";
import { GroupPuts } from "../src/provider/group_puts.ts";
import type { Receiver } from "../src/provider/provider.ts";
import { Errno } from "../src/providers/ipc/errno.ts";
import { MessageQueues } from "../src/providers/ipc/mqueues.ts";
import { Names } from "../src/providers/ipc/names.ts";
import type { Posix } from "../src/providers/ipc/posix.ts";
import { ownText } from "../src/internal/utf8.ts";
import { kept } from "./support/spy.ts";

const CHOSEN = "chosen";

function assertUnused(work: () => unknown): void {
  assertEquals(kept(work).filter((use) => String(use).includes(CHOSEN)), []);
}

describe("A text that a peer chooses is not a key of the engine's tables:", () => {
  it("the queue of a group", async () => {
    const groups = new GroupPuts({
      read: () => Promise.resolve([`=topic\0${CHOSEN}`, `*t*\0${CHOSEN}2`]),
      put: () => Promise.resolve(),
    });
    await groups.begin("topic", "1").put;
    assertUnused(() => groups.begin("topic", "1"));
    const names = new Names("n");
    const queues = new MessageQueues({ openQueue: () => -Errno.ENOENT } as unknown as Posix, names, {});
    assertUnused(() => queues.use(names.queue(CHOSEN)));
  });

  it("the receipt of an item", () => {
    const receiver = {
      start: () => Promise.resolve([true]),
      settle: () => Promise.resolve([true]),
    } as unknown as Receiver;
    const leases = new Leases(receiver, new Timers(), () => {});
    const lost = new LostLeases();
    assertUnused(() => {
      leases.hold("q", 60_000, [{ receipt: CHOSEN, body: "", attempt: 1 }]);
      leases.start("q", [CHOSEN]);
      leases.settle("q", [CHOSEN], "ack", 0);
      lost.lose("q", [CHOSEN]);
      lost.watch(0, "q", CHOSEN, () => {})();
      lost.watch(0, "q", `${CHOSEN}2`, () => {});
      lost.loseAll();
    });
    leases.stop();
  });

  it("a text with a lone surrogate, of which a copy is made", () => {
    for (const text of [`${CHOSEN}\ud800`, `\udc00${CHOSEN}\u{1f600}`.repeat(1_000)]) {
      assertUnused(() => assertEquals(ownText(text), text));
    }
  });

  it("the inbox of a registered server", () => {
    const envelopes = new SignedEnvelopes("n", [{ id: "k", secret: "s".repeat(32) }], false);
    assertUnused(() => envelopes.seal("inbox", CHOSEN, "1"));
  });
});
