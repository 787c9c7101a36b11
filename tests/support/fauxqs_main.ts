import { startFauxqs } from "fauxqs";
import process from "node:process";
import { say, told } from "./peer_side.ts";

const server = await startFauxqs({ port: 0, host: "127.0.0.1", logger: false });
say({ port: server.port });
for await (const _ of told()); // until the test ends
process.exit();
