import { assert, assertEquals, assertMatch } from "@std/assert";
import { afterAll, beforeAll, describe, it } from "@std/testing/bdd";
import { chownSync, mkdirSync } from "node:fs";
import { join } from "node:path";
import process from "node:process";
import { makeDir, removeDir } from "../support/child.ts";
import { here } from "../support/peer.ts";
import { skip } from "../support/skip.ts";
import { until } from "../support/until.ts";
import { diagnose } from "./doctor.ts";
import { Running, tsmq } from "./run.ts";

// Queues of other programs of this user count too, so a test cannot assume how much room there is.
// run: on deno, kernel-queues
const ROOM = "queues";

const fresh = () => ["-n", crypto.randomUUID()];

/** A directory whose namespace "theirs" belongs to user 12345; undefined if nobody here can give one away. */
function givenAway(): string | undefined {
  const dir = makeDir("shm");
  mkdirSync(join(dir, "theirs"));
  try {
    chownSync(join(dir, "theirs"), 12_345, 12_345);
    return dir;
  } catch {
    removeDir(dir);
  }
}

describe("tsmq doctor ipc:", () => {
  if (process.platform !== "linux") return skip("finds what is broken", "POSIX message queues are there on Linux only");

  it("finds no problem on a healthy machine, and leaves nothing behind", async () => {
    const diagnosis = await diagnose("ipc:", fresh());
    assertEquals(diagnosis.notOk(ROOM), ["namespace: risk"]); // nothing is in it
    assertEquals(diagnosis.checks.map(({ name }) => name), [
      ...["platform", "directory", "process limits", "queues", "kernel limits", "leftovers", "namespace", "bus"],
    ]);
  });

  it("reports that RLIMIT_MSGQUEUE is exhausted, or nearly", async () => {
    const none = await diagnose("ipc:", fresh(), { through: ["prlimit", "--msgqueue=500"] });
    assertEquals(none.notOk(), ["process limits: risk", "queues: broken"]);
    assertEquals(none.of("process limits").detail, "RLIMIT_MSGQUEUE is 500 bytes");
    assertMatch(none.of("queues").mend!, /RLIMIT_MSGQUEUE/);
    // queues of other tests count too, so the test knows only that room is short
    const little = await diagnose("ipc:", fresh(), { through: ["prlimit", "--msgqueue=30000"] });
    assert(little.of("queues").state !== "ok");
  });

  it("reports that it raised the soft limit to the hard one", async () => {
    const raised = await diagnose("ipc:", fresh(), { through: ["prlimit", "--msgqueue=1000:819200"] });
    assertEquals(raised.of("process limits").detail, "RLIMIT_MSGQUEUE is 819200 bytes, raised from 1000 bytes");
  });

  it("reports that the directory is not writable", async () => {
    const diagnosis = await diagnose("ipc:/proc/self", fresh());
    assertEquals(diagnosis.notOk(ROOM), ["directory: broken"]);
    assertMatch(diagnosis.of("directory").mend!, /another directory/);
  });

  const another = "reports that the namespace belongs to another user";
  const theirs = givenAway();
  if (theirs === undefined) {
    skip(another, "nobody here can give a directory away");
  } else {
    it(another, async () => {
      const diagnosis = await diagnose(`ipc:${theirs}`, ["-n", "theirs"]);
      removeDir(theirs);
      assertEquals(diagnosis.notOk(ROOM), ["directory: broken"]);
      assertMatch(diagnosis.of("directory").detail, /belongs to user 12345/);
    });
  }

  describe("after a bus was killed", () => {
    let url: string;
    let dir: string;
    // every bus of this user removes what dead buses left; here is nothing else to remove
    beforeAll(() => {
      dir = makeDir("shm");
      url = `ipc:${dir}`;
    });
    afterAll(() => removeDir(dir));

    async function leave(ns: readonly string[]): Promise<void> {
      await using sub = new Running(["sub", url, "topic", ...ns]);
      await until("it is subscribed", async () => {
        return (await tsmq(["pub", url, "topic", "1", ...ns])).lines[0] === '{"topic":"topic","reached":1}';
      });
      assertEquals((await diagnose(url, ns)).notOk(ROOM), []);
      await sub.child.kill();
    }

    it("reports its remains; the next bus removes them", async () => {
      const ns = fresh();
      await leave(ns);
      const diagnosis = await diagnose(url, ns);
      assertEquals([diagnosis.code, ...diagnosis.notOk(ROOM)], [0, "leftovers: risk", "namespace: risk"]);
      assertMatch(diagnosis.of("leftovers").mend!, /tsmq reap/);
      // the last check of the doctor opened a bus
      assertEquals((await diagnose(url, ns)).notOk(ROOM), ["namespace: risk"]);
    });

    it("reap removes it", async () => {
      const ns = fresh();
      await leave(ns);
      const { lines } = await tsmq(["reap", url, ...ns]);
      assertEquals(lines.length, 1);
      assertMatch(lines[0]!, /^\{"removed":"bus pymq_/);
      assertEquals((await tsmq(["reap", url, ...ns])).lines, []);
    });
  });

  if (here === "deno") {
    it("names the missing permission of Deno", async () => {
      const { notOk, of } = await diagnose("ipc:", fresh(), { permissions: ["--allow-read"] });
      assertEquals(notOk(), ["runtime permission: broken"]);
      assertMatch(of("runtime permission").mend!, /--allow-ffi/);
    });
  }
});
