/** Consumes items until one kills this process, as it is handled or as it is read, for `poison_test.ts`. */
import process from "node:process";
import { Bus } from "../../mod.ts";
import { redis } from "../../src/providers/redis/provider.ts";
import { say } from "../support/peer_side.ts";

const [port, namespace, where] = JSON.parse(process.argv[2]!) as [number, string, "handled" | "read"];
const bus = await Bus.open(redis({ port }), { namespace });
const die = (item: unknown) => item === "poison" && process.kill(process.pid, "SIGKILL");
const validate = (value: unknown) => ({ value: where === "read" && die(value) || value });
const schema = { "~standard": { version: 1, vendor: "test", validate } } as const;
bus.queue("jobs", { schema }).consume(where === "handled" ? die : () => {}, { maxAttempts: 2, lease: 300 });
say("ready");
