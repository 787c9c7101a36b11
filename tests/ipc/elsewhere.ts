/** A machine that is no Linux, as far as this process can tell. */
import process from "node:process";
import { Bus } from "../../src/bus.ts";
import { ipc } from "../../src/providers/ipc/provider.ts";
import { say } from "../support/peer_side.ts";

Object.defineProperty(process, "platform", { value: "darwin" });
await Bus.open(ipc()).catch((error: Error) => say([error.name, error.message]));
