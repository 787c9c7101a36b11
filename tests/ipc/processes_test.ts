// run: kernel-queues
import { assert, assertEquals } from "@std/assert";
import { describe, it } from "@std/testing/bdd";
import { readFileSync } from "node:fs";
import process from "node:process";
import type { ParsedBus } from "../../src/providers/ipc/names.ts";
import { loadPosix } from "../../src/providers/ipc/posix.ts";
import { Processes } from "../../src/providers/ipc/processes.ts";
import { Child } from "../support/child.ts";
import { until } from "../support/until.ts";

/** The state and start time of a process, from the kernel. */
function statOf(pid: number): { state: string; start: number } {
  const fields = readFileSync(`/proc/${pid}/stat`, "utf8").replace(/^.*\) /s, "").split(" ");
  return { state: fields[0]!, start: Number(fields[19]) };
}

describe("Processes", () => {
  it("a process is dead once it has ended, even while it is a zombie", async () => {
    const posix = await loadPosix();
    const { self } = new Processes(posix);
    assertEquals(self.pid, process.pid);
    assertEquals(self.start, statOf(process.pid).start);
    const busName = (pid: number, start: number): ParsedBus => ({ ...self, pid, start, pymq: false });
    // start times are cached, so each check uses a new instance
    const dead = (pid: number, start: number) => new Processes(posix).dead(busName(pid, start));
    assert(!dead(self.pid, self.start));
    assert(dead(self.pid, self.start - 1), "another process had this id before");

    // its child becomes a zombie when it ends, because the shell that would wait for it has become another program
    const parent = new Child("sh", ["-c", "exec 3<&0; head -n 1 <&3 >/dev/null & echo $!; exec sleep 600"]);
    const child = Number(await until("the child has started", () => /^\d+(?=\n)/.exec(parent.output)?.[0]));
    const { start } = statOf(child);
    assert(!dead(child, start));
    parent.write("\n");
    await until("it is a zombie", () => statOf(child).state === "Z");
    assert(dead(child, start));
    await parent.kill();
    assert(dead(parent.pid, statOf(process.pid).start));
  });

  it("a process whose id no process can have does not exist: members of a group can create a bus of any name", async () => {
    const posix = await loadPosix();
    const processes = new Processes(posix);
    for (const pid of [0, 2 ** 31, 2 ** 32 - 1, 2 ** 32 + process.pid, 9_999_999_999]) {
      assertEquals(processes.missing({ pid, pymq: true }), true, `${pid}`);
      assertEquals(processes.dead({ ...processes.self, pid, pymq: false }), true, `${pid}`);
    }
  });
});
