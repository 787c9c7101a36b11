import { buildCommand } from "@stricli/core";
import { confirm, YES_FLAG } from "../confirm.ts";
import { print } from "../io.ts";
import { withProgress } from "../progress.ts";
import { BUS_FLAGS, type BusFlags, QUEUE_ARGUMENT, URL_ARGUMENT, withBus } from "../session.ts";
import { sayNoItems } from "./peek.ts";

interface Flags extends BusFlags {
  readonly yes: boolean;
}

/** The command `tsmq purge`. */
export const command = buildCommand({
  func: (flags: Flags, url: string, name: string) =>
    withBus(url, flags, async (bus, signal, provider) => {
      const queue = bus.queue(name);
      const total = await queue.qsize();
      if (!await confirm(`Remove ${total} waiting item(s) of queue "${name}"?`, flags.yes, signal)) return;
      const done = async () => Math.max(0, total - await queue.qsize());
      const purged = await withProgress(`purge ${name}`, total, done, () => queue.purge());
      await print(JSON.stringify({ purged }));
      if (purged === 0) await sayNoItems(queue, flags, provider);
    }),
  parameters: {
    flags: { ...BUS_FLAGS, yes: YES_FLAG },
    aliases: { n: "namespace", y: "yes" },
    positional: { kind: "tuple", parameters: [URL_ARGUMENT, QUEUE_ARGUMENT] },
  },
  docs: {
    brief: "Remove the waiting items of a queue",
    fullDescription: [
      'Asks first, unless --yes is given. Leased and delayed items and the queue stay. Prints {"purged":…}, the number of',
      "removed items.",
    ].join("\n"),
    customUsage: [
      "<url> <queue> [flags]",
      { input: "redis://localhost jobs", brief: "asks, then removes" },
      { input: "redis://localhost jobs --yes", brief: "in a script" },
    ],
  },
});
