/**
 * Who subscribes to what: a tree of links that all see without a lock.
 *
 *     subscribers/<topic>/<bus>   PyMQ's: a link to the bus's queue
 *     topics/<~hash>/<bus>        the same for topics that cannot be a path
 *     patterns/<bus><~hash>       a file with the pattern
 *     servers/<~hash>/<bus>       a bus that serves the function of this topic
 *
 * PyMQ's part stands in `/run/shm` too, where that is another place.
 *
 * @module
 */
import { glob } from "../../provider/glob.ts";
import type { Bodies } from "./body_files.ts";
import { check } from "./errors.ts";
import { writePymq } from "./frames.ts";
import { type Address, eventsOf, hashed, type Loop, type Names } from "./names.ts";
import type { Directory, Place } from "./directories.ts";
import { Errno, type Posix } from "./posix.ts";
import type { Processes } from "./processes.ts";
import type { Queues } from "./mqueues.ts";

const PATTERNS = "patterns";
/** Where PyMQ looks for the queue behind a link. */
const MQUEUE = "/dev/mqueue";
/** Milliseconds between looks whether the subscribers still live. */
const ALIVE = 250;
/** Milliseconds after which a message that PyMQ's loop has not taken says that nobody reads there. */
const UNREAD = 250;
/** Milliseconds between looks for a directory of PyMQ's own. */
const PLACED = 1_000;
/** Topics whose subscribers are remembered. */
const REMEMBERED = 16_384;

/** Where an event goes. */
export interface Route {
  /** Buses that subscribe to the topic itself. */
  readonly exact: number;
  readonly destinations: readonly Destination[];
}

/** A bus that an event goes to. */
export interface Destination extends Address {
  /** How many of its subscriptions match. */
  readonly count: number;
}

interface Known extends Route {
  readonly directories: readonly Directory[];
  /** What they held. */
  readonly names: readonly (readonly string[])[];
  readonly patterns: readonly string[];
  readonly checked: number;
}

/** A pattern that a bus subscribes to. */
interface Glob {
  readonly loop: string;
  readonly matches: (topic: string) => boolean;
}

/** What a tree needs. */
export interface TreeHome {
  readonly posix: Posix;
  readonly names: Names;
  readonly processes: Processes;
  readonly queues: Queues;
  /** The directory of the namespace, and PyMQ's where there is another one. */
  readonly places: () => readonly Place[];
  readonly bodies: Bodies;
}

/** See the module. */
export class Tree {
  #home: TreeHome;
  #patterns: Directory;
  /** The names of the patterns' files as they were read. */
  #patternNames: readonly string[] = [];
  #globs = new Map<string, Glob>();
  #known = new Map<string, Known>();
  #servers = new Map<string, Directory>();
  /** Called for a bus that is found dead. */
  #dead: (loop: string) => void;
  /** The directory of the namespace, and PyMQ's where that is another one. */
  #places: readonly Place[];
  #placed = performance.now();

  /** The tree of a namespace. */
  constructor(home: TreeHome, dead: (loop: string) => void) {
    this.#home = home;
    this.#dead = dead;
    this.#places = home.places();
    this.#patterns = this.#places[0]!.directory(PATTERNS);
  }

  /** Looks whether PyMQ has made a directory of its own meanwhile; true if so: subscriptions are to be made there too. */
  discover(): boolean {
    const before = this.#places.length;
    this.#places = this.#home.places();
    this.#placed = performance.now();
    if (this.#places.length !== before) this.#known.clear();
    return this.#places.length > before;
  }

  /** The buses that subscribe to this topic, or to a pattern that it matches. */
  route(topic: string): Route {
    if (performance.now() - this.#placed > PLACED) this.discover();
    const known = this.#known.get(topic);
    this.#readPatterns();
    const directories = known?.directories ?? this.#directories(topic);
    const names = directories.map((directory) => directory.look());
    const unchanged = known && known.patterns === this.#patternNames &&
      names.every((each, i) => each === known.names[i]) &&
      performance.now() - known.checked < ALIVE;
    if (unchanged) return known;
    const loops = new Map<string, number>();
    for (const name of names.flat()) if (this.#lives(name)) loops.set(name, 1);
    const exact = loops.size;
    for (const { loop, matches } of this.#globs.values()) {
      if (matches(topic) && this.#lives(loop)) loops.set(loop, (loops.get(loop) ?? 0) + 1);
    }
    const destinations = [...loops].map(([loop, count]) => {
      const pymq = this.#home.names.readLoop(loop)?.ours === false;
      return { loop, queue: eventsOf(loop), pymq, count };
    });
    const route = { exact, destinations, directories, names, patterns: this.#patternNames, checked: performance.now() };
    if (this.#known.size >= REMEMBERED) this.#known.clear();
    this.#known.set(topic, route);
    return route;
  }

  /** The live buses that serve the function of this topic. */
  servers(topic: string): string[] {
    let directory = this.#servers.get(topic);
    if (!directory) {
      if (this.#servers.size >= REMEMBERED) this.#servers.clear();
      directory = this.#places[0]!.directory(this.#home.names.servers(topic));
      this.#servers.set(topic, directory);
    }
    return directory.look().filter((name) => this.#lives(name));
  }

  /** Links a bus to a topic. */
  subscribe(topic: string, loop: string): void {
    const { posix, names } = this.#home;
    const places = this.#places;
    const { path, shared } = names.topic(topic);
    for (const place of shared ? places : places.slice(0, 1)) {
      const link = place.of(`${path}/${loop}`);
      const made = place.within(path, () => posix.symlink(`${MQUEUE}/${loop}`, link));
      check(made, `Cannot subscribe to "${topic}"`, Errno.EEXIST);
    }
  }

  /** Unlinks it. */
  unsubscribe(topic: string, loop: string): void {
    const { names } = this.#home;
    const places = this.#places;
    const { path, shared } = names.topic(topic);
    for (const place of shared ? places : places.slice(0, 1)) this.#unlink(place, path, loop);
  }

  /** Makes a bus known for a pattern. */
  subscribePattern(pattern: string, loop: string): void {
    const { bodies } = this.#home;
    bodies.writeFile(PATTERNS, loop + hashed(pattern), new TextEncoder().encode(pattern), true);
  }

  /** Ends that. */
  unsubscribePattern(pattern: string, loop: string): void {
    this.#unlink(this.#places[0]!, PATTERNS, loop + hashed(pattern));
  }

  /** Registers a bus as a server of a topic's function. */
  register(topic: string, loop: string): void {
    const { bodies, names } = this.#home;
    bodies.writeFile(names.servers(topic), loop, new Uint8Array(), true);
  }

  /** Ends that. */
  unregister(topic: string, loop: string): void {
    const { names } = this.#home;
    const places = this.#places;
    this.#unlink(places[0]!, names.servers(topic), loop);
  }

  /**
   * PyMQ's buses that are gone, as far as it can be known: no process has their id, and what was sent to them lies there. One that
   * nobody sends to is sent something that PyMQ ignores, for the next look.
   */
  deadPymq(): string[] {
    const { names, posix, processes, queues } = this.#home;
    const linked = this.#places.flatMap((place) => this.#loops(place, "subscribers"));
    const made = posix.list(MQUEUE); // where it is mounted here too
    const found = new Set(typeof made === "number" ? linked : linked.concat(made));
    return [...found].filter((name) => {
      const loop = names.readLoop(name);
      if (!loop || loop.ours || !processes.missing(loop)) return false;
      if (this.#unread(name)) return true;
      const probe = writePymq("", "null");
      const queue = queues.use(eventsOf(name));
      if (queue && probe.length <= queue.size) posix.send(queue.descriptor, probe, probe.length);
      return false;
    });
  }

  #loops(place: Place, path: string): string[] {
    return place.list(path).flatMap((name) =>
      this.#home.names.readLoop(name) ? [name] : this.#loops(place, `${path}/${name}`)
    );
  }

  /** Of a bus whose process is not to be found here: it may be one of another pid namespace, which reads. */
  #unread(name: string): boolean {
    return this.#home.queues.readers(eventsOf(name), UNREAD) !== "some";
  }

  /** Removes all that a bus has left. */
  sweep(loop: string): void {
    for (const place of this.#places) {
      for (const room of ["subscribers", "topics", "servers"]) this.#sweep(place, room, loop);
      for (const name of place.list(PATTERNS)) if (loopOf(name) === loop) this.#unlink(place, PATTERNS, name);
    }
  }

  #sweep(place: Place, path: string, loop: string): void {
    for (const name of place.list(path)) {
      if (name === loop) this.#unlink(place, path, name);
      else if (!this.#home.names.readLoop(name)) this.#sweep(place, `${path}/${name}`, loop);
    }
  }

  #unlink(place: Place, path: string, name: string): void {
    this.#home.posix.unlink(place.of(`${path}/${name}`));
    place.prune(path);
  }

  #lives(name: string): boolean {
    const { names, processes } = this.#home;
    const loop: Loop | undefined = names.readLoop(name);
    if (!loop) return false;
    if (!processes.dead(loop) && !(processes.missing(loop) && this.#unread(name))) return true;
    this.#dead(name);
    return false;
  }

  #directories(topic: string): Directory[] {
    const { path, shared } = this.#home.names.topic(topic);
    return (shared ? this.#places : this.#places.slice(0, 1)).map((place) => place.directory(path));
  }

  #readPatterns(): void {
    const { bodies } = this.#home;
    const names = this.#patterns.look();
    if (names === this.#patternNames) return;
    this.#patternNames = names;
    const globs = new Map<string, Glob>();
    for (const name of names) {
      const known = this.#globs.get(name);
      if (known) {
        globs.set(name, known);
        continue;
      }
      try {
        const pattern = new TextDecoder("utf-8", { ignoreBOM: true }).decode(bodies.readFile(PATTERNS, name));
        const loop = loopOf(name);
        // one that is just being written is read when it is complete
        if (name === loop + hashed(pattern)) globs.set(name, { loop, matches: glob(pattern) });
        else this.#patternNames = [];
      } catch (error) {
        this.#patternNames = []; // it has just gone
        if (bodies.later(error, PATTERNS, name)) throw error;
      }
    }
    this.#globs = globs;
  }
}

/** The bus of a pattern's file. */
function loopOf(name: string): string {
  return name.slice(0, name.indexOf("~", name.indexOf("$")));
}
