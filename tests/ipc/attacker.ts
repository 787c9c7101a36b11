/**
 * Another user of this machine, who attacks a namespace while `victim.ts` stands still before a system call. It reads commands from
 * one pipe and answers each in the other. Its arguments: the pipes, the directory that links lead to.
 */
import {
  chmodSync,
  lstatSync,
  mkdirSync,
  openSync,
  readdirSync,
  readSync,
  renameSync,
  rmSync,
  symlinkSync,
  utimesSync,
  writeFileSync,
  writeSync,
} from "node:fs";
import process from "node:process";
import { writeItem } from "../../src/providers/ipc/frames.ts";
import { queueDirectory } from "../../src/providers/ipc/items.ts";
import { Names } from "../../src/providers/ipc/names.ts";

const [commands, answers, home] = process.argv.slice(2) as [string, string, string];
process.umask(0);
let count = 0;

/** Whether something could be done. What fails is no part of the attack. */
function attempt(act: () => void): boolean {
  try {
    act();
    return true;
  } catch {
    return false;
  }
}

/** The directories below a directory, the deepest first. */
function below(path: string): string[] {
  let names: string[] = [];
  attempt(() => names = readdirSync(path));
  return names.map((name) => `${path}/${name}`)
    .filter((each) => attempt(() => void readdirSync(each)) && !lstatSync(each).isSymbolicLink())
    .flatMap((each) => [...below(each), each]);
}

const attacks: Record<string, (namespace: string) => boolean> = {
  /** Creates the namespace first, with an item in a queue, open to everybody. */
  plant(namespace) {
    const root = `/dev/shm/${namespace}`;
    if (!attempt(() => mkdirSync(root))) return false;
    const back = `${root}/${queueDirectory(new Names(namespace).queue("queue"))}/back`;
    for (const each of [back, `${root}/loops`]) mkdirSync(each, { recursive: true });
    const item = `${back}/${"0".repeat(16)}-000000.0.0.bus`;
    writeFileSync(item, writeItem("forged", false));
    chmodSync(item, 0o666);
    utimesSync(item, 0, 0); // it is due
    return true;
  },

  /** Puts a file into each directory that has the name of one in the victim's home. */
  seed(namespace) {
    for (const each of below(`/dev/shm/${namespace}`)) {
      if (attempt(() => writeFileSync(`${each}/precious`, ""))) continue;
      const mine = attempt(() => renameSync(each, `${each}-${count++}`)) && attempt(() => mkdirSync(each));
      if (mine) attempt(() => writeFileSync(`${each}/precious`, ""));
    }
    return true;
  },

  /** Replaces each directory without subdirectories by a link to the victim's home. */
  leaves(namespace) {
    const all = below(`/dev/shm/${namespace}`);
    return swap(all.filter((each) => !all.some((other) => other.startsWith(`${each}/`))));
  },

  /** Replaces each directory in one that is open to everybody. */
  invade(namespace) {
    return swap(below(`/dev/shm/${namespace}`));
  },

  /** Replaces the directories of queues, and each one below the namespace's own. */
  parents(namespace) {
    const root = `/dev/shm/${namespace}`;
    return swap(below(root).filter((each) => /^(queues\/)?[^/]+$/.test(each.slice(root.length + 1))));
  },

  clear(namespace) {
    return attempt(() => rmSync(`/dev/shm/${namespace}`, { recursive: true, force: true }));
  },
};

function swap(directories: readonly string[]): boolean {
  const swapped = directories.map((each) =>
    attempt(() => {
      renameSync(each, `${each}-${count++}`);
      symlinkSync(home, each);
    })
  );
  return swapped.includes(true);
}

const [from, to] = [openSync(commands, "r+"), openSync(answers, "r+")];
const buffer = new Uint8Array(4_096);
for (let rest = "";;) {
  const lines = (rest + new TextDecoder().decode(buffer.subarray(0, readSync(from, buffer)))).split("\n");
  rest = lines.pop()!;
  for (const line of lines) {
    const [attack, namespace] = line.split(" ") as [string, string];
    if (attack === "end") process.exit();
    writeSync(to, new TextEncoder().encode(`${attacks[attack]!(namespace)}\n`));
  }
}
