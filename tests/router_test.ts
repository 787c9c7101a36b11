import { assertEquals, assertFalse } from "@std/assert";
import { describe, it } from "@std/testing/bdd";
import { stub } from "@std/testing/mock";
import type { Filter } from "../src/provider/provider.ts";
import { filterKey, Router } from "../src/provider/router.ts";
import { kept } from "./support/spy.ts";

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

  it("searches no map of the engine for the topic of an event, which a peer may have chosen to collide with others", () => {
    const router = new Router();
    router.add(exact("a"), () => {});
    router.add(served("f"), () => {})(); // its requests may arrive late
    assertFalse(kept(() => router.emit("chosen", "1")).includes("chosen"));
  });
});
