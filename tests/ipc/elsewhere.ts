/** Makes this process believe that the machine does not run Linux. */
import process from "node:process";
import { Bus } from "../../src/bus.ts";
import { ipc } from "../../src/providers/ipc/provider.ts";
import { say } from "../support/peer_side.ts";

Object.defineProperty(process, "platform", { value: "darwin" });
if ("Deno" in globalThis) Object.defineProperty(Deno, "build", { value: { ...Deno.build, os: "darwin" } });
await Bus.open(ipc()).catch((error: Error) => say([error.name, error.message]));
