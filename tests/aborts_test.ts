/** Listeners of an abort signal that many operations share. */
import { assertEquals } from "@std/assert";
import { describe, it } from "@std/testing/bdd";
import { onAbort } from "../src/internal/aborts.ts";

describe("the listeners of an abort signal", () => {
  it("are called once, in order, unless they were removed, also by one that is called", () => {
    const controller = new AbortController();
    const { signal } = controller;
    const called: string[] = [];
    const stops: (() => void)[] = ["a", "b", "c", "d"].map((name) =>
      onAbort(signal, () => {
        called.push(name);
        stops[2]!();
      })
    );
    stops[1]!();
    controller.abort();
    controller.abort();
    assertEquals(called, ["a", "d"]);
  });

  it("need one listener of the signal itself, however many there are", () => {
    const { signal } = new AbortController();
    const add = signal.addEventListener.bind(signal);
    let added = 0;
    signal.addEventListener = (...args: Parameters<typeof add>) => {
      added++;
      add(...args);
    };
    for (let i = 0; i < 100; i++) onAbort(signal, () => {})();
    assertEquals(added, 1);
  });
});
