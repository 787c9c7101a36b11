import { buildCommand } from "@stricli/core";
import type { BusInfo } from "../../src/provider/admin.ts";
import { print } from "../io.ts";
import { type Overview, readOverview } from "../overview.ts";
import { BUS_FLAGS, type BusFlags, JSON_FLAG, sayNothing, URL_ARGUMENT, withAdmin } from "../session.ts";
import { table } from "../table.ts";

interface Flags extends BusFlags {
  readonly json: boolean;
}

/** Returns a short name of a bus: its program and process, or its id. */
function nameOf({ id, process, pid }: BusInfo): string {
  return process === undefined && pid === undefined ? id : `${process ?? "?"}:${pid ?? "?"}`;
}

/** Returns one line of JSON for each thing. */
function records({ buses = [], functions = [], topics = [], groups = [] }: Overview): string[] {
  return [
    ...buses.map((bus) => ({ kind: "bus", ...bus })),
    ...functions.map(({ name, servers }) => ({ kind: "function", name, servers: servers.map(({ id }) => id) })),
    ...topics.map((topic) => ({ kind: "topic", ...topic })),
    ...groups.map(({ target, pattern, group, queue }) => ({ kind: "group", target, pattern, group, queue })),
  ].map((record) => JSON.stringify(record));
}

/** Returns a table for each kind of thing. */
function tables({ buses, functions, topics, groups }: Overview): string[] {
  const since = (ms: number | undefined) =>
    ms === undefined ? undefined : new Date(ms).toISOString().slice(0, 19) + "Z";
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
  ].flatMap((lines) => lines && lines.length > 1 ? [...lines, ""] : []);
}

/** The command `tsmq who`. */
export const command = buildCommand({
  func: (flags: Flags, url: string) =>
    withAdmin(url, flags, async (admin) => {
      const found = await readOverview(admin);
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
    brief: "List the buses that are up, functions, topics and groups",
    fullDescription: [
      "Lists the buses (program, host, process, since when), the functions with the buses that serve them, the topics and",
      "globs with the number of their subscribers, and the groups. A value that the transport does not know is `-`: Redis",
      "lists no globs, AWS lists them all as `*`.",
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
