import { buildCommand } from "@stricli/core";
import { cut } from "../../src/internal/printable.ts";
import { print } from "../io.ts";
import { withProgress } from "../progress.ts";
import { BUS_FLAGS, type BusFlags, URL_ARGUMENT, withAdmin } from "../session.ts";

/** The command `tsmq reap`. */
export const command = buildCommand({
  func: (flags: BusFlags, url: string) =>
    withAdmin(url, flags, async (admin) => {
      let done = 0;
      await withProgress("reap", undefined, () => done, async () => {
        for await (const removed of admin.reap()) {
          done++;
          await print(JSON.stringify({ removed: cut(removed) }));
        }
      });
    }),
  parameters: {
    flags: BUS_FLAGS,
    aliases: { n: "namespace" },
    positional: { kind: "tuple", parameters: [URL_ARGUMENT] },
  },
  docs: {
    brief: "Remove the remains of dead buses from a namespace",
    fullDescription: [
      "Prints a line for each thing that it removes. It keeps everything that belongs to a live bus, and all named queues.",
      "Every bus does the same when it opens. Use this in a namespace where no bus opens any more.",
    ].join("\n"),
    customUsage: ["<url> [flags]", {
      input: "aws:eu-central-1 -n shop",
      brief: "queues and topics of buses that died",
    }],
  },
});
