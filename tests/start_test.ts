/** The start of a program: from its import to its first event and call. These tests hold what once made it slow. */
// run: kernel-queues
import { assertEquals, assertRejects } from "@std/assert";
import { describe, it } from "@std/testing/bdd";
import { Bus, memory, ProviderError, ValidationError } from "../mod.ts";
import { ipc } from "../src/providers/ipc/provider.ts";
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

async function handleEvent(bus: Bus): Promise<void> {
  const { promise, resolve } = Promise.withResolvers<unknown>();
  await bus.subscribe("news", resolve).ready;
  await bus.publish("hello", "news");
  assertEquals(await promise, "hello");
}

async function handleCall(bus: Bus): Promise<void> {
  await bus.expose("add", (a: number, b: number) => a + b);
  assertEquals(await bus.stub("add")(1, 2), 3);
}

describe("the start of a program", () => {
  const why = "without the global `process`, whose first use takes 10 ms on Deno";
  // calls over IPC need SHA-256
  for (
    const [what, provider, acts] of [
      ["events and calls over memory", memory(), [handleEvent, handleCall]],
      ["events over IPC", ipc(), [handleEvent]],
    ] as const
  ) {
    const name = `handles ${what} ${why}`;
    if (!("Deno" in globalThis)) {
      skip(name, "Bun has it from the start");
    } else if (provider.name === "ipc" && Deno.build.os !== "linux") {
      skip(name, "POSIX message queues are there on Linux only");
    } else {
      it(name, async () => {
        const uses = await usesOfProcess(async () => {
          const bus = await Bus.open(provider, { namespace: `start-${crypto.randomUUID()}` });
          for (const act of acts) await act(bus);
          await bus.close();
        });
        assertEquals(uses, []);
      });
    }
  }
});

describe("the worker of a bus", () => {
  it("rejects the opening with the error of a receiver whose module cannot be loaded", async () => {
    const worker = new URL("./support/broken_worker.ts", import.meta.url);
    const error = await assertRejects(() => Bus.open(memory({ worker })), ProviderError, "the receiver is broken");
    assertEquals([error.code, error.retryable, error.message.split(":")[0]], [
      "unavailable",
      false,
      'Cannot load the worker of "memory"',
    ]);
  });

  it("is not started for options that are invalid", async () => {
    const { Worker } = globalThis;
    let started = 0;
    globalThis.Worker = class extends Worker {
      constructor(...args: ConstructorParameters<typeof Worker>) {
        super(...args);
        started++;
      }
    };
    try {
      await assertRejects(() => Bus.open(memory(), { timeout: -1 }), ValidationError, "timeout");
      assertEquals(started, 0);
      await (await Bus.open(memory())).close();
      assertEquals(started, 1);
    } finally {
      globalThis.Worker = Worker;
    }
  });
});
