/**
 * Another user of the machine, in a namespace whose directories are open to everybody. Its arguments: "plant" or "steal", the directory of
 * the namespace, and that of the queue in it; or "subscribe", the directory of a topic, the beginning of the names of buses, and a pid.
 */
import { mkdirSync, readdirSync, readlinkSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import process from "node:process";

const [what, root, queue, pid] = process.argv.slice(2) as [string, string, string, string?];
process.umask(0);

/** Creates the directories of a queue before the bus does. */
function plant(): void {
  for (const each of ["over/9999999999999999-000000", "held", "back", "bodies", "moving", "later"]) {
    mkdirSync(`${root}/${queue}/${each}`, { recursive: true });
    writeFileSync(`${root}/${queue}/${each}/keep`, "");
  }
}

/** Reads and removes the items that the bus has put into them. */
function steal(): number {
  let count = 0;
  try {
    for (const page of readdirSync(`${root}/${queue}/over`)) {
      for (const name of readdirSync(`${root}/${queue}/over/${page}`)) {
        if (name === "keep" || !readlinkSync(`${root}/${queue}/over/${page}/${name}`).includes("mine")) continue;
        rmSync(`${root}/${queue}/over/${page}/${name}`);
        count++;
      }
    }
  } catch {
    // it can read no further
  }
  return count;
}

/** Subscribes buses of PyMQ: one that seems to be alive, and more than an event may have. */
function subscribe(): void {
  for (let i = 0; i < 1_100; i++) symlinkSync("x", `${root}/${queue}${i === 0 ? pid : 5_000_000 + i}`); // above every pid
}

if (what !== "steal") {
  try {
    if (what === "plant") plant();
    else subscribe();
    console.log("planted");
  } catch (error) {
    console.log((error as { code?: string }).code);
  }
} else console.log(`stole ${steal()}`);
