import { buildCommand } from "@stricli/core";
import { UnsupportedError } from "../../src/errors.ts";
import { print, whileRead } from "../io.ts";
import { BUS_FLAGS, type BusFlags, URL_ARGUMENT } from "../session.ts";
import { transportFor } from "../urls.ts";

/** The command `tsmq reap`. */
export const command = buildCommand({
  func: async ({ namespace }: BusFlags, url: string) => {
    const doctor = await transportFor(url).doctor?.(namespace);
    if (!doctor) throw new UnsupportedError("Cannot reap: on this transport nothing remains of a dead process");
    try {
      const all = await doctor.reap();
      await whileRead(async () => {
        for (const removed of all) await print(JSON.stringify({ removed }));
      });
    } finally {
      await doctor.close();
    }
  },
  parameters: {
    flags: BUS_FLAGS,
    aliases: { n: "namespace" },
    positional: { kind: "tuple", parameters: [URL_ARGUMENT] },
  },
  docs: {
    brief: "Remove the remains of dead buses from a namespace",
    fullDescription: [
      "Prints a line for each thing that it removes. It keeps what belongs to a live bus, and all named queues.",
      "Every bus does the same when it opens. Use this in a namespace where no bus opens any more.",
    ].join("\n"),
    customUsage: ["<url> [flags]", {
      input: "aws:eu-central-1 -n shop",
      brief: "queues and topics of buses that died",
    }],
  },
});
