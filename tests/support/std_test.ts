import { assert, assertEquals, assertRejects, assertThrows } from "@std/assert";
import { afterEach, beforeAll, beforeEach, describe, it } from "@std/testing/bdd";
import { assertSpyCall, assertSpyCalls, spy, stub } from "@std/testing/mock";
import { FakeTime } from "@std/testing/time";
import { assertType, type IsExact } from "@std/testing/types";

describe("the part of @std that the tests use", () => {
  let count = 0;
  beforeAll(() => {
    count = 10;
  });
  beforeEach(() => {
    count++;
  });
  afterEach(async () => {
    await Promise.resolve();
    count += 100;
  });

  it("hooks run around each test", () => assertEquals(count, 11));

  describe("groups", () => {
    it("inherit hooks", () => assertEquals(count, 112));
  });

  it("FakeTime holds Date and the timers", async () => {
    using time = new FakeTime(0);
    const ran: string[] = [];
    setTimeout(() => ran.push("later"), 1_000);
    const sooner = new Promise<void>((resolve) => setTimeout(resolve, 500)).then(() => ran.push("sooner"));
    await time.tickAsync(999);
    assertEquals(ran, ["sooner"]);
    time.tick(1);
    assertEquals(ran, ["sooner", "later"]);
    assertEquals(Date.now(), 1_000);
    await sooner;
  });

  it("spies keep calls; a stub gives the method back", () => {
    const double = spy((value: number) => value * 2);
    double(2);
    assertSpyCalls(double, 1);
    assertSpyCall(double, 0, { args: [2], returned: 4 });
    const target = { method: (text: string) => text };
    {
      using replaced = stub(target, "method", () => "stub");
      assertEquals(target.method("own"), "stub");
      assertSpyCall(replaced, 0, { args: ["own"] });
    }
    assertEquals(target.method("own"), "own");
  });

  it("assertions fail, and narrow types", async () => {
    assertThrows(() => assertEquals<unknown>({ a: 1 }, { a: 2 }));
    await assertRejects(() => assertRejects(() => Promise.resolve()));
    const error = await assertRejects(() => Promise.reject(new TypeError("bad")), TypeError, "ba");
    assertType<IsExact<typeof error, TypeError>>(true);
    const value: unknown = 1;
    assert(typeof value === "number");
    assertType<IsExact<typeof value, number>>(true);
  });
});
