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

  it("need one listener of the signal itself, which goes with the last of them", () => {
    const { signal } = new AbortController();
    const [add, remove] = [signal.addEventListener.bind(signal), signal.removeEventListener.bind(signal)];
    let [added, removed] = [0, 0];
    signal.addEventListener = (...args: Parameters<typeof add>) => {
      added++;
      add(...args);
    };
    signal.removeEventListener = (...args: Parameters<typeof remove>) => {
      removed++;
      remove(...args);
    };
    for (const most of [1, 2]) {
      const stops = Array.from({ length: 100 }, () => onAbort(signal, () => {}));
      assertEquals([added, removed], [most, most - 1]);
      for (const stop of [...stops, ...stops]) stop();
      assertEquals([added, removed], [most, most]);
    }
  });
});
