import process from "node:process";
import { here } from "./peer.ts";
import { say, told } from "./peer_side.ts";

say({ runtime: here, args: process.argv.slice(2), word: process.env.TSMQ_WORD });
for await (const value of told()) {
  if (value === "throw") throw new Error("thrown on request");
  say(value);
}
