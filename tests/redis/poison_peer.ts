/** Consumes items until one kills this process, for `poison_test.ts`. */
import process from "node:process";
import { Bus } from "../../mod.ts";
import { redis } from "../../src/providers/redis/provider.ts";
import { say } from "../support/peer_side.ts";

const [port, namespace] = JSON.parse(process.argv[2]!) as [number, string];
const bus = await Bus.open(redis({ port }), { namespace });
bus.queue("jobs").consume((item) => item === "poison" && process.kill(process.pid, "SIGKILL"), {
  maxAttempts: 2,
  lease: 300,
});
say("ready");
