/**
 * The parts that all commands share: a bus from a URL, flags, and Ctrl-C.
 *
 * @module
 */
import type { FlagParametersForType } from "@stricli/core";
import process from "node:process";
import { Bus, type BusOptions } from "../mod.ts";
import { UnsupportedError, ValidationError } from "../src/errors.ts";
import type { Admin } from "../src/provider/admin.ts";
import type { Provider } from "../src/provider/provider.ts";
import { printable } from "../src/internal/printable.ts";
import { environment } from "./environment.ts";
import { messageOf, whileRead } from "./io.ts";
import { readKeys } from "./keys.ts";
import { clearBar } from "./progress.ts";
import { providerFor } from "./urls.ts";

/** The flags of every command that opens a bus. */
export interface BusFlags {
  readonly namespace: string;
  readonly keys?: string;
}

/** The parsers of {@linkcode BusFlags}. */
export const BUS_FLAGS: FlagParametersForType<BusFlags> = {
  namespace: {
    kind: "parsed",
    parse: String,
    brief: "The namespace of the bus",
    placeholder: "name",
    default: environment("TSMQ_NAMESPACE") ?? "global",
  },
  keys: {
    kind: "parsed",
    parse: String,
    brief: "A file with the keys of the bus (see `tsmq --help`); default: TSMQ_KEYS_FILE",
    placeholder: "file",
    optional: true,
  },
};

/** The flag of the commands that print a table. */
export const JSON_FLAG = {
  kind: "boolean",
  brief: "Print one JSON object a line, for programs",
  default: false,
  withNegated: false,
} as const;

/** An argument that is the name of a queue. */
export const QUEUE_ARGUMENT = { parse: String, brief: "The queue", placeholder: "queue" } as const;

/** The first argument of every command. */
export const URL_ARGUMENT = {
  parse: String,
  brief: "Which transport: redis://host, unix:///socket, aws:region, ipc:, memory: (see `tsmq --help`)",
  placeholder: "url",
  proposeCompletions: (partial: string): string[] =>
    ["redis://localhost", "aws:", "ipc:", "memory:"].filter((url) => url.startsWith(partial)),
} as const;

/** Returns a parser for flags that are a number of at least `least`. */
export function number(least = 0): (text: string) => number {
  return (text) => {
    const value = Number(text);
    if (text.trim() !== "" && value >= least) return value;
    throw new ValidationError(`must be a number of at least ${least}`);
  };
}

/** Parses a count: a whole number of at least 1, or `Infinity`. */
export function count(text: string): number {
  const value = number(1)(text);
  if (Number.isInteger(value) || value === Infinity) return value;
  throw new ValidationError("must be a whole number");
}

/** Returns the provider for a URL. For `memory:`, it prints that no other process can use this transport, so the command finds nothing. */
export async function openProvider(url: string): Promise<Provider> {
  const provider = await providerFor(url);
  if (provider.name === "memory") {
    say("memory: connects only buses of one process; use redis://, ipc: or aws: to reach other processes");
  }
  return provider;
}

/**
 * The options of a command: it does not wait for its transport. The option is passed although it is the default, so that no error suggests
 * it.
 */
export const ONCE = { waitOnFirstConnect: false } as const;

/** Opens a bus, runs a command on it, and closes it. The signal aborts on Ctrl-C. */
export async function withBus(
  url: string,
  { namespace, keys }: BusFlags,
  run: (bus: Bus, signal: AbortSignal, provider: Provider) => Promise<void>,
): Promise<void> {
  using interrupts = interrupted();
  const provider = await openProvider(url);
  await using bus = await Bus.open(provider, { namespace, ...await keysOf({ keys }), ...ONCE });
  // one line, where the bus itself would print the error with its stack
  bus.addEventListener("error", (event) => say(messageOf(event.error)));
  await whileRead(() => run(bus, interrupts.signal, provider));
}

/** Reads the keys of the bus from the file that the flag or the environment names. */
export function keysOf({ keys }: Pick<BusFlags, "keys">): Promise<Pick<BusOptions, "keys" | "encrypt">> {
  return readKeys(keys ?? environment("TSMQ_KEYS_FILE"));
}

/** Opens the admin of a namespace, runs a command on it, and closes it. The signal aborts on Ctrl-C. */
export async function withAdmin(
  url: string,
  { namespace }: BusFlags,
  run: (admin: Admin, provider: Provider) => Promise<void>,
): Promise<void> {
  using _interrupts = interrupted();
  const provider = await openProvider(url);
  const admin = await openAdmin(provider, namespace);
  try {
    await whileRead(() => run(admin, provider));
  } finally {
    await admin.close();
  }
}

/** Opens a bus and the admin of its namespace, if the transport has one, runs a command on them, and closes them. */
export async function withBusAndAdmin(
  url: string,
  flags: BusFlags,
  run: (bus: Bus, admin: Admin | undefined, signal: AbortSignal, provider: Provider) => Promise<void>,
): Promise<void> {
  await withBus(url, flags, async (bus, signal, provider) => {
    const admin = await provider.admin?.open(flags.namespace);
    try {
      await run(bus, admin, signal, provider);
    } finally {
      await admin?.close();
    }
  });
}

/** Opens the admin of a namespace. */
export async function openAdmin({ name, admin }: Provider, namespace: string): Promise<Admin> {
  if (admin) return await admin.open(namespace);
  throw new UnsupportedError(`Cannot list the contents of "${name}": the transport does not list them`);
}

/** Writes a line to standard error. */
export function say(text: string): void {
  clearBar();
  process.stderr.write(`tsmq: ${printable(text)}\n`);
}

/** Prints that the command found nothing in the namespace: the name may be misspelt, or the flag may be missing. */
export function sayNothing(what: string, { namespace }: Pick<BusFlags, "namespace">, more = ""): void {
  say(`no ${what} in namespace ${namespace} (--namespace)${more}`);
}

/** Returns a signal that aborts on Ctrl-C or SIGTERM. A second Ctrl-C or SIGTERM ends the process immediately. */
export function interrupted(): Disposable & { readonly signal: AbortSignal } {
  const controller = new AbortController();
  const end = () => controller.signal.aborted ? process.exit(130) : controller.abort();
  process.on("SIGINT", end).on("SIGTERM", end);
  return {
    signal: controller.signal,
    [Symbol.dispose]: () => void process.off("SIGINT", end).off("SIGTERM", end),
  };
}
