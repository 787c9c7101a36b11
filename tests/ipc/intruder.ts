/**
 * A member of a group, who uses the namespace that it shares with another user to reach what is not in it. Arguments: the namespace, the
 * group, what to do, and its arguments.
 */
import { mkdirSync } from "node:fs";
import process from "node:process";
import { writeItem } from "../../src/providers/ipc/frames.ts";
import { Leases } from "../../src/providers/ipc/leases.ts";
import { ipc } from "../../src/providers/ipc/provider.ts";
import { Namespace, type Settings } from "../../src/providers/ipc/namespace.ts";

const [name, group, what, ...args] = process.argv.slice(2) as [string, string, string, ...string[]];
process.umask(0o007);
const namespace = await Namespace.open(ipc({ group: Number(group) }).options as Settings, name, () => {});
const { bodyFiles, directories, names, overflow, processes, subscriptions } = namespace;
const bus = names.newBus(processes.self, 0);

const acts: Record<string, () => void> = {
  /** Puts an item into the overflow of each of these kernel queues. */
  overflow() {
    const leases = new Leases(namespace, bus);
    for (const queue of args) overflow.put(queue, leases.key(), writeItem('"forged"', false));
  },
  /** Binds a queue to a topic. */
  bind() {
    directories.within("loops", () => directories.make(namespace.busDirectory(bus)));
    subscriptions.patterns.bind({ topic: args[0]!, pattern: false }, args[1]!, namespace.busDirectory(bus));
    directories.prune(namespace.busDirectory(bus));
  },
  /** Creates links with the names of this many dead buses in a directory. */
  links() {
    const [path, count] = args as [string, string];
    for (let i = 0; i < Number(count); i++) {
      const dead = names.newBus({ ...processes.self, pid: 5_000_000 + i }, 0); // above every pid
      directories.within(path, () => directories.symlink("bus", `${path}/${dead}`));
    }
  },
  /** Creates this many empty files in a directory. Their names begin with the given text. */
  files() {
    const [path, count, start, end] = args as [string, string, string, string];
    for (let i = 0; i < Number(count); i++) bodyFiles.writeFile(path, `${start}${i}${end}`, new Uint8Array(), true);
  },
  /** Creates a directory this many levels deep. */
  dig() {
    process.chdir(directories.path("subscribers"));
    for (let level = 0; level < Number(args[0]); level++) {
      mkdirSync("a");
      process.chdir("a");
    }
  },
};
acts[what]!();
namespace.close();
console.log("done");
