/** A publisher, or a member of a group, in a process that is killed at any time. */
import { writeSync } from "node:fs";
import process from "node:process";
import { play, type Role } from "./group_roles.ts";
import { type Place, providerOf } from "./places.ts";

const [place, role] = process.argv.slice(2).map((text) => JSON.parse(text)) as [Place, Role];
// the report is in the pipe when this returns, so a kill does not lose it
await play(providerOf(place), role, (said) => writeSync(1, `@${JSON.stringify(said)}\n`), new AbortController().signal);
