import { buildCommand } from "@stricli/core";
import { UnsupportedError } from "../../src/errors.ts";
import { pause } from "../../src/internal/time.ts";
import { print } from "../io.ts";
import { listQueues } from "../overview.ts";
import { BUS_FLAGS, type BusFlags, JSON_FLAG, number, sayNothing, URL_ARGUMENT, withBusAndAdmin } from "../session.ts";
import { table } from "../table.ts";
import { TRAFFIC_NOTE, TrafficMeter } from "../traffic.ts";

interface Flags extends BusFlags {
  readonly interval: number;
  readonly json: boolean;
}

/** The command `tsmq queues`. */
export const command = buildCommand({
  func: (flags: Flags, url: string) =>
    withBusAndAdmin(url, flags, async (bus, admin, signal) => {
      const list = async () => {
        const queues = admin && await listQueues(admin);
        if (!queues) throw new UnsupportedError("Cannot list queues: the transport does not list them");
        return { queues, complete: true };
      };
      const meter = new TrafficMeter(bus, admin, flags.interval);
      let queues = await meter.look(list);
      if (flags.interval > 0) {
        await pause(flags.interval, signal);
        queues = await meter.look(list);
      }
      const lines = flags.json ? queues.map((queue) => JSON.stringify(queue)) : table(
        ["QUEUE", "WAITING", "LEASED", "DELAYED", "DEAD", "IN/S", "OUT/S", "P50 MS", "CONSUMERS"],
        queues.map((each) => {
          const { name, waiting, leased, delayed, dead, p50, consumers } = each;
          return [name, waiting, leased, delayed, dead, each.in, each.out, p50, consumers];
        }),
      );
      for (const line of lines) await print(line);
      if (queues.length === 0) sayNothing("queues", flags);
    }),
  parameters: {
    flags: {
      ...BUS_FLAGS,
      interval: {
        kind: "parsed",
        parse: number(),
        brief: "Milliseconds during which rates are measured; 0: no rates",
        default: "1000",
      },
      json: JSON_FLAG,
    },
    aliases: { n: "namespace", i: "interval" },
    positional: { kind: "tuple", parameters: [URL_ARGUMENT] },
  },
  docs: {
    brief: "List the queues, the numbers of their items, and their rates",
    fullDescription: [
      "Lists the queues that have items, traffic or consumers: how many items wait, are leased and are delayed, how many",
      "dead letters there are, items put and removed each second, the median duration of the handlers (p50), and consumers.",
      "`-` is a number that is not known. `tsmq top` watches the same.",
      ...TRAFFIC_NOTE,
    ].join("\n"),
    customUsage: [
      "<url> [flags]",
      { input: "redis://localhost", brief: "a table, after a second" },
      {
        input: "redis://localhost -i 0 --json | jq 'select(.dead > 0)'",
        brief: "the queues with dead letters, at once",
      },
    ],
  },
});
