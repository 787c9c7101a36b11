import { buildCommand, buildRouteMap } from "@stricli/core";
import { UnsupportedError, ValidationError } from "../../src/errors.ts";
import { print } from "../io.ts";
import { readOverview } from "../overview.ts";
import {
  BUS_FLAGS,
  type BusFlags,
  JSON_FLAG,
  sayNothing,
  URL_ARGUMENT,
  withAdmin,
  withBusAndAdmin,
} from "../session.ts";
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
        ["TARGET", "PATTERN", "GROUP", "WAITING", "LEASED", "DELAYED", "DEAD"],
        rows.map(({ target, pattern, group, waiting, leased, delayed, dead }) => {
          return [target, pattern ? "yes" : "", group, waiting, leased, delayed, dead];
        }),
      );
      for (const line of lines) await print(line);
      if (rows.length === 0) sayNothing("groups", flags);
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
    withBusAndAdmin(url, flags, async (bus, admin) => {
      const { pattern } = flags;
      const what = `group "${group}" of the ${pattern ? "glob" : "topic"} "${target}"`;
      // the user may be allowed to free a group, but not to list groups
      const groups = await admin?.groups().catch(() => undefined);
      const found = groups?.filter((each) => each.target === target && each.group === group);
      const listed = found?.some((each) => each.pattern === pattern);
      // the group of a topic and the group of a glob would have the same queue
      if (found && found.length > 0 && !listed) {
        const [other, flag] = pattern ? ["topic", "without --pattern"] : ["glob", "with --pattern"];
        throw new ValidationError(`Cannot free ${what}: it is the group of a ${other}; run the command ${flag}`);
      }
      // joins the group as a member, and frees it before an event arrives
      await bus.subscribe(target, () => {}, { group, pattern }).free();
      if (found && !listed) sayNothing(what, flags);
    }),
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
