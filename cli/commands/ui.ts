import { buildCommand } from "@stricli/core";
import { aborted, print } from "../io.ts";
import { BUS_FLAGS, type BusFlags, interrupted, keysOf, number, openProvider, say, URL_ARGUMENT } from "../session.ts";
import { shownUrl } from "../urls.ts";

interface Flags extends BusFlags {
  readonly host: string;
  readonly port: number;
  readonly interval: number;
  readonly json: boolean;
}

/** The command `tsmq ui`. */
export const command = buildCommand({
  func: async ({ json, keys, ...options }: Flags, url: string) => {
    using interrupts = interrupted();
    // loaded here because it is the largest module of the command line
    const { openDashboard } = await import("../../ui/mod.ts");
    await using dashboard = await openDashboard(await openProvider(url), {
      ...options,
      ...await keysOf({ keys }),
      title: shownUrl(url),
    });
    await print(json ? JSON.stringify({ url: dashboard.url }) : dashboard.url);
    if (!json) say("open this address in a browser; Ctrl-C closes the dashboard");
    await aborted(interrupts.signal);
  },
  parameters: {
    flags: {
      ...BUS_FLAGS,
      host: {
        kind: "parsed",
        parse: String,
        brief: "The address to listen on; other machines can reach any but the default",
        default: "127.0.0.1",
      },
      port: { kind: "parsed", parse: number(), brief: "The port; 0 chooses a free one", default: "0" },
      interval: { kind: "parsed", parse: number(50), brief: "Milliseconds between samples, at least", default: "1000" },
      json: { kind: "boolean", brief: "Print the address as JSON, for programs", default: false, withNegated: false },
    },
    aliases: { n: "namespace", p: "port", i: "interval" },
    positional: { kind: "tuple", parameters: [URL_ARGUMENT] },
  },
  docs: {
    brief: "Open the dashboard, a local web page",
    fullDescription: [
      "Shows rates, queues and their items, dead letters, topics, groups, functions and buses while they change, and retries",
      "or purges items. Prints the address, which contains a token: a request without it is refused. The page loads nothing",
      "from elsewhere. The dashboard reads from the transport only while the page is open.",
    ].join("\n"),
    customUsage: [
      "<url> [flags]",
      { input: "redis://localhost", brief: "the dashboard of the namespace global" },
      { input: "redis://localhost -n shop -p 8080", brief: "of another namespace, on a fixed port" },
    ],
  },
});
