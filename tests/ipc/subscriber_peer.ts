/** Subscribes to a topic until it is ended. */
import process from "node:process";
import { Bus } from "../../src/bus.ts";
import { ipc } from "../../src/providers/ipc/provider.ts";
import { say } from "../support/peer_side.ts";

const [namespace, topic] = process.argv.slice(2) as [string, string];
const bus = await Bus.open(ipc(), { namespace });
await bus.subscribe(topic, () => {}).ready;
say("subscribed");
