import { buildCommand } from "@stricli/core";
import { ValidationError } from "../../src/errors.ts";
import { values } from "../io.ts";
import { BUS_FLAGS, type BusFlags, number, URL_ARGUMENT, withBus } from "../session.ts";

interface Flags extends BusFlags {
  readonly text: boolean;
  readonly timeout?: number;
  readonly header?: readonly (readonly [name: string, value: string])[];
  readonly delay?: number;
}

/** Parses a header. */
function header(text: string): [name: string, value: string] {
  const at = text.indexOf("=");
  if (at < 1) throw new ValidationError("must be name=value");
  return [text.slice(0, at), text.slice(at + 1)];
}

/** The command `tsmq put`. */
export const command = buildCommand({
  func: (flags: Flags, url: string, name: string, ...items: string[]) =>
    withBus(url, flags, async (bus, signal) => {
      const queue = bus.queue(name);
      const { timeout, delay } = flags;
      const headers = flags.header && Object.fromEntries(flags.header);
      for await (const item of values(items, flags.text, signal)) {
        await queue.put(item, { timeout, delay, headers, signal });
      }
    }),
  parameters: {
    flags: {
      ...BUS_FLAGS,
      text: { kind: "boolean", brief: "The items are strings, not JSON", default: false, withNegated: false },
      timeout: {
        kind: "parsed",
        parse: number(),
        brief: "Milliseconds that each put may take, also for room in a full queue; default: no limit for room",
        optional: true,
      },
      header: {
        kind: "parsed",
        parse: header,
        brief: "A header of each item, name=value; may be repeated",
        optional: true,
        variadic: true,
      },
      delay: {
        kind: "parsed",
        parse: number(),
        brief: "Milliseconds after which the items can be taken; default: at once",
        optional: true,
      },
    },
    aliases: { n: "namespace", t: "timeout", d: "delay" },
    positional: {
      kind: "array",
      minimum: 2,
      parameter: { ...URL_ARGUMENT, brief: "The transport, the queue, then items", placeholder: "url queue item" },
    },
  },
  docs: {
    brief: "Put items into a queue",
    fullDescription:
      "Puts each argument or, without arguments, each line of standard input. Prints nothing on success.",
    customUsage: [
      "<url> <queue> [<item>...] [flags]",
      { input: `redis://localhost jobs '{"id":1}' '{"id":2}'`, brief: "two items" },
      { input: "redis://localhost jobs < jobs.ndjson", brief: "one item a line" },
      {
        input: `redis://localhost jobs '{"id":3}' --header tenant=acme -d 5000`,
        brief: "with a header, in five seconds",
      },
    ],
  },
});
