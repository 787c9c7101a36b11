/**
 * What every command has: a bus from a URL, flags, and an end by Ctrl-C.
 *
 * @module
 */
import type { FlagParametersForType } from "@stricli/core";
import process from "node:process";
import { Bus } from "../mod.ts";
import { ValidationError } from "../src/errors.ts";
import { messageOf, whileRead } from "./io.ts";
import { transportFor } from "./urls.ts";

/** Flags of every command that opens a bus. */
export interface BusFlags {
  readonly namespace: string;
}

/** How {@linkcode BusFlags} are given. */
export const BUS_FLAGS: FlagParametersForType<BusFlags> = {
  namespace: {
    kind: "parsed",
    parse: String,
    brief: "The namespace of the bus",
    placeholder: "name",
    default: "global",
  },
};

/** The first argument of every command. */
export const URL_ARGUMENT = {
  parse: String,
  brief: "Which transport: redis://host, unix:///socket, aws:region, ipc:, memory: (see `tsmq --help`)",
  placeholder: "url",
  proposeCompletions: (partial: string): string[] =>
    ["redis://localhost", "aws:", "ipc:", "memory:"].filter((url) => url.startsWith(partial)),
} as const;

/** A number of at least `least`, as stricli parses flags. */
export function number(least = 0): (text: string) => number {
  return (text) => {
    const value = Number(text);
    if (text.trim() !== "" && value >= least) return value;
    throw new ValidationError(`must be a number of at least ${least}`);
  };
}

/** How many: a whole number of at least 1, or `Infinity`. */
export function count(text: string): number {
  const value = number(1)(text);
  if (Number.isInteger(value) || value === Infinity) return value;
  throw new ValidationError("must be a whole number");
}

/** Runs a command on a bus, which it closes; the signal aborts with Ctrl-C. */
export async function withBus(
  url: string,
  { namespace }: BusFlags,
  run: (bus: Bus, signal: AbortSignal) => Promise<void>,
): Promise<void> {
  using interrupts = interrupted();
  await using bus = await Bus.open(await transportFor(url).provider(), { namespace });
  // a handler's fault is one line, not the console's picture of an error
  bus.addEventListener("error", (event) => say(messageOf((event as ErrorEvent).error)));
  await whileRead(() => run(bus, interrupts.signal));
}

/** Writes a line to standard error. */
export function say(text: string): void {
  process.stderr.write(`tsmq: ${text}\n`);
}

/** Aborts at Ctrl-C or SIGTERM; a second one ends the process at once. */
function interrupted(): Disposable & { readonly signal: AbortSignal } {
  const controller = new AbortController();
  const end = () => controller.signal.aborted ? process.exit(130) : controller.abort();
  process.on("SIGINT", end).on("SIGTERM", end);
  return {
    signal: controller.signal,
    [Symbol.dispose]: () => void process.off("SIGINT", end).off("SIGTERM", end),
  };
}
