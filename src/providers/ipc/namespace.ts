/**
 * The parts that both halves of a bus share: the system calls, and the names, directories, queues and subscriptions of its namespace.
 *
 * @module
 */
import { type Access, SETGID } from "./access.ts";
import { BodyFiles } from "./body_files.ts";
import { BusError } from "../../errors.ts";
import { DelayedItems } from "./delayed_items.ts";
import { Directories } from "./directories.ts";
import { Errno } from "./errno.ts";
import { raiseLimits } from "./limits.ts";
import { STRANGE_PARTS } from "./files.ts";
import { Listing } from "./listing.ts";
import { MessageQueues } from "./mqueues.ts";
import { directoryOf, Names } from "./names.ts";
import { Overflow } from "./overflow.ts";
import { loadPosix, type Posix } from "./posix.ts";
import { Processes } from "./processes.ts";
import { Subscriptions } from "./subscriptions.ts";
import { Waiting } from "./waiting.ts";
import type { Steps } from "./walk.ts";

/** The options of the provider, with their defaults applied. */
export interface Settings extends Access {
  /** The directory that holds the directories of the namespaces. */
  readonly directory: string;
  /** The directory that holds PyMQ's directories of the namespaces. */
  readonly pymqDirectory: string;
  /** The largest message of a named queue in bytes. */
  readonly messageSize: number;
  /** The number of items that may wait in a queue. */
  readonly capacity: number;
  /** Whether to raise the hard limit of the bytes of queues too. */
  readonly raiseLimit: boolean;
}

/** The directory that holds a directory for each bus. Buses of all versions look for it. */
export const BUSES = "loops";
/** The link in a bus's directory whose target is the number of its worker's thread. Its time shows when the bus was opened. */
export const THREAD = "thread";

/** The default limit of files in bytes: the largest message of a kernel queue. Only a receiver reads bodies. */
const SMALL_FILE = 2 ** 24;

/** The number of names in the directory of all namespaces that are looked at without a pause. */
const SKIPPED = 256;
/** The mode bits of which a namespace has at least one if others may write in it. */
const SHARED = SETGID | 0o022;

/** A namespace, opened by one half of a bus. */
export class Namespace {
  readonly posix: Posix;
  readonly names: Names;
  readonly processes: Processes;
  readonly directories: Directories;
  readonly bodyFiles: BodyFiles;
  readonly queues: MessageQueues;
  readonly subscriptions: Subscriptions;
  readonly overflow: Overflow;
  readonly delayed: DelayedItems;
  readonly waiting: Waiting;

  readonly #settings: Settings;
  readonly #pymq: Directories;
  #refused: BusError | undefined;
  readonly #buses: Listing;

  private constructor(
    posix: Posix,
    settings: Settings,
    name: string,
    onDead: () => void,
    fileLimit: number,
  ) {
    const { directory, pymqDirectory } = settings;
    this.#settings = settings;
    this.posix = posix;
    this.names = new Names(name);
    this.processes = new Processes(posix);
    this.directories = new Directories(posix, `${directory}/${name}`, settings);
    this.directories.trust();
    const isBus = (name: string) => this.names.parseBus(name) !== undefined;
    this.#buses = new Listing(this.directories, BUSES, (names) => names.filter(isBus));
    this.bodyFiles = new BodyFiles(posix, this.directories, settings, fileLimit);
    this.queues = new MessageQueues(posix, this.names, settings);
    this.#pymq = new Directories(posix, `${pymqDirectory}/${name}`, settings);
    const roots = () =>
      differ(posix, directory, pymqDirectory) && this.#reachesPymq()
        ? [this.directories, this.#pymq]
        : [this.directories];
    this.subscriptions = new Subscriptions({ ...this, roots }, onDead);
    this.overflow = new Overflow(this);
    this.delayed = new DelayedItems(this);
    this.waiting = new Waiting(this);
  }

  /**
   * Opens a namespace. `onDead` is called when buses are found whose processes have ended. Files of more than `fileLimit` bytes are not
   * read.
   *
   * @throws {UnsupportedError} if the platform has no POSIX message queues
   * @throws {ProviderError} "denied" when the namespace's directory belongs to another user
   */
  static async open(
    settings: Settings,
    name: string,
    onDead: () => void,
    fileLimit: number = SMALL_FILE,
  ): Promise<Namespace> {
    const posix = await loadPosix();
    raiseLimits(posix, settings.raiseLimit);
    return new Namespace(posix, settings, directoryOf(name), onDead, fileLimit);
  }

  /** The error of a separate directory of PyMQ that this user may not use. It is left out: any user can take its name. */
  get pymqRefused(): BusError | undefined {
    return this.#refused;
  }

  #reachesPymq(): boolean {
    this.#refused = undefined;
    try {
      this.#pymq.trust();
    } catch (error) {
      if (!(error instanceof BusError && error.code === "denied")) throw error;
      this.#refused = error;
    }
    return this.#refused === undefined;
  }

  /** Closes the directories and queues of the namespace. */
  close(): void {
    this.queues.close();
    this.directories.close();
    this.#pymq.close();
  }

  /**
   * Opens the other namespaces of this user, one after the other, without those that a group shares: a member could make each removal of a file
   * there take any time. Returns undefined after many names of others.
   */
  *others(): Generator<Namespace | undefined> {
    const { directory } = this.#settings;
    const listed = this.posix.list(directory, true, STRANGE_PARTS);
    for (const [i, name] of (typeof listed === "number" ? [] : listed).entries()) {
      if (i % SKIPPED === SKIPPED - 1) yield undefined; // any user can create any number
      const path = `${directory}/${name}`;
      const stat = this.posix.stat(path);
      if (path === this.directories.root || typeof stat === "number") continue;
      if (!stat.directory || stat.uid !== this.posix.user || (stat.mode & SHARED) !== 0) continue;
      if (typeof this.posix.stat(`${path}/${BUSES}`) === "number") continue;
      let other: Namespace;
      try {
        other = new Namespace(this.posix, { ...this.#settings, group: undefined }, name, () => {}, SMALL_FILE);
      } catch (error) {
        if (error instanceof BusError) continue; // it is another user's meanwhile, or cannot be opened now
        throw error;
      }
      yield other;
    }
  }

  /** Returns the directory of a bus. It shows that the bus exists, and holds messages that are too large for the queues of the bus. */
  busDirectory(this: void, bus: string): string {
    return `${BUSES}/${bus}`;
  }

  /** Returns the tsmq buses of this namespace. */
  buses(): readonly string[] {
    return this.#buses.names();
  }

  /** Returns those of the given buses whose process has ended, and those of PyMQ, in steps. Members of a group can create any number. */
  *deadBuses(buses: readonly string[] = this.buses()): Steps<string[]> {
    return [...yield* this.dead(buses), ...yield* this.subscriptions.deadPymq()];
  }

  /** Returns those of the given buses whose process has ended, in steps. */
  *dead(buses: readonly string[]): Steps<string[]> {
    const dead: string[] = [];
    for (const bus of buses) {
      if (this.gone(bus, "dead")) dead.push(bus);
      yield;
    }
    return dead;
  }

  /** Returns whether a bus has ended: its process has, or the bus was closed or replaced. */
  ended(bus: string): boolean {
    return this.gone(bus, "dead") || this.directories.stat(this.busDirectory(bus)) === -Errno.ENOENT;
  }

  /** Returns whether the process of a bus has ended, as {@linkcode Processes.dead} or {@linkcode Processes.missing} decides. */
  gone(name: string, how: "dead" | "missing"): boolean {
    const bus = this.names.parseBus(name);
    return bus !== undefined && this.processes[how](bus);
  }
}

function differ(posix: Posix, one: string, other: string): boolean {
  const [a, b] = [posix.stat(one, true), posix.stat(other, true)];
  // the root directories of two file systems in memory have the same inode
  return typeof a === "object" && typeof b === "object" && (a.device !== b.device || a.inode !== b.inode);
}
