import { buildCommand } from "@stricli/core";
import process from "node:process";
import type { StandardSchemaV1 } from "../../src/codec/schema.ts";
import { ValidationError } from "../../src/errors.ts";
import { messageOf, print, toJson } from "../io.ts";
import { BUS_FLAGS, type BusFlags, count, number, say, URL_ARGUMENT, withBus } from "../session.ts";

interface Flags extends BusFlags {
  readonly count: number;
  readonly timeout: number;
}

/** Converts each item to one line. An item that is nested too deeply to be printed counts as unreadable. */
const LINE: StandardSchemaV1<unknown, string> = {
  "~standard": {
    version: 1,
    vendor: "tsmq",
    validate: (item) => {
      try {
        return { value: toJson(item) };
      } catch (error) {
        return { issues: [{ message: messageOf(error) }] };
      }
    },
  },
};

/** The command `tsmq get`. */
export const command = buildCommand({
  func: (flags: Flags, url: string, name: string) =>
    withBus(url, flags, async (bus, signal) => {
      const queue = bus.queue(name, { schema: LINE });
      for (let left = flags.count; left > 0 && !signal.aborted; left--) {
        try {
          await using lease = await queue.receive({ timeout: flags.timeout, signal });
          await print(lease.item);
          await lease.ack();
        } catch (error) {
          if (signal.aborted) return;
          if (!(error instanceof ValidationError)) throw error;
          // the item is a dead letter now
          say(messageOf(error));
          process.exitCode = 1;
        }
      }
    }),
  parameters: {
    flags: {
      ...BUS_FLAGS,
      count: { kind: "parsed", parse: count, brief: "The number of items; Infinity: until Ctrl-C", default: "1" },
      timeout: {
        kind: "parsed",
        parse: number(),
        brief: "Milliseconds to wait for each item; 0: do not wait; Infinity: no limit",
        default: "0",
      },
    },
    aliases: { n: "namespace", c: "count", t: "timeout" },
    positional: {
      kind: "tuple",
      parameters: [URL_ARGUMENT, { parse: String, brief: "The queue", placeholder: "queue" }],
    },
  },
  docs: {
    brief: "Take items from a queue, one JSON a line",
    fullDescription: [
      "Removes an item after its line is written. An item whose line could not be written goes back to the queue.",
      "An item that cannot be read, or is nested too deeply to print, is reported and becomes a dead letter; the command",
      "continues, and its exit code is 1. Exit code 3: no item in time.",
    ].join("\n"),
    customUsage: [
      "<url> <queue> [flags]",
      { input: "redis://localhost jobs", brief: "the oldest item, if there is one" },
      { input: "redis://localhost jobs -c Infinity -t Infinity | ./worker", brief: "each item as it arrives" },
      { input: "redis://localhost jobs > jobs.ndjson -c Infinity", brief: "all items, into a file" },
    ],
  },
});
