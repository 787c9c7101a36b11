import { buildCommand } from "@stricli/core";
import { resolve } from "node:path";
import { pathToFileURL } from "node:url";
import type { Bus } from "../../mod.ts";
import { ValidationError } from "../../src/errors.ts";
import { isClass } from "../../src/rpc/methods.ts";
import { textOf } from "../../src/internal/thrown.ts";
import { aborted, print } from "../io.ts";
import { BUS_FLAGS, type BusFlags, URL_ARGUMENT, withBus } from "../session.ts";

/** The exports of a module that are served, and those that are not. */
interface Outcome {
  readonly serving: string[];
  readonly skipped?: string[];
}

/** Exposes the functions that a module exports. */
async function exposeAll(bus: Bus, specifier: string): Promise<Outcome> {
  const url = /^[a-z]+:/.test(specifier) ? specifier : pathToFileURL(resolve(specifier)).href;
  const { default: setUp, ...exported } = await load(url);
  const isServed = (name: string) =>
    typeof exported[name] === "function" && !isClass(exported[name]) && !name.startsWith("_");
  const names = Object.keys(exported).sort();
  const serving = names.filter(isServed);
  const skipped = names.filter((name) => !isServed(name));
  for (const name of serving) await bus.expose(name, exported[name] as () => unknown);
  if (typeof setUp === "function") await setUp(bus);
  else if (serving.length === 0) throw new ValidationError(`Cannot serve ${specifier}: it exports no function`);
  return skipped.length === 0 ? { serving } : { serving, skipped };
}

async function load(url: string): Promise<Record<string, unknown>> {
  try {
    return await import(url);
  } catch (cause) {
    throw new ValidationError(`Cannot serve ${url}: ${textOf(cause)}`, [], { cause });
  }
}

/** The command `tsmq serve`. */
export const command = buildCommand({
  func: (flags: BusFlags, url: string, specifier: string) =>
    withBus(url, flags, async (bus, signal) => {
      await print(JSON.stringify(await exposeAll(bus, specifier)));
      await aborted(signal);
    }),
  parameters: {
    flags: BUS_FLAGS,
    aliases: { n: "namespace" },
    positional: {
      kind: "tuple",
      parameters: [URL_ARGUMENT, { parse: String, brief: "A path or URL", placeholder: "module" }],
    },
  },
  docs: {
    brief: "Serve the functions that a module exports, until Ctrl-C",
    fullDescription: [
      "Serves each exported function under its name, unless the name begins with _, and lists the other exports as skipped.",
      "A default export is a function that sets up the rest of the service on the bus: (bus) => bus.expose(new Orders()).",
      "On Ctrl-C, running calls have five seconds to finish.",
    ].join("\n"),
    customUsage: [
      "<url> <module> [flags]",
      { input: "redis://localhost ./sums.ts", brief: "export const add = (a: number, b: number) => a + b" },
      { input: "redis://localhost ./orders.ts", brief: `export default (bus) => bus.queue("orders").consume(handle)` },
    ],
  },
});
