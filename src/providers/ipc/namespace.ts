/**
 * What both halves of a bus stand on: the system calls, the names, the directories, and the buses of the namespace.
 *
 * @module
 */
import { Bodies } from "./body_files.ts";
import { failure } from "./errors.ts";
import { recover } from "./crash_slot.ts";
import { directoryOf, eventsOf, inboxOf, Names } from "./names.ts";
import { type Access, type Directory, Place } from "./directories.ts";
import { Errno, loadPosix, type Posix } from "./posix.ts";
import { Processes } from "./processes.ts";
import { Queues } from "./mqueues.ts";
import { Tree } from "./subscriptions.ts";

/** Options, with what they leave out. */
export interface Settings extends Access {
  /** Where the directories of the namespaces are. */
  readonly directory: string;
  /** Where PyMQ has them. */
  readonly pymqDirectory: string;
  /** The largest message of a named queue. */
  readonly messageSize: number;
}

/** The directory of all buses. */
const LOOPS = "loops";

/** The ground of one half of a bus. */
export class Space {
  readonly posix: Posix;
  readonly names: Names;
  readonly processes: Processes;
  readonly place: Place;
  readonly bodies: Bodies;
  readonly queues: Queues;
  readonly tree: Tree;

  readonly #settings: Settings;
  readonly #loops: Directory;

  private constructor(posix: Posix, settings: Settings, name: string, dead: (loop: string) => void) {
    const { directory, pymqDirectory } = settings;
    this.#settings = settings;
    this.posix = posix;
    this.names = new Names(name);
    this.processes = new Processes(posix);
    this.place = new Place(posix, `${directory}/${name}`, settings);
    this.place.trust();
    this.#loops = this.place.directory(LOOPS);
    this.bodies = new Bodies(posix, this.place, settings);
    this.queues = new Queues(posix, settings);
    const pymq = new Place(posix, `${pymqDirectory}/${name}`, settings);
    const places = () => elsewhere(posix, directory, pymqDirectory) ? [this.place, pymq] : [this.place];
    this.tree = new Tree({ ...this, places }, dead);
  }

  /**
   * Opens the ground; `dead` is called for each bus whose process is found gone.
   *
   * @throws {UnsupportedError} where there are no POSIX message queues
   * @throws {ProviderError} "denied" when the namespace's directory is somebody else's
   */
  static async open(settings: Settings, namespace: string, dead: (loop: string) => void): Promise<Space> {
    return new Space(await loadPosix(), settings, directoryOf(namespace), dead);
  }

  /** The grounds of the other namespaces of this user. */
  *others(): Generator<Space> {
    const { directory } = this.#settings;
    const listed = this.posix.list(directory, true);
    if (typeof listed === "number") throw failure(listed, `Cannot list ${directory}`);
    for (const name of listed) {
      const path = `${directory}/${name}`;
      const stat = this.posix.stat(path);
      if (path === this.place.path || typeof stat === "number" || !stat.directory || stat.uid !== this.posix.user) {
        continue;
      }
      if (typeof this.posix.stat(`${path}/${LOOPS}`) === "object") {
        yield new Space(this.posix, this.#settings, name, () => {});
      }
    }
  }

  /** The directory of a bus: it says that there is one, and holds what is too large for its queues. */
  loopDirectory(loop: string): string {
    return `${LOOPS}/${loop}`;
  }

  /** Removes all that a bus has made for itself; an item that it had just taken goes back, or stays until there is room for it. */
  removeLoop(loop: string): void {
    const recovered = recover(this, loop);
    const unlinked = [eventsOf(loop), inboxOf(loop)].map((queue) => this.posix.unlinkQueue(queue));
    this.tree.sweep(loop);
    // those of another user of our group only that user can remove, who has to find the bus here
    if (!recovered || unlinked.includes(-Errno.EACCES)) return;
    this.place.remove(this.loopDirectory(loop));
    this.place.prune(LOOPS);
  }

  /** The buses of this namespace; what strangers have put among them is none. */
  loops(): readonly string[] {
    return this.#loops.look().filter((name) => this.names.readLoop(name) !== undefined);
  }

  /** The buses of this namespace whose process is gone, PyMQ's too. */
  deadLoops(): string[] {
    return [...this.dead(this.loops()), ...this.tree.deadPymq()];
  }

  /** Those of these buses whose process is gone. */
  dead(loops: readonly string[]): string[] {
    return loops.filter((loop) => this.gone(loop, "dead"));
  }

  /** Whether the process of a bus is gone, as {@linkcode Processes} tells it. */
  gone(name: string, how: "dead" | "missing"): boolean {
    const loop = this.names.readLoop(name);
    return loop !== undefined && this.processes[how](loop);
  }
}

function elsewhere(posix: Posix, one: string, other: string): boolean {
  const [a, b] = [posix.stat(one, true), posix.stat(other, true)];
  // the root of each file system in memory has the same inode
  return typeof a === "object" && typeof b === "object" && (a.device !== b.device || a.inode !== b.inode);
}
