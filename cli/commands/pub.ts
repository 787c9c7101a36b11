import { buildCommand } from "@stricli/core";
import { line, print, values } from "../io.ts";
import { BUS_FLAGS, type BusFlags, URL_ARGUMENT, withBus } from "../session.ts";

interface Flags extends BusFlags {
  readonly text: boolean;
}

/** The command `tsmq pub`. */
export const command = buildCommand({
  func: (flags: Flags, url: string, topic: string, ...events: string[]) =>
    withBus(url, flags, async (bus, signal) => {
      for await (const event of values(events, flags.text, signal)) {
        if (signal.aborted) return;
        const reached = await bus.publish(event, topic);
        await print(line({ topic: JSON.stringify(topic), reached: JSON.stringify(reached) }));
      }
    }),
  parameters: {
    flags: {
      ...BUS_FLAGS,
      text: { kind: "boolean", brief: "The events are strings, not JSON", default: false, withNegated: false },
    },
    aliases: { n: "namespace" },
    positional: {
      kind: "array",
      minimum: 2,
      parameter: { ...URL_ARGUMENT, brief: "The transport, the topic, then events", placeholder: "url topic event" },
    },
  },
  docs: {
    brief: "Publish events to a topic",
    fullDescription: [
      "Publishes each argument or, without arguments, each line of standard input. Prints for each event how many buses it",
      "reached, if the transport knows. Groups are not counted: they store the event.",
    ].join("\n"),
    customUsage: [
      "<url> <topic> [<event>...] [flags]",
      { input: `redis://localhost shop '{"id":"o-1","total":12}'`, brief: "one event, as JSON" },
      { input: "redis://localhost greetings --text hello", brief: "a string" },
      { input: "redis://localhost lines < events.ndjson", brief: "one event a line" },
    ],
  },
});
