/** Serves `whose` over Redis until it is killed, and reports each run. */
import process from "node:process";
import { expose, init } from "../../mod.ts";
import { redis } from "../../src/providers/redis/provider.ts";
import { say } from "../support/peer_side.ts";

const [url, namespace] = process.argv.slice(2) as [string, string];
await expose("whose", () => {
  say("ran");
  return "the peer's";
});
await init(redis({ url }), { namespace });
say("served");
