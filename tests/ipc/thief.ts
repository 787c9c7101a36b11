/**
 * Another user of the machine, in a namespace whose directories are open to everybody. Its arguments: "plant" or "steal", the directory of
 * the namespace, and that of the queue in it.
 */
import { mkdirSync, readdirSync, readlinkSync, rmSync, writeFileSync } from "node:fs";
import process from "node:process";

const [what, root, queue] = process.argv.slice(2) as [string, string, string];
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

if (what === "plant") {
  try {
    plant();
    console.log("planted");
  } catch (error) {
    console.log((error as { code?: string }).code);
  }
} else console.log(`stole ${steal()}`);
