/** One directory with many names, which a member of a group gives a new name whenever a bus has read it. */
// run: on bun
import { assertEquals } from "@std/assert";
import { describe, it } from "@std/testing/bdd";
import { rmSync } from "node:fs";
import { Leases } from "../../src/providers/ipc/leases.ts";
import { MAX_NAMES } from "../../src/providers/ipc/listing.ts";
import { Moves } from "../../src/providers/ipc/moves.ts";
import type { Namespace } from "../../src/providers/ipc/namespace.ts";
import { pause } from "../support/until.ts";
import { calls, fresh, openNamespace } from "./ground.ts";

/** The number of names in the directory: fewer than the buses of a topic may be. */
const NAMES = 1_000;
/** The number of names that it gets. Together, they have a tenth more than are kept. */
const RENAMES = Math.ceil(1.1 * MAX_NAMES / NAMES);

interface Case {
  /** The directory with this number that is given another name. */
  readonly moved: (ours: Namespace, i: number) => string;
  /** The directory in it that has the names. */
  readonly below: string;
  /** Returns the name of this number. `bus` is a bus that has not ended. */
  readonly name: (i: number, bus: string, ours: Namespace) => string;
  /** Returns a function that uses the directory of this number. */
  readonly use: (ours: Namespace) => (i: number) => unknown;
}

const queueOf = ({ names }: Namespace, i: number) => names.queue(`queue${i}`);
const filesOf = (ours: Namespace, i: number) => `queues${queueOf(ours, i)}`;
const itemName = (i: number, bus: string) => `${String(i).padStart(16, "0")}-000000.0.0.${bus}`;
const minute = (i: number) => String(i).padStart(10, "0");
const busName = (i: number, _: string, { names, processes }: Namespace) => names.newBus(processes.self, i);

const CASES: Record<string, Case> = {
  "delayed items": {
    moved: filesOf,
    below: "/later/0000000000",
    name: itemName,
    use: (ours) => (i) => {
      ours.delayed.refresh(queueOf(ours, i));
      ours.delayed.wait(queueOf(ours, i));
    },
  },
  "pages of the overflow": {
    moved: filesOf,
    below: "/over",
    name: minute,
    use: (ours) => (i) => ours.overflow.any(queueOf(ours, i)),
  },
  "items in the overflow": {
    moved: filesOf,
    below: "/over/page",
    name: itemName,
    use: (ours) => (i) => {
      ours.overflow.refresh(queueOf(ours, i));
      ours.overflow.oldest(queueOf(ours, i));
    },
  },
  "items that are being moved": {
    moved: filesOf,
    below: "/moving",
    name: itemName,
    use: (ours) => {
      const moves = new Moves(ours, "bus");
      return (i) => moves.recover(queueOf(ours, i));
    },
  },
  "items that are held": {
    moved: filesOf,
    below: "/held",
    name: itemName,
    use: (ours) => {
      const leases = new Leases(ours, "bus");
      return (i) => leases.files(queueOf(ours, i));
    },
  },
  "items that were given back": {
    moved: filesOf,
    below: "/back",
    name: itemName,
    use: (ours) => {
      const leases = new Leases(ours, "bus");
      return (i) => leases.files(queueOf(ours, i));
    },
  },
  "names beside buses that wait": {
    moved: (ours, i) => `waiting${queueOf(ours, i)}`,
    below: "",
    name: minute,
    use: (ours) => (i) => ours.waiting.wake(queueOf(ours, i)),
  },
  "buses that subscribe": {
    moved: ({ names }, i) => names.topic(`topic${i}`).path,
    below: "",
    name: busName,
    use: ({ subscriptions }) => (i) => subscriptions.route(`topic${i}`),
  },
  "buses that serve a function": {
    moved: ({ names }, i) => names.servers(`function${i}`),
    below: "",
    name: busName,
    use: ({ subscriptions }) => (i) => subscriptions.servers(`function${i}`),
  },
};

describe("the names in a directory that gets many names itself", () => {
  for (const [what, { moved, below, name, use }] of Object.entries(CASES)) {
    it(`are kept for a few of these: ${what}`, async () => {
      const namespace = fresh();
      const ours = await openNamespace(namespace);
      const { directories, names, posix, processes } = ours;
      const self = names.newBus(processes.self, 0);
      directories.within("loops", () => directories.make(ours.busDirectory(self)));
      directories.make(`${moved(ours, 0)}${below}`);
      for (let i = 0; i < NAMES; i++) {
        directories.symlink("x", `${moved(ours, 0)}${below}/${name(i, self, ours)}`);
      }
      await pause(50); // names that have just changed are listed again
      const act = use(ours);
      const listed = () =>
        calls(posix, ["listOpen"], () => {
          for (let i = 0; i < RENAMES; i++) {
            if (i > 0) directories.rename(moved(ours, i - 1), moved(ours, i));
            act(i);
          }
        });
      try {
        const first = listed();
        directories.rename(moved(ours, RENAMES - 1), moved(ours, 0));
        const again = listed();
        const held = (first - again) / first * RENAMES * NAMES;
        assertEquals([first >= RENAMES, held <= MAX_NAMES], [true, true], `${first} and ${again} lists, ${held} names`);
      } finally {
        ours.close();
        rmSync(`/dev/shm/${namespace}`, { recursive: true, force: true });
      }
    });
  }
});
