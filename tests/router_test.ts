import { assert, assertEquals, assertFalse } from "@std/assert";
import { describe, it } from "@std/testing/bdd";
import { stub } from "@std/testing/mock";
import type { Filter } from "../src/provider/provider.ts";
import { filterKey, Router } from "../src/provider/router.ts";
import { kept, spy } from "./support/spy.ts";

/** Returns how many characters are read, one by one, while `act` runs. */
function charactersRead(act: () => void): number {
  const uses: unknown[] = [];
  const end = spy(String.prototype, "charCodeAt", uses);
  try {
    act();
  } finally {
    end();
  }
  return uses.length;
}

const exact = (topic: string): Filter => ({ topic, pattern: false, serves: false });
const pattern = (topic: string): Filter => ({ topic, pattern: true, serves: false });
const served = (topic: string): Filter => ({ topic, pattern: false, serves: true });

describe("Router", () => {
  it("emit() passes an event to every subscription that matches, and returns their number", () => {
    const router = new Router();
    const got: string[] = [];
    const add = (name: string, filter: Filter) =>
      router.add(filter, (topic, body) => void got.push(`${name} ${topic} ${body}`));
    add("one", exact("a"));
    add("other", exact("a"));
    add("star", pattern("a*"));
    add("letter", exact("a*"));
    assertEquals(router.emit("a", "x"), 3);
    assertEquals(got.splice(0), ["one a x", "other a x", "star a x"]);
    assertEquals(router.emit("a*", "x"), 2);
    assertEquals(got.splice(0), ["letter a* x", "star a* x"]);
    assertEquals(router.emit("b", "x"), 0);
    assertEquals([router.emitExact("a", "x"), router.emitPatterns("a", "x")], [2, 1]);
    assertEquals(got, ["one a x", "other a x", "star a x"]);
  });

  it("add() returns a function that removes the subscription, and returns true for the last one of a topic or pattern", () => {
    for (const filter of [exact("t"), pattern("t")]) {
      const router = new Router();
      let count = 0;
      const emit = () => void count++;
      const [first, second] = [router.add(filter, emit), router.add(filter, emit)];
      assertEquals(router.emit("t", "x"), 2);
      assertEquals([first(), first(), second(), second()], [false, false, true, false]);
      const again = router.add(filter, emit);
      assertEquals(second(), false);
      assertEquals(router.emit("t", "x"), 1);
      assertEquals(again(), true);
      assertEquals(router.emit("t", "x"), 0);
      assertEquals(count, 3);
    }
  });

  it("lets an emit remove its own subscription", () => {
    const router = new Router();
    let count = 0;
    const remove = router.add(exact("t"), () => {
      count++;
      remove();
    });
    router.add(exact("t"), () => void count++);
    router.emit("t", "x");
    router.emit("t", "x");
    assertEquals(count, 3);
  });

  it("routes by the transport's names of topics and patterns where add() gets them", () => {
    const router = new Router();
    const got: string[] = [];
    const take = (topic: string, body: string) => void got.push(`${topic} ${body}`);
    router.add(exact("a"), take, "ns:a");
    router.add(served("a"), take, "ns:a");
    router.add(pattern("b*"), take, "ns:b*");
    assertEquals([router.emitExact("ns:a", "x"), router.emitExact("a", "x")], [2, 0]);
    assertEquals([router.emitPattern("ns:b*", "bc", "y"), router.emitPattern("b*", "bc", "y")], [1, 0]);
    assertEquals([router.emitPatterns("bc", "z"), router.emitPatterns("c", "z")], [1, 0]);
    assertEquals(got, ["a x", "a x", "bc y", "bc z"]);
    assertEquals(router.filters("topics"), [["ns:a", [exact("a"), served("a")]]]);
    assertEquals(router.filters("patterns"), [["ns:b*", [pattern("b*")]]]);
  });

  it("passes requests to a server for ten seconds after its end, uncounted, unless another server has subscribed", () => {
    let clock = 0;
    using _ = stub(performance, "now", () => clock);
    const router = new Router();
    const got: string[] = [];
    const add = (name: string, filter: Filter) => router.add(filter, (_, body) => void got.push(`${name} ${body}`));
    add("subscriber", exact("f"))();
    const first = add("first", served("f"));
    assertEquals(first(), true);
    assertEquals(first(), false);
    assertEquals(router.emit("f", "late"), 0);
    const second = add("second", served("f"));
    assertEquals(router.emit("f", "next"), 1);
    second();
    clock = 9_000;
    assertEquals(router.emit("f", "later"), 0);
    clock = 11_000;
    assertEquals(router.emit("f", "too late"), 0);
    assertEquals(got, ["first late", "second next", "second later"]);
    assertEquals(router.filters("topics"), []);
  });

  it("passes on nothing after the end if no request can arrive late", () => {
    const router = new Router({ late: false });
    let count = 0;
    assertEquals(router.add(served("f"), () => void count++)(), true);
    router.emit("f", "x");
    assertEquals(count, 0);
  });

  it("filterKey() returns different keys for filters that differ in any field", () => {
    const filters = ["t", "*t", "!t", ".t"].flatMap((topic) =>
      [true, false].flatMap((pattern) => [true, false].map((serves): Filter => ({ topic, pattern, serves })))
    );
    assertEquals(new Set(filters.map(filterKey)).size, filters.length);
    assertEquals(filterKey(exact("t")), filterKey(exact("t")));
  });

  it("compares a topic that follows itself with the patterns once, until a subscription to a pattern changes", () => {
    const router = new Router();
    const topic = `orders${"/".repeat(4_000)}`;
    const got: string[] = [];
    const add = (glob: string) => router.add(pattern(glob), (topic) => void got.push(`${glob} ${topic.length}`));
    const emit = (times: number) => {
      for (let i = 0; i < times; i++) router.emit(topic, "x");
    };
    add("orders/*/created");
    add("orders*");
    const once = charactersRead(() => emit(1));
    assert(once > 4_000);
    assertEquals(charactersRead(() => emit(999)), 0);
    assertEquals(got.splice(0), Array(1_000).fill("orders* 4006"));
    const remove = add("*//");
    emit(2);
    assertEquals(got.splice(0), ["orders* 4006", "*// 4006", "orders* 4006", "*// 4006"]);
    remove();
    emit(1);
    router.emit("orders", "x");
    assertEquals(got, ["orders* 4006", "orders* 6"]);
  });

  it("compares a topic in a limited number of steps, and reports each event beyond them, if it can", () => {
    const codes: unknown[] = [];
    const [limited, unlimited] = [new Router({ refuse: ({ code }) => void codes.push(code) }), new Router()];
    const topic = "a".repeat(1_000_000);
    const counts = [limited, unlimited].map((router) => {
      router.add(exact(topic), () => {});
      router.add(pattern("a*"), () => {});
      for (let i = 0; i < 5; i++) router.add(pattern(`*a${i}`), () => {});
      const first = router.emit(topic, "x");
      assertEquals(charactersRead(() => router.emitPatterns(topic, "x")), 0); // refused or not
      return first;
    });
    assertEquals([counts, codes], [[1, 2], ["too_large", "too_large"]]);
    assertEquals(limited.emit("a", "x"), 1);
  });

  it("searches no map of the engine for the topic of an event, which a peer may have chosen to collide with others", () => {
    const router = new Router();
    router.add(exact("a"), () => {});
    router.add(served("f"), () => {})(); // its requests may arrive late
    assertFalse(kept(() => router.emit("chosen", "1")).includes("chosen"));
  });
});
