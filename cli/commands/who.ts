import { buildCommand } from "@stricli/core";
import { Bus } from "../../mod.ts";
import type { Admin, BusInfo } from "../../src/provider/admin.ts";
import type { Provider } from "../../src/provider/provider.ts";
import { messageOf, print } from "../io.ts";
import { type Overview, readOverview } from "../overview.ts";
import {
  BUS_FLAGS,
  type BusFlags,
  JSON_FLAG,
  keysOf,
  ONCE,
  say,
  sayNothing,
  URL_ARGUMENT,
  withAdmin,
} from "../session.ts";
import { seconds, table } from "../table.ts";
import { TrafficMeter, type TrafficRow } from "../traffic.ts";

interface Flags extends BusFlags {
  readonly json: boolean;
}

/** Returns a short name of a bus: its program and process, or its id. */
function nameOf({ id, process, pid }: BusInfo): string {
  return process === undefined && pid === undefined ? id : `${process ?? "?"}:${pid ?? "?"}`;
}

/** Everything that the command lists. */
type Found = Overview & { readonly consumed: readonly TrafficRow[] };

/** Returns one line of JSON for each thing. */
function records({ buses = [], functions = [], topics = [], groups = [], consumed }: Found): string[] {
  return [
    ...buses.map((bus) => ({ kind: "bus", ...bus })),
    ...functions.map(({ name, servers }) => ({ kind: "function", name, servers: servers.map(({ id }) => id) })),
    ...topics.map((topic) => ({ kind: "topic", ...topic })),
    ...groups.map(({ target, pattern, group, queue }) => ({ kind: "group", target, pattern, group, queue })),
    // without a limit, the concurrency is null
    ...consumed.map(({ name, consumers, concurrency }) => ({ kind: "queue", name, consumers, concurrency })),
  ].map((record) => JSON.stringify(record));
}

/** Returns a table for each kind of thing. */
function tables({ buses, functions, topics, groups, consumed }: Found): string[] {
  const since = (ms: number | undefined) => ms === undefined ? undefined : seconds(ms);
  return [
    buses && table(
      ["BUS", "PROGRAM", "HOST", "PID", "SINCE"],
      buses.map((bus) => [bus.id, bus.process, bus.host, bus.pid, since(bus.since)]),
    ),
    functions && table(
      ["FUNCTION", "SERVERS", "BY"],
      functions.map(({ name, servers }) => [name, servers.length, servers.map(nameOf).join(", ")]),
    ),
    topics && table(
      ["TOPIC", "SUBSCRIBERS", "PATTERN"],
      topics.map(({ name, subscribers, pattern }) => [name, subscribers, pattern ? "yes" : ""]),
    ),
    groups && table(
      ["TARGET", "PATTERN", "GROUP", "WAITING", "LEASED"],
      groups.map(({ target, pattern, group, items: { waiting, leased } }) => {
        return [target, pattern ? "yes" : "", group, waiting, leased];
      }),
    ),
    table(
      ["QUEUE", "CONSUMERS", "CONCURRENCY"],
      consumed.map(({ name, consumers, concurrency }) => [name, consumers, concurrency]),
    ),
  ].flatMap((lines) => lines && lines.length > 1 ? [...lines, ""] : []);
}

/** Asks the buses which queues they consume. */
async function consumedQueues(provider: Provider, admin: Admin, flags: BusFlags): Promise<TrafficRow[]> {
  const { namespace } = flags;
  try {
    await using bus = await Bus.open(provider, { namespace, ...await keysOf(flags), ...ONCE });
    bus.addEventListener("error", ({ error }) => say(messageOf(error)));
    const rows = await new TrafficMeter(bus, admin, 0).look(() => Promise.resolve({ queues: [], complete: true }));
    return rows.filter(({ consumers = 0 }) => consumers > 0).sort((a, b) => a.name < b.name ? -1 : 1);
  } catch (error) {
    // the user may be allowed to list the namespace, but not to open a bus
    say(`the consumers are not known: ${messageOf(error)}`);
    return [];
  }
}

/** The command `tsmq who`. */
export const command = buildCommand({
  func: (flags: Flags, url: string) =>
    withAdmin(url, flags, async (admin, provider) => {
      const overview = await readOverview(admin); // before the bus of this command is up
      const consumed = overview.buses?.length === 0 ? [] : await consumedQueues(provider, admin, flags);
      const found = { ...overview, consumed };
      const lines = flags.json ? records(found) : tables(found);
      for (const line of lines) await print(line);
      if (lines.length === 0) sayNothing("buses, functions, topics or groups", flags);
    }),
  parameters: {
    flags: { ...BUS_FLAGS, json: JSON_FLAG },
    aliases: { n: "namespace" },
    positional: { kind: "tuple", parameters: [URL_ARGUMENT] },
  },
  docs: {
    brief: "List the buses that are up, functions, topics, groups and consumers",
    fullDescription: [
      "Lists the buses (program, host, process, since when), the functions with the buses that serve them, the topics and",
      "globs with the number of their subscribers, the groups, and the queues that have consumers. The members of a group are",
      "consumers of its queue. PyMQ and versions of tsmq that name no consumers are not counted. A value that the transport",
      "does not know is `-`: Redis lists no globs, AWS lists them all as `*`. A program on Deno knows the name of its host only",
      "with --allow-sys=hostname. Without it, HOST is the address of its connection to Redis, or `-`.",
    ].join("\n"),
    customUsage: [
      "<url> [flags]",
      { input: "redis://localhost", brief: "tables" },
      {
        input: `redis://localhost --json | jq 'select(.kind == "function")'`,
        brief: "the functions and their servers",
      },
    ],
  },
});
