/** Names of items in shared directories that no bus can use: they are not UTF-8, their files are missing, or their bodies cannot be read. */
// run: kernel-queues
import { assertEquals } from "@std/assert";
import { describe, it } from "@std/testing/bdd";
import { execFileSync } from "node:child_process";
import { Errno } from "../../src/providers/ipc/errno.ts";
import { writeItem } from "../../src/providers/ipc/frames.ts";
import { Leases } from "../../src/providers/ipc/leases.ts";
import { Moves } from "../../src/providers/ipc/moves.ts";
import { Refill } from "../../src/providers/ipc/refill.ts";
import { fresh, HandmadeBus } from "./ground.ts";

const QUEUE = "queue";
/** The name of an item that is older than all others. */
const FIRST = `${"0".repeat(16)}-000000.0.0.`;
/** More system calls than a pass needs. A loop without an end must fail the test, not stop it. */
const MANY = 5_000;

/** A bus, its refill, and the number of messages in the kernel's queue. */
interface Ground {
  readonly bus: HandmadeBus;
  readonly name: string;
  readonly put: (body: string) => void;
  readonly refill: () => void;
  readonly size: () => number;
}

async function play(act: (ground: Ground) => void): Promise<void> {
  using bus = await HandmadeBus.open(fresh());
  const { directories, names, overflow, posix, queues } = bus.internals;
  const name = names.queue(QUEUE);
  const { descriptor } = queues.hold(queues.use(name, [{ messages: 4, size: 128 }])!);
  const leases = new Leases(bus.internals, bus.busName);
  const faults: unknown[] = [];
  const moves = new Moves(bus.internals, bus.busName);
  const refill = new Refill(bus.internals, moves, () => leases.key(), (error) => faults.push(error));
  try {
    act({
      bus,
      name,
      put: (body) => void overflow.put(name, leases.key(), writeItem(body, false)),
      refill: () => {
        const { stat } = posix;
        let left = MANY;
        posix.stat = (...args) => {
          if (left-- === 0) throw new Error("the pass does not end");
          return stat.apply(posix, args);
        };
        try {
          refill.run();
        } finally {
          posix.stat = stat;
        }
        assertEquals(faults, []);
      },
      size: () => posix.attributes(descriptor)!.current,
    });
  } finally {
    posix.unlinkQueue(name);
    execFileSync("rm", ["-rf", directories.root]);
  }
}

/** Creates a link whose name ends with a byte that is not UTF-8. The functions of the runtimes write text only. */
function linkNotText(directory: string, start: string): void {
  execFileSync("sh", ["-c", 'ln -s x "$1/$2$(printf "\\377")"', "sh", directory, start]);
}

describe("a name that is not UTF-8", () => {
  it("is in no listing, and one with the character U+FFFD is", () =>
    play(({ bus: { internals: { directories } } }) => {
      directories.make("top");
      directories.symlink("x", "top/\ufffd");
      linkNotText(directories.path("top"), "a");
      assertEquals(directories.list("top"), ["\ufffd"]);
    }));

  it("does not stop the moves into the kernel's queue, and hides no later item", () =>
    play(({ bus: { internals: { directories, overflow } }, name, put, refill, size }) => {
      put("item");
      const { path } = overflow.oldest(name)!;
      linkNotText(directories.path(path.slice(0, path.lastIndexOf("/"))), FIRST);
      overflow.refresh(name);
      refill();
      assertEquals(size(), 1);
    }));
});

describe("an item that can never be moved", () => {
  it("ends the pass of the moves", () =>
    play(({ bus: { internals: { posix } }, put, refill, size }) => {
      put("item");
      const { rename } = posix;
      posix.rename = () => -Errno.ENOENT;
      try {
        refill();
      } finally {
        posix.rename = rename;
      }
      assertEquals(size(), 0);
    }));
});
