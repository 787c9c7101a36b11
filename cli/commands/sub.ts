import { buildCommand } from "@stricli/core";
import { TimeoutError } from "../../src/errors.ts";
import { after } from "../../src/internal/time.ts";
import { aborted, line, print, toJson } from "../io.ts";
import { BUS_FLAGS, type BusFlags, count, number, URL_ARGUMENT, withBus } from "../session.ts";

interface Flags extends BusFlags {
  readonly pattern: boolean;
  readonly bare: boolean;
  readonly count?: number;
  readonly timeout: number;
}

async function sub(flags: Flags, url: string, ...topics: string[]): Promise<void> {
  await withBus(url, flags, async (bus, signal) => {
    const { promise: ended, resolve: end, reject: fail } = Promise.withResolvers<void>();
    ended.catch(() => {}); // events may come before all topics are subscribed
    let left = flags.count ?? Infinity;
    const handler = async (event: unknown, { topic, type }: { topic: string; type?: string }) => {
      if (left-- <= 0) return;
      const body = toJson(event);
      const said = { topic: JSON.stringify(topic), type: JSON.stringify(type), event: body };
      await print(flags.bare ? body : line(said)).catch(fail);
      if (left === 0) end();
    };
    await Promise.all(topics.map((topic) => bus.subscribe(topic, handler, { pattern: flags.pattern }).ready));
    aborted(signal).then(end);
    const late = () => {
      if (flags.count === undefined) end();
      else fail(new TimeoutError(`Cannot see ${flags.count} events: ${left} are missing after ${flags.timeout} ms`));
    };
    await ended.finally(after(flags.timeout, late));
  });
}

/** `tsmq sub` */
export const command = buildCommand({
  func: (flags: Flags, url: string, ...topics: string[]) => sub(flags, url, ...topics),
  parameters: {
    flags: {
      ...BUS_FLAGS,
      pattern: { kind: "boolean", brief: "The topics are globs: *, ?, […]", default: false, withNegated: false },
      bare: {
        kind: "boolean",
        brief: "Print the events only, without their topics",
        default: false,
        withNegated: false,
      },
      count: { kind: "parsed", parse: count, brief: "End after so many events", optional: true },
      timeout: { kind: "parsed", parse: number(), brief: "End after so many milliseconds", default: "Infinity" },
    },
    aliases: { n: "namespace", p: "pattern", b: "bare", c: "count", t: "timeout" },
    positional: {
      kind: "array",
      minimum: 2,
      parameter: { ...URL_ARGUMENT, brief: "The transport, then topics", placeholder: "url topic" },
    },
  },
  docs: {
    brief: "Print the events of topics, one JSON a line",
    fullDescription: [
      'Prints {"topic":…,"type":…,"event":…} for each event until Ctrl-C, --count or --timeout. "type" is the event\'s class,',
      "if it has one. With --count, too few events in --timeout are exit code 4.",
    ].join("\n"),
    customUsage: [
      "<url> <topic>... [flags]",
      { input: "redis://localhost greetings", brief: "everything that is published to one topic" },
      { input: "redis://localhost 'shop.*' -p | jq .event.total", brief: "a glob, and what jq makes of it" },
      { input: "redis://localhost ready -c 1 -t 5000 && deploy", brief: "wait five seconds for one event" },
    ],
  },
});
