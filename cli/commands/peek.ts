import { buildCommand } from "@stricli/core";
import { peekAll, type Peeked, type Unreadable } from "../../src/queue/peek.ts";
import type { Provider } from "../../src/provider/provider.ts";
import type { Queue } from "../../src/queue/queue.ts";
import { line, print, toJson } from "../io.ts";
import { meant } from "../meant.ts";
import {
  BUS_FLAGS,
  type BusFlags,
  count,
  number,
  QUEUE_ARGUMENT,
  sayNothing,
  URL_ARGUMENT,
  withBus,
} from "../session.ts";

interface Flags extends BusFlags {
  readonly count: number;
  readonly offset: number;
}

/** Returns the JSON of a waiting item. */
export function peeked(found: Peeked<unknown> | Unreadable): string {
  const { attempt, headers } = found;
  return line({
    attempt: String(attempt),
    headers: Object.keys(headers).length > 0 ? JSON.stringify(headers) : undefined,
    ...found.error
      ? { error: JSON.stringify(found.error.message), body: JSON.stringify(found.body) }
      : { item: toJson(found.item) },
  });
}

/** Prints that no items of a queue wait, and how many are delayed or leased, as far as the transport knows. */
export async function sayNoItems(queue: Queue, flags: BusFlags, provider: Provider): Promise<void> {
  const { delayed = 0, leased = 0 } = await queue.stats();
  const others = Object.entries({ delayed, leased }).filter(([, items]) => items > 0);
  sayNothing(
    `waiting items of queue "${queue.name}"`,
    flags,
    others.map(([how, items]) => `; ${how}: ${items}`).join("") || await meant(provider, flags, queue.name),
  );
}

/** The command `tsmq peek`. */
export const command = buildCommand({
  func: ({ count: limit, offset, ...flags }: Flags, url: string, name: string) =>
    withBus(url, flags, async (bus, _signal, provider) => {
      const queue = bus.queue(name);
      let any = false;
      const from = { peek: queue.peek.bind(queue), size: () => queue.qsize() };
      for await (const found of peekAll(from, limit, offset)) {
        any = true;
        await print(peeked(found));
      }
      if (!any) await sayNoItems(queue, flags, provider);
    }),
  parameters: {
    flags: {
      ...BUS_FLAGS,
      count: { kind: "parsed", parse: count, brief: "The largest number of items, at most 10,000", default: "10" },
      offset: { kind: "parsed", parse: number(), brief: "The number of items to skip", default: "0" },
    },
    aliases: { n: "namespace", c: "count", o: "offset" },
    positional: { kind: "tuple", parameters: [URL_ARGUMENT, QUEUE_ARGUMENT] },
  },
  docs: {
    brief: "Print waiting items of a queue without taking them",
    fullDescription: [
      'Prints {"attempt":…,"headers":…,"item":…} for each item, in the order in which they will be taken. An item that cannot be',
      'read has "error" and "body" in place of "item". Exit code 9: the transport shows an item only to its consumer (AWS).',
    ].join("\n"),
    customUsage: [
      "<url> <queue> [flags]",
      { input: "redis://localhost jobs", brief: "the next ten items" },
      { input: "redis://localhost jobs -c 1 -o 99 | jq .item", brief: "only the hundredth" },
    ],
  },
});
