import { assert, assertEquals, assertRejects } from "@std/assert";
import { describe, it } from "@std/testing/bdd";
import { Bus, memory, TimeoutError } from "../../mod.ts";

/** Runs work with a shifted clock of this machine while it starts, and returns its result. */
function withClock<T>(ahead: number, work: () => T): T {
  const now = Date.now;
  Date.now = () => now() + ahead;
  try {
    return work();
  } finally {
    Date.now = now;
  }
}

describe("clocks that differ", () => {
  for (const ahead of [-50_000, 50_000, 86_400_000]) {
    it(`a call is answered though the caller's clock is ${ahead / 1_000} s ahead of its server's`, async () => {
      await using bus = await Bus.open(memory());
      await bus.expose("echo", (n: number) => n);
      const echo = bus.stub<(n: number) => number>("echo", { timeout: 5_000 });
      assertEquals(await withClock(ahead, () => echo(1)), 1);
      const all = bus.stub<(n: number) => number>("echo", { timeout: 5_000, multi: true });
      assertEquals(await withClock(ahead, () => all(1)), [{ status: "fulfilled", value: 1 }]);
    });
  }

  it("a call whose deadline has long passed by the server's clock is refused immediately, and both sides report it", async () => {
    await using bus = await Bus.open(memory());
    const errors: unknown[] = [];
    bus.addEventListener("error", (event) => errors.push(event.error));
    let served = 0;
    await bus.expose("echo", () => served++);
    const call = () => withClock(-3_600_000, () => bus.stub("echo", { timeout: 3_000_000 })());
    const error = await assertRejects(call, TimeoutError);
    const why = "by its server's clock the deadline has passed, or the call was made in the future";
    assertEquals(error.message, `Cannot call "echo": ${why}`);
    const multi = await withClock(-3_600_000, () => bus.stub("echo", { timeout: 3_000_000, multi: true })());
    assert(multi.length === 1 && multi[0]!.status === "rejected" && multi[0]!.reason instanceof TimeoutError);
    assertEquals([served, errors.length, errors[0] instanceof TimeoutError], [0, 2, true]);
  });
});
