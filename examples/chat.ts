/**
 * A chat: every line that you type is an event, and all participants receive it.
 *
 *     deno task install && deno run -A examples/chat.ts Ada                    in one terminal,
 *     bun examples/chat.ts Bo                             in another, on the same Linux machine; Ctrl-D leaves
 *     deno task install && deno run -A examples/chat.ts Ada redis://localhost  between machines
 *
 * @module
 */
import process from "node:process";
import { createInterface } from "node:readline";
import { providerFor } from "../cli/mod.ts";
import { Bus } from "../mod.ts";
import { ownTransport } from "./providers.ts";

/** A line of a participant. The class names the topic; only its fields are sent. */
class Line {
  static readonly topic = "chat.Line";
  constructor(readonly who: string, readonly what: string) {}
}

const [name = `guest ${process.pid}`, url] = process.argv.slice(2);
await using transport = url === undefined ? await ownTransport() : undefined;
await using bus = await Bus.open(await providerFor(url ?? transport!.url), { namespace: "chat" });

const left = Promise.withResolvers<void>();
const subscription = bus.subscribe(Line, ({ who, what }) => {
  console.log(`${who}: ${what}`);
  // events of one publisher arrive in order, so all our lines have arrived before this one
  if (who === name && what === "(leaves)") left.resolve();
});
// a subscription receives only events that are published after it is ready
await subscription.ready;

await bus.publish(new Line(name, "(enters)"));
for await (const line of createInterface({ input: process.stdin })) await bus.publish(new Line(name, line));
await bus.publish(new Line(name, "(leaves)"));
await left.promise;
