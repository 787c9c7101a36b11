/** Publishes to a bus of another user of its group, and prints how many it reached. Arguments: the namespace, the group. */
import process from "node:process";
import { Bus } from "../../src/bus.ts";
import { ipc } from "../../src/providers/ipc/provider.ts";

const [namespace, group] = process.argv.slice(2) as [string, string];
const bus = await Bus.open(ipc({ group: Number(group) }), { namespace });
console.log(`reached ${await bus.publish("theirs", "topic")}`);
await bus.close();
