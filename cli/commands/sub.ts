import { buildCommand } from "@stricli/core";
import { TimeoutError } from "../../src/errors.ts";
import { after } from "../../src/internal/time.ts";
import { type EventFilter, parseFilter } from "../filter.ts";
import { aborted, line, print, toJson } from "../io.ts";
import { BUS_FLAGS, type BusFlags, count, number, say, URL_ARGUMENT, withBus } from "../session.ts";

interface Flags extends BusFlags {
  readonly pattern: boolean;
  readonly bare: boolean;
  readonly count?: number;
  readonly where?: readonly EventFilter[];
  readonly timeout: number;
}

async function sub(flags: Flags, url: string, ...topics: string[]): Promise<void> {
  for (const topic of flags.pattern ? [] : topics.filter((topic) => topic.includes("*"))) {
    say(`only events of the topic with exactly the name "${topic}"; for all topics that match it, pass --pattern (-p)`);
  }
  await withBus(url, flags, async (bus, signal) => {
    const { promise: ended, resolve: end, reject: fail } = Promise.withResolvers<void>();
    ended.catch(() => {}); // events may arrive before all topics are subscribed
    let left = flags.count ?? Infinity;
    const handler = async (event: unknown, { topic, type }: { topic: string; type?: string }) => {
      if (!(flags.where ?? []).every((passes) => passes({ topic, type, event }))) return;
      const body = toJson(event); // an event that it refuses, because of its depth, is reported and does not count
      if (left-- <= 0) return;
      const fields = { topic: JSON.stringify(topic), type: JSON.stringify(type), event: body };
      await print(flags.bare ? body : line(fields)).catch(fail);
      if (left === 0) end();
    };
    await Promise.all(topics.map((topic) => bus.subscribe(topic, handler, { pattern: flags.pattern }).ready));
    aborted(signal).then(end);
    const late = () => {
      if (flags.count === undefined) end();
      else {fail(
          new TimeoutError(`Cannot receive ${flags.count} events: ${left} are missing after ${flags.timeout} ms`),
        );}
    };
    await ended.finally(after(flags.timeout, late));
  });
}

/** The command `tsmq sub`. */
export const command = buildCommand({
  func: (flags: Flags, url: string, ...topics: string[]) => sub(flags, url, ...topics),
  parameters: {
    flags: {
      ...BUS_FLAGS,
      pattern: { kind: "boolean", brief: "The topics are globs: *, ?, […]", default: false, withNegated: false },
      bare: {
        kind: "boolean",
        brief: "Print only the events, without their topics",
        default: false,
        withNegated: false,
      },
      where: {
        kind: "parsed",
        parse: parseFilter,
        brief: "Only events that pass this filter, such as event.total>100; may be repeated",
        placeholder: "filter",
        optional: true,
        variadic: true,
      },
      count: { kind: "parsed", parse: count, brief: "End after this number of events", optional: true },
      timeout: { kind: "parsed", parse: number(), brief: "End after this number of milliseconds", default: "Infinity" },
    },
    aliases: { n: "namespace", p: "pattern", b: "bare", w: "where", c: "count", t: "timeout" },
    positional: {
      kind: "array",
      minimum: 2,
      parameter: { ...URL_ARGUMENT, brief: "The transport, then topics", placeholder: "url topic" },
    },
  },
  docs: {
    brief: "Print the events of topics, one JSON value a line",
    fullDescription: [
      'Prints {"topic":…,"type":…,"event":…} for each event until Ctrl-C, --count or --timeout. "type" is the name of the',
      "event's class, if it has one. A filter is a path from topic, type or event, one of = != > >= < <= ~ (a glob), and a",
      "value, which is JSON or a text. Exit code 4: fewer events than --count within --timeout.",
    ].join("\n"),
    customUsage: [
      "<url> <topic>... [flags]",
      { input: "redis://localhost greetings", brief: "all events of one topic" },
      { input: "redis://localhost 'shop.*' -p -w type=Order -w 'event.total>100'", brief: "a glob, filtered" },
      { input: "redis://localhost greetings --bare | jq .name", brief: "only the events" },
      { input: "redis://localhost ready -c 1 -t 5000 && deploy", brief: "wait five seconds for one event" },
    ],
  },
});
