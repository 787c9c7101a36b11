/** Consumes items until one kills this process, as it is handled or as it is read, for `poison_test.ts`. */
import process from "node:process";
import { Bus } from "../../mod.ts";
import { redis } from "../../src/providers/redis/provider.ts";
import { say } from "../support/peer_side.ts";

const [port, namespace, where, concurrency, lease = 300] = JSON.parse(process.argv[2]!) as [
  number,
  string,
  "handled" | "read",
  number,
  number?,
];
const bus = await Bus.open(redis({ port }), { namespace });
const die = (item: unknown) => item === "poison" && process.kill(process.pid, "SIGKILL");
/** Says which item is handled, and which attempt it is. */
const handle = (item: unknown, { attempt }: { attempt: number }) => {
  if (where === "handled") die(item);
  if (concurrency > 1) say([item, attempt]); // it takes longer than a handler
};
const validate = (value: unknown) => ({ value: where === "read" && die(value) || value });
const schema = { "~standard": { version: 1, vendor: "test", validate } } as const;
bus.queue("jobs", { schema }).consume(handle, { concurrency, maxAttempts: 2, lease });
say("ready");
