/** Starts the emulator that the environment names, and uses it if the arguments say so. */
import process from "node:process";
import { Bus } from "../../src/bus.ts";
import { aws } from "../../src/providers/aws/provider.ts";
import { say } from "../support/peer_side.ts";
import { proxied, startEmulator } from "./emulator.ts";

const emulator = await startEmulator();
if (process.argv[2] === "use") await (await Bus.open(aws(emulator.options), { namespace: "elsewhere" })).close();
say({ options: emulator.options, proxied });
await emulator.stop();
