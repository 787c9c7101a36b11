/**
 * Private files and directories of a user, which a member of a group has moved into the namespace that it shares with that user. Here the test
 * moves them: they have the owner, the group and the mode that they would have.
 */
// run: on deno, kernel-queues
import { assert, assertEquals, assertThrows } from "@std/assert";
import { describe, it } from "@std/testing/bdd";
import { execFileSync } from "node:child_process";
import {
  chmodSync,
  chownSync,
  closeSync,
  existsSync,
  fstatSync,
  mkdirSync,
  openSync,
  rmSync,
  statSync,
  writeFileSync,
} from "node:fs";
import process from "node:process";
import { BusError, ProviderError } from "../../src/errors.ts";
import { writeBinding } from "../../src/provider/bindings.ts";
import { removeBuses } from "../../src/providers/ipc/cleanup.ts";
import { emptySlot, slotHolds } from "../../src/providers/ipc/crash_slot.ts";
import { Errno } from "../../src/providers/ipc/errno.ts";
import { writeItem } from "../../src/providers/ipc/frames.ts";
import { bodyDirectory, queueDirectory } from "../../src/providers/ipc/items.ts";
import { Leases } from "../../src/providers/ipc/leases.ts";
import { Moves } from "../../src/providers/ipc/moves.ts";
import { hashed } from "../../src/providers/ipc/names.ts";
import type { Namespace } from "../../src/providers/ipc/namespace.ts";
import { GROUP as BINDING, PATTERNS } from "../../src/providers/ipc/patterns.ts";
import { Refill } from "../../src/providers/ipc/refill.ts";
import { finish } from "../../src/providers/ipc/walk.ts";
import { makeDir, removeDir } from "../support/child.ts";
import { itNeeds, skip } from "../support/skip.ts";
import { missing, tool } from "../support/tools.ts";
import { fresh, openNamespace } from "./ground.ts";

const GROUP = process.getegid!();
const KEY = `${"0".repeat(16)}-000000`;
const ITEM = `${KEY}.0.0.over-x`;
const FILE = crypto.randomUUID();

/** A namespace that this user shares with a group, and what the test does in it. */
class Shared implements Disposable {
  readonly bus: string;
  readonly queue: string;

  private constructor(readonly internals: Namespace) {
    const { names, processes } = internals;
    this.bus = names.newBus({ ...processes.self, start: 1 }, 0); // nobody has started at that time
    this.queue = names.queue("jobs");
  }

  static async open(): Promise<Shared> {
    return new Shared(await openNamespace(fresh(), { group: GROUP }));
  }

  /** Creates a directory, as a bus does or with this mode. Returns its path. */
  directory(path: string, mode?: number): string {
    const { directories } = this.internals;
    const whole = directories.path(path);
    if (mode === undefined) {
      directories.make(path);
      return whole;
    }
    this.directory(path.slice(0, path.lastIndexOf("/")));
    mkdirSync(whole);
    chmodSync(whole, mode);
    return whole;
  }

  /** Creates a file in a directory that exists, by default a private one. Returns its path. */
  file(path: string, text = "secret", mode = 0o600): string {
    const whole = this.internals.directories.path(path);
    writeFileSync(whole, text);
    chmodSync(whole, mode);
    return whole;
  }

  [Symbol.dispose](): void {
    const { directories, posix, queues } = this.internals;
    queues.close();
    posix.unlinkQueue(this.queue);
    directories.close();
    rmSync(directories.root, { recursive: true, force: true });
  }
}

/** Returns the reason why nobody here can give a file to another group, or undefined if that is possible. */
function noOtherGroup(): string | undefined {
  const dir = makeDir("group");
  try {
    chownSync(dir, process.getuid!(), GROUP + 1);
  } catch {
    return "nobody here can give a file to any group";
  } finally {
    removeDir(dir);
  }
}

/** Sets an access list of these entries, as setfacl does it: the kind, the permissions and the user of each. */
function setAccessList(path: string, entries: string, kind = "access"): void {
  const list = `struct.pack("<I", 2) + b"".join(struct.pack("<HHi", *entry) for entry in ${entries})`;
  const script = `import os, struct, sys\nos.setxattr(sys.argv[1], "system.posix_acl_${kind}", ${list})`;
  execFileSync(tool("python"), ["-c", script, path]);
}

function denied(act: () => unknown): void {
  assertEquals(assertThrows(act, BusError, "is not that of this namespace").code, "denied");
}

describe("a private file of a user, in a namespace that a group shares", () => {
  /** The ways in which a bus reads a file. Each returns the path of the file. */
  const reads: Record<string, (shared: Shared) => string> = {
    body(shared) {
      const directory = bodyDirectory(shared.queue);
      shared.directory(directory);
      const path = shared.file(`${directory}/${FILE}`);
      denied(() => shared.internals.bodyFiles.read(directory, FILE));
      return path;
    },
    event(shared) {
      const directory = shared.internals.busDirectory(shared.bus);
      shared.directory(directory);
      const path = shared.file(`${directory}/${FILE}`);
      denied(() => shared.internals.bodyFiles.take(directory, FILE));
      return path;
    },
    item(shared) {
      const directory = `${queueDirectory(shared.queue)}/held`;
      shared.directory(directory);
      const path = shared.file(`${directory}/${ITEM}`);
      denied(() => shared.internals.bodyFiles.readItem(directory, ITEM));
      return path;
    },
    "crash slot"(shared) {
      const directory = shared.internals.busDirectory(shared.bus);
      shared.directory(directory);
      const slot = `${shared.queue}\n${KEY}\n`.padEnd(1_024, "\0");
      const path = shared.file(`${directory}/landing`, `${slot}secret`);
      denied(() => emptySlot(shared.internals, shared.bus, () => {}));
      assertEquals(slotHolds(shared.internals, shared.bus, KEY), false);
      return path;
    },
    binding(shared) {
      shared.directory(PATTERNS);
      const binding = writeBinding({ topic: "topic", pattern: false }, "queue");
      const path = shared.file(`${PATTERNS}/${BINDING}${hashed(binding)}`, binding);
      assertEquals(shared.internals.subscriptions.route("topic").queues.size, 0);
      return path;
    },
    "item that is moved into the kernel's queue"(shared) {
      const { internals, queue } = shared;
      const page = `${queueDirectory(queue)}/over/${KEY}`;
      shared.directory(page);
      const path = shared.file(`${page}/${ITEM}`);
      const { descriptor } = internals.queues.use(queue, [{ messages: 1, size: 128 }])!;
      new Refill(internals, new Moves(internals, "x"), () => KEY, (error) => assertEquals(error, undefined)).run();
      const message = new Uint8Array(128);
      const length = internals.posix.receive(descriptor, message);
      assertEquals(new TextDecoder().decode(message.subarray(0, Math.max(0, length))), "");
      return path;
    },
  };
  for (const [what, read] of Object.entries(reads)) {
    it(`is not read as the ${what}`, async () => {
      using shared = await Shared.open();
      assert(existsSync(read(shared)));
    });
  }

  it("keeps its times, under the name of an item that is due, held or moved", async () => {
    using shared = await Shared.open();
    const { internals, queue } = shared;
    const moves = new Moves(internals, "x");
    const leases = new Leases(internals, shared.bus, moves);
    const files = ["back", "held", "moving"].map((part) => {
      const directory = `${queueDirectory(queue)}/${part}`;
      shared.directory(directory);
      const path = shared.file(`${directory}/${ITEM}`);
      internals.posix.setModified(path, 1_000);
      return openSync(path, "r");
    });
    const times = () => files.map((file) => fstatSync(file)).map(({ atimeMs, mtimeMs }) => [atimeMs, mtimeMs]);
    const before = times();
    leases.claim(queue, `${queueDirectory(queue)}/back/${ITEM}`, ITEM, 1_000, () => "");
    leases.start(queue, ITEM);
    leases.extend(queue, ITEM, 1_000);
    leases.giveBack(queue, [ITEM], 0, true);
    moves.giveBack(queue, ITEM);
    assertEquals(times(), before);
    for (const file of files) closeSync(file);
  });

  const name = "is not read if it is for another group";
  const missing = noOtherGroup();
  if (missing) return skip(name, missing);
  it(name, async () => {
    using shared = await Shared.open();
    const { bodyFiles, directories } = shared.internals;
    const file = bodyFiles.write("bodies", "body", true);
    assertEquals(bodyFiles.read("bodies", file), "body");
    chownSync(directories.path(`bodies/${file}`), process.getuid!(), GROUP + 1);
    denied(() => bodyFiles.read("bodies", file));
  });
});

describe("a private directory of a user, in a namespace that a group shares", () => {
  it("is not entered: no file in it is read, created or removed", async () => {
    using shared = await Shared.open();
    const { bodyFiles, directories } = shared.internals;
    shared.directory("x/bodies", 0o700);
    const path = shared.file(`x/bodies/${FILE}`, "secret", 0o660);
    for (const act of [() => bodyFiles.read("x/bodies", FILE), () => bodyFiles.take("x/bodies", FILE)]) {
      assertEquals(assertThrows(act, BusError).code, "denied");
    }
    bodyFiles.remove("x/bodies", FILE);
    assert(existsSync(path));
    denied(() => bodyFiles.write("x/bodies", "body", true));
    assertEquals(directories.list("x/bodies"), []);
  });

  it("is not emptied by a cleanup after a dead bus", async () => {
    using shared = await Shared.open();
    const { busDirectory, names, processes } = shared.internals;
    const other = names.newBus({ ...processes.self, start: 1 }, 0);
    shared.directory(`${busDirectory(shared.bus)}/cache/private`, 0o700);
    shared.directory(busDirectory(other), 0o700);
    const paths = [
      shared.file(`${busDirectory(shared.bus)}/cache/private/data`),
      shared.file(`${busDirectory(other)}/data`),
    ];
    finish(removeBuses(shared.internals, [shared.bus, other]));
    assertEquals(paths.map(existsSync), [true, true]);
  });

  itNeeds(missing("python"))(
    "is not emptied by a cleanup if its access list hides that its group may not change it",
    async () => {
      using shared = await Shared.open();
      const { busDirectory, directories } = shared.internals;
      const directory = shared.directory(busDirectory(shared.bus));
      const path = shared.file(`${busDirectory(shared.bus)}/data`);
      // the owner, a user, the group without permissions, the mask, others
      setAccessList(directory, "[(1, 7, -1), (2, 7, 2002), (4, 0, -1), (16, 7, -1), (32, 0, -1)]");
      assertEquals(statSync(directory).mode & 0o7777, 0o2770);
      finish(removeBuses(shared.internals, [shared.bus]));
      assert(existsSync(path));
      assertEquals(directories.read(busDirectory(shared.bus)), -Errno.EACCES);
    },
  );

  it("is not removed with the names of dead buses", async () => {
    using shared = await Shared.open();
    const places = ["topics", "servers", "waiting"];
    const paths = places.map((place) => shared.directory(`${place}/x/private/empty`, 0o700));
    for (const place of places) chmodSync(shared.internals.directories.path(`${place}/x/private`), 0o700);
    finish(shared.internals.subscriptions.remove(() => false));
    assertEquals(paths.map(existsSync), [true, true, true]);
  });

  it("is not emptied when a queue is freed", async () => {
    using shared = await Shared.open();
    shared.directory("queues/~a/cache/private", 0o700);
    shared.directory("queues/~b", 0o700);
    const paths = [shared.file("queues/~a/cache/private/data"), shared.file("queues/~b/data")];
    for (const name of ["~a", "~b"]) finish(shared.internals.directories.remove(`queues/${name}`));
    assertEquals(paths.map(existsSync), [true, true]);
  });

  const name = "keeps its mode among PyMQ's topics if it is for another group";
  const noGroup = noOtherGroup();
  if (noGroup) return skip(name, noGroup);
  it(name, async () => {
    for (const mode of [0o770, 0o777, 0o2777]) {
      using shared = await Shared.open();
      const { directories, subscriptions } = shared.internals;
      const path = shared.directory("subscribers/hr");
      chownSync(path, process.getuid!(), GROUP + 1);
      chmodSync(path, mode); // a change of the group may have removed bits
      finish(subscriptions.remove(() => false));
      assertEquals([statSync(path).mode & 0o7777, directories.read("subscribers/hr")], [mode, -Errno.EACCES]);
    }
  });
});

describe("a directory in a namespace that a group shares", () => {
  it("gets its name when the group has it, so that no bus finds it before", async () => {
    using shared = await Shared.open();
    const { directories, posix } = shared.internals;
    directories.make("x");
    const share = posix.share;
    const found: unknown[] = [];
    posix.share = (...args) => {
      found.push(directories.stat("x/y"));
      return share.apply(posix, args);
    };
    try {
      assertEquals(directories.make("x/y"), 0);
    } finally {
      posix.share = share;
    }
    assertEquals(found, [-Errno.ENOENT]);
    assertEquals(posix.list(directories.root), ["x"]);
    posix.close(directories.createFile("x/y/z"));
    assertEquals(directories.make("x/y"), -Errno.EEXIST);
    assertEquals([directories.list("x"), directories.list("x/y")], [["y"], ["z"]]);
  });

  it("is not given to the group if a member has put another one in its place", async () => {
    using shared = await Shared.open();
    const { directories, posix } = shared.internals;
    const { makeDirectory } = posix;
    directories.make("x");
    for (const change of [(path: string) => chmodSync(path, 0o750), (path: string) => writeFileSync(`${path}/x`, "")]) {
      let [path, mode] = ["", 0];
      posix.makeDirectory = (name, ...rest) => {
        const made = makeDirectory.call(posix, name, ...rest);
        path = directories.path(name);
        change(path);
        mode = statSync(path).mode;
        return made;
      };
      try {
        assertEquals(directories.make("y"), -Errno.EEXIST);
      } finally {
        posix.makeDirectory = makeDirectory;
      }
      assertEquals([statSync(path).mode, directories.stat("y")], [mode, -Errno.ENOENT]);
    }
  });

  it("is refused with the reason if a link is in its place", async () => {
    using shared = await Shared.open();
    const { directories } = shared.internals;
    directories.make("elsewhere");
    directories.symlink("elsewhere", "loops");
    const make = () => directories.within("loops", () => directories.make("loops/bus"));
    assertEquals(assertThrows(make, BusError, "it is a file or a link, and no directory").code, "denied");
    assertEquals(directories.list("elsewhere"), []);
  });

  it("is used if PyMQ has created it for its user, and tsmq for a topic", async () => {
    using shared = await Shared.open();
    const { names, posix, processes, subscriptions } = shared.internals;
    const path = shared.directory("subscribers/topic", 0o755);
    const bus = names.newBus(processes.self, 0);
    subscriptions.subscribe("topic", bus);
    assertEquals(subscriptions.route("topic").exact, 1);
    finish(subscriptions.remove((name) => name === bus));
    assertEquals(posix.list(path), -Errno.ENOENT);
  });
});

describe("an item of a user, in a namespace that a group shares", () => {
  itNeeds(missing("python"))(
    "has no access list, though a member has set one on the directory, to read it later",
    async () => {
      using shared = await Shared.open();
      const { bodyFiles, directories } = shared.internals;
      const path = shared.directory("queues/jobs/bodies");
      for (const each of [path, directories.root]) {
        // for each new file, all permissions of another user
        setAccessList(each, "[(1, 7, -1), (2, 7, 2002), (4, 7, -1), (16, 7, -1), (32, 0, -1)]", "default");
      }
      const file = bodyFiles.write("queues/jobs/bodies", "large", false, "put");
      const script = `import os, sys\nprint([os.listxattr(path) for path in sys.argv[1:]], end="")`;
      const lists = (...paths: string[]) =>
        execFileSync(tool("python"), ["-c", script, ...paths], { encoding: "utf8" });
      assertEquals(lists(`${path}/${file}`, shared.directory("queues/other")), "[[], []]");
      assertEquals(lists(path), "[['system.posix_acl_default']]");
    },
  );

  itNeeds(missing("python"))(
    "is not read from a file whose access list hides that its group may not read it",
    async () => {
      using shared = await Shared.open();
      const { bodyFiles } = shared.internals;
      const path = shared.directory("queues/jobs/bodies");
      const file = bodyFiles.write("queues/jobs/bodies", "secret", false, "put");
      // the owner, a user, the group without permissions, the mask, others
      setAccessList(`${path}/${file}`, "[(1, 6, -1), (2, 4, 2002), (4, 0, -1), (16, 4, -1), (32, 0, -1)]");
      assertEquals(statSync(`${path}/${file}`).mode & 0o777, 0o640);
      assertThrows(() => bodyFiles.read("queues/jobs/bodies", file), ProviderError, "group");
    },
  );

  it("is read from the file of its own bus", async () => {
    using shared = await Shared.open();
    const { bodyFiles } = shared.internals;
    const leases = new Leases(shared.internals, shared.bus);
    const receipt = leases.hold(shared.queue, KEY, writeItem("item", false), 0, 60_000);
    const held = bodyFiles.readItem(`${queueDirectory(shared.queue)}/held`, receipt);
    assertEquals(held, writeItem("item", false));
  });
});
