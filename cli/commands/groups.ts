import { buildCommand, buildRouteMap } from "@stricli/core";
import { UnsupportedError } from "../../src/errors.ts";
import { print } from "../io.ts";
import { readOverview } from "../overview.ts";
import { BUS_FLAGS, type BusFlags, JSON_FLAG, URL_ARGUMENT, withAdmin, withBus } from "../session.ts";
import { table } from "../table.ts";

interface Flags extends BusFlags {
  readonly pattern: boolean;
}

const list = buildCommand({
  func: (flags: BusFlags & { readonly json: boolean }, url: string) =>
    withAdmin(url, flags, async (admin) => {
      const { groups } = await readOverview(admin);
      if (!groups) throw new UnsupportedError("Cannot list groups: the transport does not list them");
      const rows = groups.map(({ target, pattern, group, items: { waiting, leased, delayed, dead } }) => (
        { target, pattern, group, waiting, leased, delayed, dead }
      ));
      const lines = flags.json ? rows.map((row) => JSON.stringify(row)) : table(
        ["TARGET", "GROUP", "WAITING", "LEASED", "DELAYED", "DEAD"],
        rows.map((
          { target, group, waiting, leased, delayed, dead },
        ) => [target, group, waiting, leased, delayed, dead]),
      );
      for (const line of lines) await print(line);
    }),
  parameters: {
    flags: { ...BUS_FLAGS, json: JSON_FLAG },
    aliases: { n: "namespace" },
    positional: { kind: "tuple", parameters: [URL_ARGUMENT] },
  },
  docs: {
    brief: "List the groups and their stored events",
    fullDescription:
      "Lists each group with the numbers of its waiting, leased and delayed events and of its dead letters.",
    customUsage: [
      "<url> [flags]",
      { input: "redis://localhost", brief: "a table" },
      { input: "redis://localhost --json | jq 'select(.waiting > 1000)'", brief: "the groups that lag behind" },
    ],
  },
});

const free = buildCommand({
  func: (flags: Flags, url: string, target: string, group: string) =>
    // a member that leaves before an event arrives
    withBus(url, flags, (bus) => bus.subscribe(target, () => {}, { group, pattern: flags.pattern }).free()),
  parameters: {
    flags: {
      ...BUS_FLAGS,
      pattern: { kind: "boolean", brief: "The target is a glob: *, ?, […]", default: false, withNegated: false },
    },
    aliases: { n: "namespace", p: "pattern" },
    positional: {
      kind: "tuple",
      parameters: [
        URL_ARGUMENT,
        { parse: String, brief: "The topic or glob", placeholder: "target" },
        { parse: String, brief: "The name of the group", placeholder: "group" },
      ],
    },
  },
  docs: {
    brief: "End a group, with its stored events and dead letters",
    fullDescription:
      "No more events are stored for the group. End its members first: they would wait for events that no longer arrive. Prints nothing on success.",
    customUsage: [
      "<url> <target> <group> [flags]",
      { input: "redis://localhost orders billing", brief: "the group of a topic" },
      { input: "redis://localhost 'shop.*' audit -p", brief: "the group of a glob" },
    ],
  },
});

/** The commands `tsmq groups …`. */
export const command = buildRouteMap({
  routes: { list, free },
  docs: { brief: "Groups: durable subscriptions" },
});
