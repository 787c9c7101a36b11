import { buildCommand } from "@stricli/core";
import { UnsupportedError } from "../../src/errors.ts";
import { print } from "../io.ts";
import { listQueues } from "../overview.ts";
import { BUS_FLAGS, type BusFlags, JSON_FLAG, URL_ARGUMENT, withAdmin } from "../session.ts";
import { table } from "../table.ts";

interface Flags extends BusFlags {
  readonly json: boolean;
}

/** The command `tsmq queues`. */
export const command = buildCommand({
  func: (flags: Flags, url: string) =>
    withAdmin(url, flags, async (admin) => {
      const queues = await listQueues(admin);
      if (!queues) throw new UnsupportedError("Cannot list queues: the transport does not list them");
      const lines = flags.json ? queues.map((queue) => JSON.stringify(queue)) : table(
        ["QUEUE", "WAITING", "LEASED", "DELAYED", "DEAD"],
        queues.map(({ name, waiting, leased, delayed, dead }) => [name, waiting, leased, delayed, dead]),
      );
      for (const line of lines) await print(line);
    }),
  parameters: {
    flags: { ...BUS_FLAGS, json: JSON_FLAG },
    aliases: { n: "namespace" },
    positional: { kind: "tuple", parameters: [URL_ARGUMENT] },
  },
  docs: {
    brief: "List the queues and the numbers of their items",
    fullDescription: [
      "Lists the queues that have items: how many wait, are leased and are delayed, and how many dead letters there are.",
      "`-` stands for a number that the transport does not know. `tsmq top` watches the same.",
    ].join("\n"),
    customUsage: [
      "<url> [flags]",
      { input: "redis://localhost", brief: "a table" },
      { input: "redis://localhost --json | jq 'select(.dead > 0)'", brief: "the queues with dead letters" },
    ],
  },
});
