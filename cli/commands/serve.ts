import { buildCommand } from "@stricli/core";
import { resolve } from "node:path";
import { pathToFileURL } from "node:url";
import type { Bus } from "../../mod.ts";
import { ValidationError } from "../../src/errors.ts";
import { isClass, isPlatform } from "../../src/rpc/methods.ts";
import { textOf } from "../../src/internal/thrown.ts";
import { aborted, print } from "../io.ts";
import { BUS_FLAGS, type BusFlags, URL_ARGUMENT, withBus } from "../session.ts";

/** The exports of a module that are served, and those that are not, each with the reason. */
interface Outcome {
  readonly serving: string[];
  readonly skipped?: Readonly<Record<string, string>>;
}

/** Exposes the functions that a module exports. */
async function exposeAll(bus: Bus, specifier: string): Promise<Outcome> {
  const url = /^[a-z]+:/.test(specifier) ? specifier : pathToFileURL(resolve(specifier)).href;
  const exported = await load(url);
  const serving: string[] = [];
  const skipped: [name: string, reason: string][] = [];
  for (const name of Object.keys(exported).sort()) {
    const reason = reasonToSkip(name, exported[name]);
    if (reason !== undefined) skipped.push([name, reason]);
    else if (name !== "default") serving.push(name);
  }
  const setUp = skipped.some(([name]) => name === "default") ? undefined : exported.default;
  if (setUp === undefined && serving.length === 0) {
    const reasons = skipped.map(([name, reason]) => `; ${name}: ${reason}`).join("");
    throw new ValidationError(`Cannot serve ${specifier}: it exports no function${reasons}`);
  }
  for (const name of serving) await bus.expose(name, exported[name] as () => unknown);
  await (setUp as ((bus: Bus) => unknown) | undefined)?.(bus);
  return skipped.length === 0 ? { serving } : { serving, skipped: Object.fromEntries(skipped) };
}

/** Returns the reason why an export is not served; undefined if it is. */
function reasonToSkip(name: string, value: unknown): string | undefined {
  if (typeof value !== "function") return "it is not a function";
  if (isClass(value)) return "it is a class; a default export can expose an instance of it";
  // the source of a bound function is native code too
  if (isPlatform(value) && !value.name.startsWith("bound ")) return "it belongs to the platform";
  return name.startsWith("_") ? "its name begins with _" : undefined;
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
      "Serves each exported function under its name, unless the name begins with _. Objects and classes are not served.",
      "Prints what it serves, and each export that it skips with the reason.",
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
