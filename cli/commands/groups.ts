import { buildCommand, buildRouteMap } from "@stricli/core";
import { BUS_FLAGS, type BusFlags, URL_ARGUMENT, withBus } from "../session.ts";

interface Flags extends BusFlags {
  readonly pattern: boolean;
}

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
      "No more events are stored for the group. End its members first: they would wait for events. Prints nothing on success.",
    customUsage: [
      "<url> <target> <group> [flags]",
      { input: "redis://localhost orders billing", brief: "the group of a topic" },
      { input: "redis://localhost 'shop.*' audit -p", brief: "the group of a glob" },
    ],
  },
});

/** The commands `tsmq groups …`. */
export const command = buildRouteMap({
  routes: { free },
  docs: { brief: "Groups: durable subscriptions" },
});
