/** A worker of any provider that fails in the way that a test chooses. */
import process from "node:process";
import { serve } from "../../../src/port/host.ts";
import type { OpenReceiver, Receiver } from "../../../src/provider/provider.ts";

/** The ways in which a worker can end, or stop working. */
export type Fault = "throw" | "reject" | "exit" | "hang";

serve(async (context): Promise<Receiver> => {
  const { opening, of } = context.options as { opening?: "hang" | "throw"; of: string };
  if (opening === "hang") await new Promise(() => {});
  if (opening === "throw") setTimeout(() => raise(), 0);
  const { openReceiver } = await import(`../../../src/providers/${of}/receiver.ts`) as { openReceiver: OpenReceiver };
  const receiver = await openReceiver(context);
  const { askHandler } = receiver;
  return Object.assign(receiver, {
    askHandler: {
      answer: (verb: string, argument: unknown) =>
        verb === "fault" ? fail(argument as Fault) : askHandler?.answer(verb, argument),
    },
  });
});

function fail(fault: Fault): Promise<never> {
  switch (fault) {
    case "throw":
      setTimeout(() => raise(), 0);
      break;
    case "reject":
      void Promise.reject(new Error("the worker rejected"));
      break;
    case "exit":
      (globalThis as { close?: () => void }).close?.(); // Deno's way
      process.exit(); // and Bun's
      break;
    case "hang":
      for (const sleeper = new Int32Array(new SharedArrayBuffer(4));;) Atomics.wait(sleeper, 0, 0, 20); // spinning takes a core
  }
  return new Promise(() => {});
}

function raise(): never {
  throw new Error("the worker threw");
}
