/**
 * A chat: every line that you type is an event, and everybody in the room sees it.
 *
 *     deno run -A examples/chat.ts Ada                    in one terminal,
 *     bun examples/chat.ts Bo                             in another, on the same Linux machine; Ctrl-D leaves
 *     deno run -A examples/chat.ts Ada redis://localhost  between machines
 *
 * @module
 */
import process from "node:process";
import { createInterface } from "node:readline";
import { providerFor } from "../cli/mod.ts";
import { Bus } from "../mod.ts";
import { ownTransport } from "./providers.ts";

/** What is said in a room. The class names the topic, and its fields are all that travels. */
class Said {
  static readonly topic = "chat.Said";
  constructor(readonly who: string, readonly what: string) {}
}

const [name = `guest ${process.pid}`, url] = process.argv.slice(2);
await using transport = url === undefined ? await ownTransport() : undefined;
await using bus = await Bus.open(await providerFor(url ?? transport!.url), { namespace: "chat" });

const left = Promise.withResolvers<void>();
const subscription = bus.subscribe(Said, ({ who, what }) => {
  console.log(`${who}: ${what}`);
  // events of one publisher come in their order: after our goodbye nothing of ours is under way
  if (who === name && what === "(leaves)") left.resolve();
});
// what is published before a subscription is there does not come to it
await subscription.ready;

await bus.publish(new Said(name, "(enters)"));
for await (const line of createInterface({ input: process.stdin })) await bus.publish(new Said(name, line));
await bus.publish(new Said(name, "(leaves)"));
await left.promise;
