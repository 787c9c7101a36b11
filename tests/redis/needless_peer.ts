/** Opens buses with a password that the server does not need, for `login_test.ts`. */
import process from "node:process";
import { Bus } from "../../mod.ts";
import { redis } from "../../src/providers/redis/provider.ts";
import { say } from "../support/peer_side.ts";

const options = JSON.parse(process.argv[2]!);
for (let i = 0; i < 2; i++) {
  await using bus = await Bus.open(redis(options), { namespace: crypto.randomUUID() });
  const heard = Promise.withResolvers<unknown>();
  await bus.subscribe("t", heard.resolve).ready;
  await bus.publish("event", "t");
  await bus.queue("q").put("item");
  say([await heard.promise, await bus.queue("q").get()]);
}
