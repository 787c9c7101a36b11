// run: on bun, kernel-queues, deadline 400, quiet if all
import { assertEquals, assertMatch, assertRejects } from "@std/assert";
import { describe, it } from "@std/testing/bdd";
import { chmodSync, existsSync, mkdirSync, readdirSync, rmSync, statSync, symlinkSync } from "node:fs";
import process from "node:process";
import { Bus } from "../../src/bus.ts";
import { ProviderError } from "../../src/errors.ts";
import { Names, probeOf } from "../../src/providers/ipc/names.ts";
import { loadPosix } from "../../src/providers/ipc/posix.ts";
import { ipc } from "../../src/providers/ipc/provider.ts";
import { makeDir, removeDir } from "../support/child.ts";
import { ALL, runsHere } from "../support/share.ts";
import { skip } from "../support/skip.ts";
import { describePlainUser, PLAIN_USER } from "./as_plain_user.ts";
import { fresh, type KernelLimits, noKernelLimits, noOtherUser, rootIsExempt, runAs, runWithin } from "./ground.ts";

const PROGRAM = new URL("plain_user.ts", import.meta.url);
const SMALL_KERNEL = new URL("small_kernel.ts", import.meta.url);
const OTHER_USER = new URL("other_user.ts", import.meta.url);

// the nightly run has workers for 60 buses, and exceeds the 1,024 descriptors of a process; the others have fewer descriptors
const [alive, inTurn] = ALL ? [60, 1_500] : [15, 300];

describePlainUser(PROGRAM, [
  [`has 60 buses at once, and ${alive} of them receive`, { reached: alive, received: alive }, "buses", alive, 60],
  [`uses and frees ${inTurn} queues in turn in one process`, { got: inTurn, few: true }, "queues", inTurn],
  ["passes the half of the kit that conformance/ipc_test.ts does not run here", { passed: true, failed: [] }, "kit"],
]);

describe("the kernel's limits", () => {
  const all = { bus: /^works$/, events: /^works$/, calls: /^works$/, queues: /^works$/, "second bus": /^works$/ };
  const queues =
    /^unavailable: Cannot create a queue of a bus: the sysctl fs\.mqueue\.queues_max allows no more queues; raise it/;
  const size =
    /^unavailable: Cannot create a queue of a bus: the sysctls fs\.mqueue\.msg_max and msgsize_max allow fewer or smaller messages; raise them; to wait/;
  const cases: [limits: KernelLimits, said: Record<string, RegExp>][] = [
    [{ queues_max: 1 }, { bus: queues }],
    [{ queues_max: 2 }, { ...all, "second bus": queues }],
    [{ msgsize_max: 1_024 }, all],
    [{ msgsize_max: 512, msg_max: 10 }, all],
    [{ msgsize_max: 128 }, { bus: size }],
    [{ msg_max: 2 }, all],
  ];
  const missing = noOtherUser(SMALL_KERNEL) ?? noKernelLimits();
  const rootHasLimits = missing !== undefined || !rootIsExempt();
  for (const [n, [limits, said]] of cases.entries()) {
    // each runtime meets each limit, as one of the two users
    const users = [["a plain user", PLAIN_USER, said], ["root", 0, rootHasLimits ? said : all]] as const;
    for (const [who, user, expected] of users.filter((_, i) => runsHere(n + i))) {
      const name = `${JSON.stringify(limits)}: the error for ${who} names the limit, or its queues are smaller`;
      if (missing) {
        skip(name, missing);
        continue;
      }
      it(name, async () => {
        const namespace = fresh();
        const { output } = await runWithin(limits, user, SMALL_KERNEL, namespace);
        assertMatch(output, /^\{.*\}$/m);
        const told = JSON.parse(/^\{.*\}$/m.exec(output)![0]) as Record<string, string>;
        assertEquals(Object.keys(told).sort(), Object.keys(expected).sort(), output);
        for (const [what, pattern] of Object.entries(expected)) assertMatch(told[what]!, pattern);
        assertEquals(existsSync(`/dev/shm/${namespace}`), false);
      });
    }
  }
});

describe("access", () => {
  it("files and queues are for this user alone, or for the group", async () => {
    const directory = makeDir("shm");
    for (const [group, file, folder] of [[undefined, 0o600, 0o700], [process.getgid!(), 0o660, 0o2770]] as const) {
      const namespace = fresh();
      await using bus = await Bus.open(ipc({ directory, group }), { namespace });
      await bus.subscribe("*", () => {}, { pattern: true }).ready;
      // members of the group cannot rename or remove what another one has at the top
      const sticky = group === undefined ? 0 : 0o1000;
      assertEquals(statSync(`${directory}/${namespace}`).mode & 0o7777, folder | sticky);
      const [busName] = readdirSync(`${directory}/${namespace}/loops`);
      assertEquals(statSync(`${directory}/${namespace}/loops/${busName}`).mode & 0o7777, folder);
      const [pattern] = readdirSync(`${directory}/${namespace}/patterns`);
      if (group === undefined) {
        assertEquals(statSync(`${directory}/${namespace}/patterns/${pattern}`).mode & 0o7777, file);
      }
    }
    removeDir(directory);
  });

  it("opening a bus in a directory that cannot be written rejects, and the next bus opens", async () => {
    const directory = makeDir("shm");
    mkdirSync(`${directory}/taken`);
    chmodSync(`${directory}/taken`, 0o700);
    await assertRejects(() => Bus.open(ipc({ directory: "/proc/self" }), { namespace: "x" }), ProviderError);
    await using bus = await Bus.open(ipc({ directory }), { namespace: "taken" });
    assertEquals(await bus.publish("x", "topic"), 0);
    await bus.close();
    removeDir(directory);
  });

  const refuses = "a queue and a directory of another user are refused, and not touched";
  const missing = noOtherUser(OTHER_USER);
  if (missing) {
    skip(refuses, missing);
  } else {
    it("a queue that has the name of a dead PyMQ bus keeps no other user's bus from opening", async () => {
      const namespace = fresh();
      const queue = `/pymq_${namespace}_$4194304`; // the largest pid is 4,194,303
      await using first = await Bus.open(ipc(), { namespace });
      await first.subscribe("topic", () => {}).ready;
      const theirs = `/dev/shm/${fresh()}`;
      const { output } = await runAs(PLAIN_USER, OTHER_USER, queue, theirs);
      assertMatch(output, /^made$/m);
      const link = `/dev/shm/${namespace}/subscribers/topic${queue}`;
      symlinkSync(`/dev/mqueue${queue}`, link); // where /dev/mqueue is mounted, a bus finds the queue there
      try {
        await using second = await Bus.open(ipc(), { namespace });
        rmSync(link, { force: true }); // a bus may have removed it by now
        assertEquals(await second.publish("event", "topic"), 1);
      } finally {
        const posix = await loadPosix();
        posix.unlinkQueue(queue);
        posix.removeDirectory(theirs);
      }
    });

    it("queues of another user, who knows the names by which a bus looks for room, leave the room for buses", async () => {
      const posix = await loadPosix();
      const theirs = Array.from(
        { length: 6 },
        (_, i) => ({ queue: probeOf(PLAIN_USER, i), directory: `/dev/shm/${fresh()}` }),
      );
      try {
        for (const { queue, directory } of theirs) {
          const { output } = await runAs(PLAIN_USER + 1, OTHER_USER, queue, directory);
          assertMatch(output, /^made$/m);
        }
        const { output } = await runAs(PLAIN_USER, PROGRAM, "reserve", fresh());
        assertMatch(output, /^\{"opened":6\}$/m);
      } finally {
        for (const { queue, directory } of theirs) {
          posix.unlinkQueue(queue);
          posix.removeDirectory(directory);
        }
      }
    });

    it("a queue of another user hides no other queue from the lists of the admin", async () => {
      const [namespace, theirs] = [fresh(), fresh()];
      await using bus = await Bus.open(ipc(), { namespace });
      await bus.queue("jobs").put(1, { delay: 600_000 }); // in a file, which is listed also where /dev/mqueue is not mounted
      const queue = new Names(namespace).queue("theirs");
      const { output } = await runAs(PLAIN_USER, OTHER_USER, queue, `/dev/shm/${theirs}`);
      assertMatch(output, /^made$/m);
      mkdirSync(`/dev/shm/${namespace}/queues${queue}`, { recursive: true });
      const admin = await ipc().admin!.open(namespace);
      try {
        assertEquals((await admin.queues())!.map(({ name }) => name), ["jobs"]);
      } finally {
        await admin.close();
        const posix = await loadPosix();
        posix.unlinkQueue(queue);
        posix.removeDirectory(`/dev/shm/${theirs}`);
        rmSync(`/dev/shm/${namespace}/queues${queue}`, { recursive: true });
        await bus.queue("jobs").free();
      }
    });

    it(refuses, async () => {
      const [namespace, theirs] = [fresh(), fresh()];
      const queue = new Names(namespace).queue("jobs");
      const posix = await loadPosix();
      const { output } = await runAs(PLAIN_USER, OTHER_USER, queue, `/dev/shm/${theirs}`);
      assertMatch(output, /^made$/m);
      try {
        const says = `it belongs to user ${PLAIN_USER}`;
        const taken = await assertRejects(() => Bus.open(ipc(), { namespace: theirs }), ProviderError, says);
        assertEquals(taken.code, "denied");
        assertMatch(
          taken.message,
          /^Cannot use \/dev\/shm\/.*; use another namespace, or the option "group" on both sides/,
        );
        await using bus = await Bus.open(ipc(), { namespace });
        const jobs = bus.queue("jobs");
        for (const act of [() => jobs.put("ours"), () => jobs.get({ timeout: 10_000 }), () => jobs.receive()]) {
          const error = await assertRejects(act, ProviderError, says);
          assertEquals(error.code, "denied");
        }
        const descriptor = posix.openQueue(queue);
        assertEquals(posix.attributes(descriptor)?.current, 1);
        posix.close(descriptor);
      } finally {
        posix.unlinkQueue(queue);
        posix.removeDirectory(`/dev/shm/${theirs}`);
      }
    });
  }
});
