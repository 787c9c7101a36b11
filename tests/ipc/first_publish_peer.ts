/** Publishes an event directly from a timer, and again each time the test says so, for `first_publish_test.ts`. */
import process from "node:process";
import { Bus } from "../../src/bus.ts";
import { ipc } from "../../src/providers/ipc/provider.ts";
import { say, told } from "../support/peer_side.ts";

const bus = await Bus.open(ipc(), { namespace: process.argv[2]! });
const publish = () => void setTimeout(() => bus.publish(1, "orders").then(say)); // not after an await
publish();
for await (const _ of told()) publish();
await bus.close();
