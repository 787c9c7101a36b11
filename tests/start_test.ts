/** The start of a program: from its import to its first event and call. These tests hold what once made it slow. */
import { assertEquals } from "@std/assert";
import { describe, it } from "@std/testing/bdd";
import { Bus, memory } from "../mod.ts";
import { skip } from "./support/skip.ts";

/** Runs code, and returns where files of `src/` read the global `process` meanwhile. */
async function usesOfProcess(act: () => Promise<void>): Promise<string[]> {
  const own = Object.getOwnPropertyDescriptor(globalThis, "process")!;
  const uses: string[] = [];
  Object.defineProperty(globalThis, "process", {
    configurable: true,
    get: () => {
      uses.push(...new Error().stack!.split("\n").filter((line) => line.includes("/src/")).slice(0, 1));
      return own.get ? own.get.call(globalThis) : own.value;
    },
  });
  try {
    await act();
  } finally {
    Object.defineProperty(globalThis, "process", own);
  }
  return uses;
}

describe("the start of a program", () => {
  const name = "handles events and calls without the global `process`, whose first use takes 10 ms on Deno";
  if (!("Deno" in globalThis)) return skip(name, "Bun has it from the start");

  it(name, async () => {
    const uses = await usesOfProcess(async () => {
      const bus = await Bus.open(memory());
      const { promise, resolve } = Promise.withResolvers<unknown>();
      await bus.subscribe("news", resolve).ready;
      await bus.publish("hello", "news");
      assertEquals(await promise, "hello");
      await bus.expose("add", (a: number, b: number) => a + b);
      assertEquals(await bus.stub("add")(1, 2), 3);
      await bus.close();
    });
    assertEquals(uses, []);
  });
});
