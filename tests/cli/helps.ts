/** Prints the help of each command that an argument names. */
import process from "node:process";
import { say } from "../support/peer_side.ts";
import { inside } from "./inside.ts";

for (const command of process.argv.slice(2)) say(await inside([...command.split(" "), "--help"]));
