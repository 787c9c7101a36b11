/** A service that waits for a Redis server that is down, until SIGTERM. Then the process ends by itself. */
import process from "node:process";
import { init, shutdown } from "../../mod.ts";
import { redis } from "../../src/providers/redis/provider.ts";
import { say } from "../support/peer_side.ts";

const [port, connectTimeout] = process.argv.slice(2).map(Number) as [number, number];
process.once("SIGTERM", () => void shutdown().then(() => say("shutdown() has resolved")));
const opening = init(redis({ port }), { waitOnFirstConnect: true, connectTimeout });
say("opening");
await opening.catch((error) => say(String(error)));
