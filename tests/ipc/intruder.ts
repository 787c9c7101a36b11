/**
 * A member of a group, who uses the namespace that it shares with another user to reach what is not in it. Its argument is the group. The
 * test tells it the namespace, what to do, and the arguments of that.
 */
import { chmodSync, mkdirSync } from "node:fs";
import process from "node:process";
import { writeItem } from "../../src/providers/ipc/frames.ts";
import { nameOfItem, queueDirectory } from "../../src/providers/ipc/items.ts";
import { Leases } from "../../src/providers/ipc/leases.ts";
import type { Namespace } from "../../src/providers/ipc/namespace.ts";
import { say, told } from "../support/peer_side.ts";
import { openNamespace } from "./ground.ts";

/** Returns what the intruder can do in a namespace, with these arguments. */
function actsIn(namespace: Namespace, args: readonly string[]): Record<string, () => void> {
  const { bodyFiles, directories, names, overflow, posix, processes, subscriptions } = namespace;
  const bus = names.newBus(processes.self, 0);

  return {
    /** Puts an item into the overflow of each of these kernel queues. */
    overflow() {
      const leases = new Leases(namespace, bus);
      for (const queue of args) overflow.put(queue, leases.key(), writeItem('"forged"', false));
    },
    /** Subscribes this many buses of another pid namespace, which never look dead. */
    subscribe() {
      const [topic, count] = args as [string, string];
      for (let i = 0; i < Number(count); i++) {
        subscriptions.subscribe(topic, names.newBus({ ...processes.self, pidNamespace: 1 }, 0));
      }
    },
    /** Binds a queue to a topic. */
    bind() {
      directories.within("loops", () => directories.make(namespace.busDirectory(bus)));
      subscriptions.patterns.bind({ topic: args[0]!, pattern: false }, args[1]!, namespace.busDirectory(bus));
      directories.prune(namespace.busDirectory(bus));
    },
    /** Creates this many links, files or directories. In their paths, # and % stand for a number of 16 or 10 digits, and @ for the name of a dead bus. */
    create() {
      const [count, kind, path] = args as [string, "link" | "file" | "directory", string];
      for (let i = 0; i < Number(count); i++) {
        const dead = names.newBus({ ...processes.self, pid: 5_000_000 + i }, 0); // above every pid
        const number = String(i).padStart(16, "0");
        const each = path.replaceAll("#", number).replaceAll("%", number.slice(6)).replaceAll("@", dead);
        const made = directories.within(each.slice(0, each.lastIndexOf("/")), () => {
          return kind === "link"
            ? directories.symlink("x", each)
            : kind === "file"
            ? directories.createFile(each)
            : directories.make(each);
        });
        if (kind === "file") posix.close(made);
      }
    },
    /** Creates dead buses with crash slots of this size, and a file of a lease for the item in each of them. */
    slots() {
      const [count, size, queue] = args as [string, string, string];
      for (let i = 0; i < Number(count); i++) {
        const dead = names.newBus({ ...processes.self, pid: 5_000_000 + i }, 0); // above every pid
        const key = `${"0".repeat(16)}-${String(i).padStart(6, "0")}`;
        const slot = new Uint8Array(Number(size));
        slot.set(new TextEncoder().encode(`${queue}\n${key}\n`));
        slot[slot.length - 1] = 1;
        bodyFiles.writeFile(namespace.busDirectory(dead), "landing", slot, true);
        const held = nameOfItem({ key, starts: 0, lease: 0, unconfirmed: false, bus: dead });
        bodyFiles.writeFile(`${queueDirectory(queue)}/held`, held, new Uint8Array(0), true);
      }
    },
    /** Replaces the link that a bus has made, and sets its time. */
    replace() {
      const [path, target, time] = args as [string, string, string?];
      directories.unlink(path);
      directories.symlink(target, path);
      if (time !== undefined) posix.setModified(directories.path(path), Number(time));
    },
    /** Sets the mode of its own directory. */
    mode() {
      const [path, mode] = args as [string, string];
      chmodSync(directories.path(path), parseInt(mode, 8));
    },
    /** Creates a directory this many levels deep. */
    dig() {
      const before = process.cwd();
      process.chdir(directories.path("subscribers"));
      for (let level = 0; level < Number(args[0]); level++) {
        mkdirSync("a");
        process.chdir("a");
      }
      process.chdir(before);
    },
  };
}

process.umask(0o007);
const [group] = process.argv.slice(2);
for await (const [name, what, ...args] of told<[string, string, ...string[]]>()) {
  const namespace = await openNamespace(name, { group: Number(group) });
  actsIn(namespace, args)[what]!();
  namespace.close();
  say("done");
}
