/**
 * What both halves of a bus stand on: the system calls, the names, the directories, and the buses of the namespace.
 *
 * @module
 */
import { Bodies } from "./bodies.ts";
import { eventsOf, inboxOf, Names } from "./names.ts";
import { type Access, Place } from "./place.ts";
import { loadPosix, type Posix } from "./posix.ts";
import { Processes } from "./processes.ts";
import { Queues } from "./queues.ts";
import { Tree } from "./tree.ts";

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

  private constructor(posix: Posix, settings: Settings, namespace: string, dead: (loop: string) => void) {
    const { directory, pymqDirectory } = settings;
    this.posix = posix;
    this.names = new Names(namespace);
    this.processes = new Processes(posix);
    const [own, pymq] = [directory, pymqDirectory].map((path) =>
      new Place(posix, `${path}/${this.names.directory}`, settings)
    ) as [Place, Place];
    this.place = own;
    this.bodies = new Bodies(posix, own, settings);
    this.queues = new Queues(posix, settings);
    const places = elsewhere(posix, directory, pymqDirectory) ? [own, pymq] : [own];
    for (const place of places) place.trust();
    this.tree = new Tree({ ...this, places }, dead);
  }

  /**
   * Opens the ground; `dead` is called for each bus whose process is found gone.
   *
   * @throws {UnsupportedError} where there are no POSIX message queues
   * @throws {ProviderError} "denied" when the namespace's directory is somebody else's
   */
  static async open(settings: Settings, namespace: string, dead: (loop: string) => void): Promise<Space> {
    return new Space(await loadPosix(), settings, namespace, dead);
  }

  /** The directory of a bus: it says that there is one, and holds what is too large for its queues. */
  loopDirectory(loop: string): string {
    return `${LOOPS}/${loop}`;
  }

  /** Removes all that a bus has made for itself. */
  removeLoop(loop: string): void {
    this.posix.unlinkQueue(eventsOf(loop));
    this.posix.unlinkQueue(inboxOf(loop));
    this.tree.sweep(loop);
    this.place.remove(this.loopDirectory(loop));
    this.place.prune(LOOPS);
  }

  /** The buses whose process is gone. */
  deadLoops(): string[] {
    const ours = this.place.list(LOOPS).filter((name) => {
      const loop = this.names.readLoop(name);
      return loop !== undefined && this.processes.dead(loop);
    });
    return [...ours, ...this.tree.deadPymq()];
  }
}

function elsewhere(posix: Posix, one: string, other: string): boolean {
  const [a, b] = [posix.stat(one, true), posix.stat(other, true)];
  return typeof a === "object" && typeof b === "object" && a.inode !== b.inode;
}
