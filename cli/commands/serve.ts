import { buildCommand } from "@stricli/core";
import { resolve } from "node:path";
import { pathToFileURL } from "node:url";
import type { Bus } from "../../mod.ts";
import { ValidationError } from "../../src/errors.ts";
import { isClass, methodsOf } from "../../src/rpc/procedure.ts";
import { textOf } from "../../src/internal/thrown.ts";
import { aborted, print } from "../io.ts";
import { BUS_FLAGS, type BusFlags, URL_ARGUMENT, withBus } from "../session.ts";

/** Exposes what a module exports; returns the names that are served now. */
async function exposeAll(bus: Bus, specifier: string): Promise<string[]> {
  const url = /^[a-z]+:/.test(specifier) ? specifier : pathToFileURL(resolve(specifier)).href;
  const { default: setUp, ...exported } = await load(url);
  const served: string[] = [];
  for (const [name, value] of Object.entries(exported)) {
    if (name.startsWith("_") || isClass(value)) continue;
    if (typeof value === "function") {
      await bus.expose(name, value as () => unknown);
      served.push(name);
    } else if (
      typeof value === "object" && value !== null && methodsOf(Object.getPrototypeOf(value) ?? {}).length > 0
    ) {
      await bus.expose(value);
      served.push(...methodsOf(Object.getPrototypeOf(value)).map((method) => `${value.constructor.name}.${method}`));
    }
  }
  if (typeof setUp === "function") await setUp(bus);
  else if (served.length === 0) throw new ValidationError(`Cannot serve ${specifier}: it exports nothing to serve`);
  return served.sort();
}

async function load(url: string): Promise<Record<string, unknown>> {
  try {
    return await import(url);
  } catch (cause) {
    throw new ValidationError(`Cannot serve ${url}: ${textOf(cause)}`, [], { cause });
  }
}

/** `tsmq serve` */
export const command = buildCommand({
  func: (flags: BusFlags, url: string, specifier: string) =>
    withBus(url, flags, async (bus, signal) => {
      await print(JSON.stringify({ serving: await exposeAll(bus, specifier) }));
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
      "Each exported function is served under its name, each method of an exported object as Class.method; not what begins",
      "with _. A default export is a function that is given the bus, for whatever else the service does.",
      "Calls that run at Ctrl-C have five seconds to finish.",
    ].join("\n"),
    customUsage: [
      "<url> <module> [flags]",
      { input: "redis://localhost ./sums.ts", brief: "export const add = (a: number, b: number) => a + b" },
      { input: "redis://localhost ./orders.ts", brief: `export default (bus) => bus.queue("orders").consume(handle)` },
    ],
  },
});
