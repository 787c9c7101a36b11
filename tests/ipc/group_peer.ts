/** Uses the items and files of another user of the group, and prints each result. Arguments: the namespace, the group. */
import process from "node:process";
import { Bus } from "../../src/bus.ts";
import { BusError } from "../../src/errors.ts";
import type { Delivery } from "../../src/provider/provider.ts";
import { ItemBatch } from "../../src/providers/ipc/item_batch.ts";
import { Leases } from "../../src/providers/ipc/leases.ts";
import { ipc } from "../../src/providers/ipc/provider.ts";
import { openNamespace } from "./ground.ts";

const [namespace, group] = process.argv.slice(2) as [string, string];
const options = { group: Number(group) };
const bus = await Bus.open(ipc(options), { namespace });
const internals = await openNamespace(namespace, options);
const said: Record<string, unknown> = {};

async function attempt(what: string, act: () => Promise<unknown>): Promise<void> {
  said[what] = await act().catch((error) => error instanceof BusError ? error.code : String(error));
}

/** Takes the item of a queue. Returns the item and the number of its deliveries. */
async function receive(queue: string): Promise<unknown> {
  const lease = await bus.queue<string>(queue).receive({ timeout: 5_000 });
  await lease.ack();
  return [lease.item, lease.attempt];
}

await attempt("back", () => receive("back"));
await attempt("back, for good", () => bus.queue("for good").get({ timeout: 5_000 }));
await attempt("in the overflow", () => receive("overflow"));
await attempt("held by a dead bus", () => receive("held"));
await attempt("in the crash slot of a dead bus", () => receive("taken"));
await attempt("held here, by one who stands still", async () => {
  const leases = new Leases(internals, internals.names.newBus(internals.processes.self, 0));
  const batch = new ItemBatch<Delivery>(1);
  leases.take(internals.names.queue("still"), batch, 100, () => "");
  return [batch.items.length, await receive("still")];
});
await attempt("freed", () => bus.queue("theirs").free());
await attempt("a group of others", () => Bus.open(ipc({ group: 0 }), { namespace: `${namespace}-0` }));
await bus.close();
console.log(JSON.stringify(said));
