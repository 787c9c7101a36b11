/**
 * The subscriptions of all buses: a tree of links that every bus reads without a lock.
 *
 *     subscribers/<topic>/<bus>   PyMQ's: a link to the bus's queue
 *     topics/<~hash>/<bus>        the same for topics that cannot be a path
 *     patterns/<bus><~hash>       a file with the pattern
 *     patterns/group<~hash>       a file with the binding of a group's queue
 *     servers/<~hash>/<bus>       a link, to the name of the function, for a bus that serves it
 *
 * `subscribers` also exists below `/run/shm`, if that is a separate directory.
 *
 * @module
 */
import { BusError } from "../../errors.ts";
import { LimitedMap, type WeighedTextMap } from "../../internal/caches.ts";
import type { TextMap } from "../../internal/text_map.ts";
import type { BodyFiles } from "./body_files.ts";
import type { Directories } from "./directories.ts";
import { Errno } from "./errno.ts";
import { check } from "./errors.ts";
import { STRANGE_PARTS } from "./files.ts";
import { writePymq } from "./frames.ts";
import { type MessageQueues, MQUEUE } from "./mqueues.ts";
import { type Address, eventsOf, MAX_BUSES, type Names, type ParsedBus } from "./names.ts";
import { busOf, PATTERNS, Patterns } from "./patterns.ts";
import type { Posix } from "./posix.ts";
import type { Processes } from "./processes.ts";
import { WAITING } from "./waiting.ts";
import type { Steps } from "./walk.ts";

/** Milliseconds for which a route is cached before its subscribers' processes are checked again. */
const ROUTE_CACHED = 250;
/** Milliseconds after which an unread message to PyMQ shows that its reader is gone. */
const UNREAD = 250;
/** Milliseconds between two checks whether PyMQ has created its own directory. */
const ROOTS_CACHED = 1_000;
/** The largest number of topics for which the directory of the servers is cached. */
const CACHE_SIZE = 16_384;

/** The destinations of an event. */
export interface Route {
  /** The number of buses that subscribe to the topic by name. */
  readonly exact: number;
  readonly destinations: readonly Destination[];
  /** The queues of groups. The value is true if their items must contain the topic. */
  readonly queues: TextMap<boolean>;
}

/** A bus that receives an event. */
export interface Destination extends Address {
  /** The number of matching subscriptions of the bus. */
  readonly count: number;
  /** Whether the bus subscribes to the topic by name. */
  readonly named: boolean;
}

/** Returns the names of the buses in a directory. */
type List = () => readonly string[];

interface CachedRoute extends Route {
  readonly directories: readonly List[];
  /** The names that the directories contained. */
  readonly names: readonly (readonly string[])[];
  /** The state of the patterns, as {@linkcode Patterns.read} returned it. */
  readonly patterns: number;
  /** The time when the processes were last checked, by `performance.now()`. */
  readonly checked: number;
}

/** The parts of a namespace that {@linkcode Subscriptions} uses. */
export interface SubscriptionsContext {
  readonly posix: Posix;
  readonly names: Names;
  readonly processes: Processes;
  readonly queues: MessageQueues;
  readonly bodyFiles: BodyFiles;
  /** Returns the directory of the namespace, and PyMQ's if it is another one. */
  roots(): readonly Directories[];
}

/** The subscriptions and servers of a namespace. */
export class Subscriptions {
  /** The patterns of the buses, and the bindings of the groups. */
  readonly patterns: Patterns;
  #context: SubscriptionsContext;
  #onDead: () => void;
  /** The directory of the namespace, and PyMQ's if it is another one. */
  #roots: readonly Directories[];
  #rootsRead = performance.now();
  #routes: WeighedTextMap<CachedRoute>;
  #servers = new LimitedMap<List>(CACHE_SIZE);

  /** Creates the subscriptions of a namespace. `onDead` is called when dead buses are found. */
  constructor(context: SubscriptionsContext, onDead: () => void) {
    this.#context = context;
    this.#onDead = onDead;
    this.#roots = context.roots();
    this.#routes = this.#own.listings.map(({ names, destinations, queues }) => {
      return names.flat().length + destinations.length + queues.size;
    });
    this.patterns = new Patterns(this.#own, context.bodyFiles, this.#isBus);
  }

  /** Checks whether PyMQ has created its own directory. If it returns true, subscriptions must be linked there too. */
  discover(): boolean {
    const before = this.#roots.length;
    this.#roots = this.#context.roots();
    this.#rootsRead = performance.now();
    if (this.#roots.length !== before) this.#routes.clear();
    return this.#roots.length > before;
  }

  /**
   * Returns the buses that subscribe to this topic, by name or by a pattern, and the queues of its groups.
   *
   * @throws {BusError} "busy" if other programs have written so many names, patterns or bindings that they cannot all be used
   */
  route(topic: string): Route {
    if (performance.now() - this.#rootsRead > ROOTS_CACHED) this.discover();
    const patterns = this.patterns.read();
    const cached = this.#routes.get(topic);
    const directories = cached?.directories ?? this.#topicLists(topic);
    const names = directories.map((list) => list());
    const unchanged = cached && cached.patterns === patterns &&
      names.every((each, i) => each === cached.names[i]) &&
      performance.now() - cached.checked < ROUTE_CACHED;
    if (unchanged) return cached;
    const matching = this.patterns.match(topic);
    const listed = names.flat();
    const living = this.#living([...listed, ...matching.buses], `publish to "${topic}"`);
    const named = new Set(listed.filter((name) => living.has(name)));
    const buses = new Map([...named].map((bus) => [bus, 1]));
    for (const bus of matching.buses) if (living.has(bus)) buses.set(bus, (buses.get(bus) ?? 0) + 1);
    const destinations = [...buses].map(([bus, count]) => {
      const pymq = this.#context.names.parseBus(bus)?.pymq === true;
      return { bus, queue: eventsOf(bus), pymq, count, named: named.has(bus) };
    });
    const checked = performance.now();
    const route = { exact: named.size, destinations, queues: matching.queues, directories, names, patterns, checked };
    this.#routes.set(topic, route);
    return route;
  }

  /**
   * Returns the live buses that serve the function of this topic.
   *
   * @throws {BusError} "busy" if other programs have written too many names
   */
  servers(topic: string): string[] {
    let list = this.#servers.get(topic);
    if (!list) {
      list = this.#busList(this.#own, this.#context.names.servers(topic));
      this.#servers.set(topic, list);
    }
    return [...this.#living(list(), `call "${topic}"`)];
  }

  /** Links a bus to a topic. */
  subscribe(topic: string, bus: string): void {
    const { path } = this.#context.names.topic(topic);
    for (const root of this.#topicRoots(topic)) {
      const made = root.within(path, () => root.symlink(`${MQUEUE}/${bus}`, `${path}/${bus}`));
      check(made, `Cannot subscribe to "${topic}"`, Errno.EEXIST);
    }
  }

  /** Removes the link of a bus to a topic. */
  unsubscribe(topic: string, bus: string): void {
    const { path } = this.#context.names.topic(topic);
    for (const root of this.#topicRoots(topic)) this.#unlink(root, path, bus);
  }

  /** Registers a bus as a server of a topic's function. */
  register(topic: string, bus: string): void {
    const { bodyFiles, names } = this.#context;
    const name = new TextEncoder().encode(topic);
    // the link contains the name of the function for `IpcAdmin`, because the name of the directory is a hash
    const text = bodyFiles.fitsLink(name) ? name : new Uint8Array();
    const what = `Cannot register a server of "${topic}"`;
    check(bodyFiles.writeLink(names.servers(topic), bus, text), what, Errno.EEXIST);
  }

  /** Removes the registration of a server. */
  unregister(topic: string, bus: string): void {
    this.#unlink(this.#own, this.#context.names.servers(topic), bus);
  }

  /**
   * Returns the PyMQ buses that are gone: no process here has their pid, and a message to them has not been read. If no message waits,
   * this sends one that PyMQ ignores, so that the next call can decide.
   */
  *deadPymq(): Steps<string[]> {
    const { names, posix, processes, queues } = this.#context;
    const found = new Map<string, ParsedBus>();
    const leaf = (name: string) => {
      const bus = names.parseBus(name);
      if (bus?.pymq && found.size < MAX_BUSES) found.set(name, bus);
      return bus !== undefined;
    };
    const kernelQueues = posix.list(MQUEUE, false, STRANGE_PARTS); // an errno where it is not mounted
    if (typeof kernelQueues === "object") kernelQueues.forEach(leaf);
    for (const root of this.#roots) yield* root.walk("subscribers", { leaf });
    const dead: string[] = [];
    for (const [name, bus] of found) {
      yield;
      if (!processes.missing(bus)) continue;
      if (this.#unread(name)) {
        dead.push(name);
        continue;
      }
      const probe = writePymq("", "null");
      try {
        const queue = queues.use(eventsOf(name));
        if (queue && probe.length <= queue.size) posix.send(queue.descriptor, probe, probe.length);
      } catch (error) {
        // any user can create a queue of that name; it must not prevent the buses of this user from opening
        if (!(error instanceof BusError && error.code === "denied")) throw error;
      }
    }
    return dead;
  }

  /** Removes the links and files of those buses for which `remove` returns true. */
  *remove(remove: (bus: string) => boolean): Steps {
    for (const root of this.#roots) {
      for (const path of ["subscribers", "topics", "servers", WAITING]) {
        // PyMQ creates a directory of `subscribers` without an attempt to repeat that if the directory is removed before it is used
        yield* root.walk(path, { leaf: this.#isBus, remove, prune: path !== "subscribers" });
      }
      yield* root.walk(PATTERNS, { leaf: () => true, remove: (name) => remove(busOf(name)) });
    }
  }

  #isBus = (name: string): boolean => this.#context.names.parseBus(name) !== undefined;

  /**
   * Returns whether no process reads the events of a bus. The bus may belong to a process in another pid namespace, which is not visible
   * here.
   */
  #unread(name: string): boolean {
    return this.#context.queues.readers(eventsOf(name), UNREAD) !== "some";
  }

  #unlink(root: Directories, path: string, name: string): void {
    root.unlink(`${path}/${name}`);
    root.prune(path);
  }

  /** Returns the live buses among these names. `doing` is the purpose, for the message of an error. */
  #living(names: readonly string[], doing: string): ReadonlySet<string> {
    const buses = new Set<string>();
    for (const name of names) {
      if (this.#isBus(name)) buses.add(name);
      if (buses.size <= MAX_BUSES) continue;
      this.#onDead(); // there cannot be so many live ones
      const why = `there are the names of more than ${MAX_BUSES} buses, and tsmq has not written all of them`;
      throw new BusError("busy", `Cannot ${doing}: ${why}. Those of dead buses are now being removed`);
    }
    const living = new Set([...buses].filter((bus) => this.#lives(bus)));
    if (living.size < buses.size) this.#onDead();
    return living;
  }

  #lives(name: string): boolean {
    const { names, processes } = this.#context;
    const bus = names.parseBus(name)!;
    return !processes.dead(bus) && !(processes.missing(bus) && this.#unread(name));
  }

  /** The directory of the namespace. */
  get #own(): Directories {
    return this.#roots[0]!;
  }

  #topicRoots(topic: string): readonly Directories[] {
    return this.#context.names.topic(topic).shared ? this.#roots : [this.#own];
  }

  #topicLists(topic: string): List[] {
    const { path } = this.#context.names.topic(topic);
    return this.#topicRoots(topic).map((root) => this.#busList(root, path));
  }

  /** Returns the list of the buses in a directory. It leaves out those that strangers have put there: they could stop each send. */
  #busList(root: Directories, path: string): List {
    const { bodyFiles } = this.#context;
    const known = (name: string) => this.#isBus(name) && !bodyFiles.strange(`${path}/${name}`, root);
    const arrange = (names: readonly string[]) => names.filter(known);
    return () => root.listings.names(path, arrange);
  }
}
