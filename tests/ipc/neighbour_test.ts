/** Attacks of another user of the machine on a namespace, at every moment at which it can act. */
// run: on bun, kernel-queues
import { assertEquals, assertMatch } from "@std/assert";
import { describe, it } from "@std/testing/bdd";
import { execFileSync } from "node:child_process";
import { chmodSync, chownSync, closeSync, openSync, writeSync } from "node:fs";
import { makeDir, removeDir } from "../support/child.ts";
import { skip } from "../support/skip.ts";
import { noOtherUser, runAs } from "./ground.ts";

const VICTIM = new URL("victim.ts", import.meta.url);
const ATTACKER = new URL("attacker.ts", import.meta.url);
/** Two users of this run alone. The first one's id is the group of both. */
const USER = 40_000 + Math.floor(Math.random() * 20_000);
const OTHER = USER + 1;

/** The results of the victim after the attacker has acted before each of its system calls. */
async function attacked(attack: string, group?: number): Promise<{ found: string[]; trials: number }> {
  const directory = makeDir("neighbours");
  const [commands, answers, home] = ["commands", "answers", "home"].map((name) => `${directory}/${name}`) as [
    string,
    string,
    string,
  ];
  execFileSync("mkfifo", ["-m", "666", commands, answers]);
  execFileSync("mkdir", ["-m", "700", home]);
  chownSync(home, USER, USER);
  chmodSync(directory, 0o755);
  const [to, back] = [openSync(commands, "r+"), openSync(answers, "r+")];
  const attacker = runAs({ user: OTHER, group: USER }, ATTACKER, commands, answers, home)
    .finally(() => writeSync(back, new TextEncoder().encode("gone\n"))); // the victim does not wait for it
  const shared = group === undefined ? [] : [String(group)];
  const { output } = await runAs(USER, VICTIM, commands, answers, home, attack, ...shared);
  writeSync(to, new TextEncoder().encode("end\n"));
  await attacker;
  for (const each of [to, back]) closeSync(each);
  removeDir(directory);
  assertMatch(output, /^\{.*\}$/m);
  return JSON.parse(/^\{.*\}$/m.exec(output)![0]);
}

describe("another user, who acts before any system call of a bus,", () => {
  const cases: [name: string, attack: string, group?: number][] = [
    ["forges no item by creating the namespace first", "plant"],
    ["causes no file of the bus's user to be removed through a link", "leaves"],
    ["cannot change files of the bus's user through a link in a directory into which everybody may write", "invade"],
    ["cannot change files of the bus's user through a link, as a member of its group", "leaves", USER],
    ["cannot change files of the bus's user through a link further up, as a member of its group", "parents", USER],
  ];
  const missing = noOtherUser(VICTIM);
  for (const [name, attack, group] of cases) {
    if (missing) {
      skip(name, missing);
      continue;
    }
    it(name, async () => {
      const { found, trials } = await attacked(attack, group);
      assertEquals(found, []);
      assertEquals(trials > 20, true, `${trials} moments`);
    });
  }
});
