import { buildCommand, buildRouteMap } from "@stricli/core";
import process from "node:process";
import { UnsupportedError, ValidationError } from "../../src/errors.ts";
import { indented } from "../../src/internal/printable.ts";
import type { MessageHeaders } from "../../mod.ts";
import { bodyOf } from "../../src/queue/dead_letters.ts";
import type { DeadLetter } from "../../src/queue/letter.ts";
import type { Provider } from "../../src/provider/provider.ts";
import { peekAll } from "../../src/queue/peek.ts";
import type { Queue } from "../../src/queue/queue.ts";
import { confirm, YES_FLAG } from "../confirm.ts";
import { line, print, toJson } from "../io.ts";
import { meant } from "../meant.ts";
import { listQueues } from "../overview.ts";
import { withProgress } from "../progress.ts";
import {
  BUS_FLAGS,
  type BusFlags,
  count,
  JSON_FLAG,
  QUEUE_ARGUMENT,
  sayNothing,
  URL_ARGUMENT,
  withAdmin,
  withBus,
} from "../session.ts";
import { beginning, seconds, shorten, table } from "../table.ts";

/** The number of characters of an item or a cause in a table that no terminal shortens. */
const SHOWN = 40;

interface ListFlags extends BusFlags {
  readonly count: number;
  readonly json: boolean;
}

/** A dead letter with its position, 1 for the oldest. `letter` is undefined if it cannot be read. */
interface Numbered {
  readonly n: number;
  readonly headers: MessageHeaders;
  readonly letter?: DeadLetter;
  readonly body?: string;
}

/** Yields the dead letters of a queue, without those of other queues in the same dead-letter queue. */
async function* letters(queue: Queue, limit: number, offset = 0): AsyncGenerator<Numbered> {
  let n = offset;
  for await (const each of peekAll(queue.dead, limit, offset)) {
    const { headers } = each;
    n++;
    if (each.error) yield { n, headers, body: each.body };
    else if (each.item.queue === queue.name) yield { n, headers, letter: each.item };
  }
}

function lettersOf(name: string): string {
  return `dead letters of queue "${name}"`;
}

async function sayNoLetters(name: string, flags: BusFlags, provider: Provider): Promise<void> {
  sayNothing(lettersOf(name), flags, await meant(provider, flags, name));
}

/** The letters that a command retries or removes. */
interface Selection {
  readonly size: number;
  /** Selects letters by what they contain, because their numbers change while letters come and go. Absent: all letters. */
  readonly only?: (letter: DeadLetter) => boolean;
  /** Returns the number of letters that are done. */
  readonly done: () => number | Promise<number>;
}

function letterNumber(text: string): number {
  const number = Number(text);
  if (Number.isInteger(number) && number > 0) return number;
  throw new ValidationError(`Cannot select letter ${JSON.stringify(text)}: its number must be a whole one, at least 1`);
}

/** Selects letters by the numbers that `list` prints; without numbers, all letters. */
async function select(queue: Queue, given: readonly string[]): Promise<Selection> {
  if (given.length === 0) {
    const size = await queue.dead.size();
    return { size, done: async () => Math.max(0, size - await queue.dead.size()) };
  }
  const numbers = new Set(given.map(letterNumber));
  const first = Math.min(...numbers);
  const found = new Map<number, string>();
  for await (const { n, letter } of letters(queue, Math.max(...numbers) - first + 1, first - 1)) {
    if (letter && numbers.has(n)) found.set(n, bodyOf(letter));
  }
  const wanted = Array.from(numbers, (number) => {
    const letter = found.get(number);
    if (letter !== undefined) return letter;
    const text = "no readable letter has this number";
    throw new ValidationError(`Cannot select letter ${number} of queue "${queue.name}": ${text}`);
  });
  const size = wanted.length;
  const only = (letter: DeadLetter) => {
    const at = wanted.indexOf(bodyOf(letter));
    if (at >= 0) wanted.splice(at, 1);
    return at >= 0;
  };
  return { size, only, done: () => size - wanted.length };
}

function json({ n, headers: all, letter, body }: Numbered): string {
  const headers = Object.keys(all).length > 0 ? JSON.stringify(all) : undefined;
  if (!letter) return line({ n: String(n), headers, body: JSON.stringify(body) });
  const { attempts, cause, item, unreadable, time } = letter;
  return line({
    n: String(n),
    time: time === undefined ? undefined : String(time),
    attempts: toJson(attempts),
    cause: toJson(cause),
    unreadable: unreadable && "true",
    headers,
    item: toJson(item),
  });
}

const list = buildCommand({
  func: async (flags: ListFlags, url: string, name?: string) => {
    if (name === undefined) {
      return await withAdmin(url, flags, async (admin) => {
        const queues = await listQueues(admin);
        if (!queues) throw new UnsupportedError("Cannot list queues: the transport does not list them");
        const found = queues.filter(({ dead = 0 }) => dead > 0);
        const lines = flags.json
          ? found.map(({ name, dead }) => JSON.stringify({ queue: name, dead }))
          : table(["QUEUE", "DEAD"], found.map(({ name, dead }) => [name, dead]));
        for (const each of lines) await print(each);
        if (found.length === 0) sayNothing("dead letters", flags);
      });
    }
    await withBus(url, flags, async (bus, _signal, provider) => {
      const cause = ({ letter }: Numbered) =>
        letter ? `${letter.cause.name}: ${letter.cause.message}` : "cannot be read";
      const shown = (text: string) => process.stdout.isTTY ? beginning(text) : shorten(beginning(text), SHOWN);
      const rows: (string | number | undefined)[][] = [];
      for await (const each of letters(bus.queue(name), flags.count)) {
        const item = each.letter ? toJson(each.letter.item) : each.body ?? "";
        const time = each.letter?.time;
        rows.push([
          each.n,
          time === undefined ? time : seconds(time),
          each.letter?.attempts,
          shown(cause(each)),
          shown(item),
        ]);
        if (flags.json) await print(json(each));
      }
      const lines = flags.json ? [] : table(["N", "TIME", "ATTEMPTS", "CAUSE", "ITEM"], rows);
      for (const each of lines) await print(each);
      if (rows.length === 0) await sayNoLetters(name, flags, provider);
    });
  },
  parameters: {
    flags: {
      ...BUS_FLAGS,
      count: { kind: "parsed", parse: count, brief: "The largest number of letters, at most 10,000", default: "100" },
      json: JSON_FLAG,
    },
    aliases: { n: "namespace", c: "count" },
    positional: {
      kind: "tuple",
      parameters: [URL_ARGUMENT, {
        ...QUEUE_ARGUMENT,
        brief: "The queue; default: list the queues that have dead letters",
        optional: true,
      }],
    },
  },
  docs: {
    brief: "List the dead letters of a queue, or the queues that have dead letters",
    fullDescription: [
      "With a queue: the number of each letter (1 is the oldest), when it became one, its attempts, its cause and the",
      "beginning of its item. A letter of an older version has no time.",
      "Exit code 9: the transport cannot show them (AWS); there, list the queues, retry or purge.",
    ].join("\n"),
    customUsage: [
      "<url> [<queue>] [flags]",
      { input: "redis://localhost", brief: "the queues that have dead letters" },
      { input: "redis://localhost jobs", brief: "the dead letters of a queue" },
      { input: "redis://localhost jobs --json | jq .item", brief: "their items" },
    ],
  },
});

const show = buildCommand({
  func: (flags: BusFlags & { readonly json: boolean }, url: string, name: string, n: number) =>
    withBus(url, flags, async (bus) => {
      const { value: found } = await letters(bus.queue(name), 1, n - 1).next();
      if (!found) {
        throw new ValidationError(`Cannot show letter ${n} of queue "${name}": there is no letter with this number`);
      }
      if (flags.json || !found.letter) return await print(json(found));
      const { attempts, cause, item, time } = found.letter;
      const text = indented(toJson(item));
      const shown = [
        ...time === undefined ? [] : [`time      ${seconds(time)}`],
        `attempts  ${attempts}`,
        `cause     ${cause.name}: ${cause.message}`,
        ...Object.entries(found.headers).map(([name, value]) => `header    ${name}: ${value}`),
        ...["item", ...text.split("\n")],
      ];
      for (const each of shown) await print(each);
    }),
  parameters: {
    flags: { ...BUS_FLAGS, json: JSON_FLAG },
    aliases: { n: "namespace" },
    positional: {
      kind: "tuple",
      parameters: [URL_ARGUMENT, QUEUE_ARGUMENT, {
        parse: count,
        brief: "The number of the letter, as `list` prints it; default: the oldest",
        placeholder: "n",
        default: "1",
      }],
    },
  },
  docs: {
    brief: "Show one dead letter in full",
    fullDescription: "Prints its time, its attempts, its cause, its headers and its whole item, without taking it.",
    customUsage: [
      "<url> <queue> [<n>] [flags]",
      { input: "redis://localhost jobs", brief: "the oldest" },
      { input: "redis://localhost jobs 3 --json", brief: "the third, as JSON" },
    ],
  },
});

/** The arguments of the commands that take letters: the transport, the queue, then numbers of letters. */
const LETTERS = {
  kind: "array",
  minimum: 2,
  parameter: {
    ...URL_ARGUMENT,
    brief: "The transport, the queue, then numbers of letters",
    placeholder: "url queue n",
  },
} as const;

const retry = buildCommand({
  func: (flags: BusFlags & { readonly count: number }, url: string, name: string, ...numbers: string[]) =>
    withBus(url, flags, async (bus, _signal, provider) => {
      const queue = bus.queue(name);
      const { size, only, done } = await select(queue, numbers);
      const limit = Math.min(flags.count, only ? size : Infinity);
      const work = () => queue.dead.retry({ limit, only });
      const retried = await withProgress(`retry ${name}`, Math.min(limit, size), done, work);
      await print(JSON.stringify({ retried }));
      if (retried === 0) await sayNoLetters(name, flags, provider);
    }),
  parameters: {
    flags: {
      ...BUS_FLAGS,
      count: {
        kind: "parsed",
        parse: count,
        brief: "The largest number of letters, the oldest first",
        default: "Infinity",
      },
    },
    aliases: { n: "namespace", c: "count" },
    positional: LETTERS,
  },
  docs: {
    brief: "Put the items of dead letters back into their queue",
    fullDescription: [
      "Each item goes to the end of its queue, with its headers and without attempts; then its letter is removed.",
      'Prints {"retried":…}, the number of items. If the command is killed, one item may exist twice.',
    ].join("\n"),
    customUsage: [
      "<url> <queue> [<n>...] [flags]",
      { input: "redis://localhost jobs -c 1", brief: "the oldest, to test whether the fault is fixed" },
      { input: "redis://localhost jobs 2 5", brief: "the letters that `dead list` prints with these numbers" },
      { input: "redis://localhost jobs", brief: "all" },
    ],
  },
});

const purge = buildCommand({
  func: (flags: BusFlags & { readonly yes: boolean }, url: string, name: string, ...numbers: string[]) =>
    withBus(url, flags, async (bus, signal, provider) => {
      const queue = bus.queue(name);
      const { size, only, done } = await select(queue, numbers);
      if (!await confirm(`Remove ${size} dead letter(s) of queue "${name}"?`, flags.yes, signal)) return;
      const work = () => queue.dead.purge({ only });
      const purged = await withProgress(`purge the ${lettersOf(name)}`, size, done, work);
      await print(JSON.stringify({ purged }));
      if (purged === 0) await sayNoLetters(name, flags, provider);
    }),
  parameters: {
    flags: { ...BUS_FLAGS, yes: YES_FLAG },
    aliases: { n: "namespace", y: "yes" },
    positional: LETTERS,
  },
  docs: {
    brief: "Remove the dead letters of a queue",
    fullDescription: 'Asks first, unless --yes is given. Prints {"purged":…}, the number of removed letters.',
    customUsage: [
      "<url> <queue> [<n>...] [flags]",
      { input: "redis://localhost jobs", brief: "asks, then removes all" },
      { input: "redis://localhost jobs 3", brief: "only the letter that `dead list` prints with this number" },
      { input: "redis://localhost jobs --yes", brief: "in a script" },
    ],
  },
});

/** The commands `tsmq dead …`. */
export const command = buildRouteMap({
  routes: { list, show, retry, purge },
  docs: { brief: "Dead letters: items whose handlers failed too often" },
});
