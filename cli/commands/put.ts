import { buildCommand } from "@stricli/core";
import { values } from "../io.ts";
import { BUS_FLAGS, type BusFlags, number, URL_ARGUMENT, withBus } from "../session.ts";

interface Flags extends BusFlags {
  readonly text: boolean;
  readonly timeout?: number;
}

/** The command `tsmq put`. */
export const command = buildCommand({
  func: (flags: Flags, url: string, name: string, ...items: string[]) =>
    withBus(url, flags, async (bus, signal) => {
      const queue = bus.queue(name);
      for await (const item of values(items, flags.text, signal)) {
        await queue.put(item, { timeout: flags.timeout, signal });
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
    },
    aliases: { n: "namespace", t: "timeout" },
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
    ],
  },
});
