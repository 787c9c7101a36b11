/**
 * The patterns that buses subscribe to, and the bindings of the groups' queues: a directory with a file for each. Every bus reads them
 * without a lock, when the directory has changed. A member of a `group` can write any number of them, so the number of bindings and their
 * bytes are limited.
 *
 * @module
 */
import {
  BoundQueues,
  checkBytes,
  MAX_BINDINGS,
  MAX_STEPS,
  MAX_TOTAL,
  tooMany,
  writeBinding,
} from "../../provider/bindings.ts";
import { glob, type Steps } from "../../provider/glob.ts";
import type { TopicFilter } from "../../provider/provider.ts";
import type { BodyFiles } from "./body_files.ts";
import type { Directories } from "./directories.ts";
import { check } from "./errors.ts";
import type { Listing } from "./listing.ts";
import { hashed, MAX_PATTERN } from "./names.ts";

/** The directory of the patterns and bindings. */
export const PATTERNS = "patterns";
/** The prefix of the name of a binding's file, in place of a bus. Versions without groups ignore such files. */
export const GROUP = "group";
/** The place of the bindings, for the messages of errors. */
const HERE = `the directory "${PATTERNS}" of the namespace`;

/** A pattern that a bus subscribes to. */
interface Pattern {
  readonly bus: string;
  readonly matches: (topic: string, steps: Steps) => boolean;
}

/** A binding of a group's queue. */
interface Binding {
  readonly text: string;
  readonly bytes: number;
}

/** The results of comparing a topic with the patterns and bindings. */
export interface Matches {
  /** The buses with matching patterns, each as often as it has some. */
  readonly buses: readonly string[];
  /** The queues of groups. The value is true if their items must contain the topic. */
  readonly queues: ReadonlyMap<string, boolean>;
}

/** The patterns and bindings of a namespace. */
export class Patterns {
  #directories: Directories;
  #bodyFiles: BodyFiles;
  #listing: Listing;
  /** The names of the files that were read last. */
  #names: readonly string[] = [];
  #version = 0;
  /** The states of the files that could not be read. They are read again when they change: they may still be written. */
  #unreadable = new Map<string, string>();
  #patterns = new Map<string, Pattern>();
  /** The bindings of the groups, by the names of their files. */
  #bindings = new Map<string, Binding>();
  #bound = new BoundQueues([]);
  /** The number of the bindings' files. */
  #bindingFiles = 0;
  /** The bytes that further bindings may have. If it is negative, there are more than the limits allow, and not all were read. */
  #room = MAX_TOTAL;

  /** Creates the patterns of the namespace in this directory. */
  constructor(directories: Directories, bodyFiles: BodyFiles) {
    this.#directories = directories;
    this.#bodyFiles = bodyFiles;
    this.#listing = directories.listing(PATTERNS);
  }

  /** Records that a bus subscribes to a pattern. */
  subscribe(pattern: string, bus: string): void {
    const text = checkBytes(pattern, MAX_PATTERN, `subscribe to "${pattern}"`);
    this.#bodyFiles.writeFile(PATTERNS, bus + hashed(pattern), text, true, `subscribe to "${pattern}"`);
  }

  /** Removes the record of a pattern. */
  unsubscribe(pattern: string, bus: string): void {
    this.#unlink(bus + hashed(pattern));
  }

  /**
   * Records that a queue stores the events of a topic or a pattern. The record belongs to no bus, and may already exist. It is first
   * written into the directory of a bus, so that no other bus reads a partial record, and no partial record remains if the process dies.
   *
   * @throws {BusError} "busy" if there would be too many
   */
  bind(filter: TopicFilter, queue: string, busDirectory: string): void {
    const binding = writeBinding(filter, queue);
    const name = GROUP + hashed(binding);
    const doing = `subscribe to "${filter.topic}"`;
    const { length } = checkBytes(binding, MAX_PATTERN, doing);
    this.read();
    const full = this.#bindingFiles >= MAX_BINDINGS || this.#room < length;
    if (full && !this.#names.includes(name)) throw tooMany(doing, HERE, this.#bindingFiles);
    const written = `${busDirectory}/${this.#bodyFiles.write(busDirectory, binding, false, doing)}`;
    const move = () => this.#directories.rename(written, `${PATTERNS}/${name}`);
    const moved = this.#directories.within(PATTERNS, move);
    if (moved < 0) this.#directories.unlink(written);
    check(moved, `Cannot ${doing}`);
  }

  /** Removes the record of a binding. */
  unbind(filter: TopicFilter, queue: string): void {
    this.#unlink(GROUP + hashed(writeBinding(filter, queue)));
  }

  /**
   * Compares a topic with all patterns and bindings that were read last.
   *
   * @throws {BusError} "busy" if there are too many, or their comparison takes too long: the event would not be everywhere
   */
  match(topic: string): Matches {
    if (this.#room < 0) throw tooMany("publish an event", HERE, this.#bindingFiles);
    const steps = { left: MAX_STEPS };
    const matching = [...this.#patterns.values()].filter(({ matches }) => matches(topic, steps));
    return { buses: matching.map(({ bus }) => bus), queues: this.#bound.queuesOf(topic, steps) };
  }

  /** Reads what has changed. Returns a number that is another one after each change. */
  read(): number {
    const names = this.#listing.names();
    const written = [...this.#unreadable].some(([name, before]) => this.#stateOf(name) !== before);
    if (names === this.#names && !written) return this.#version;
    const patterns = new Map<string, Pattern>();
    const bindings = new Map<string, Binding>();
    const unreadable = new Map<string, string>();
    const bindingFiles = names.filter((name) => busOf(name) === GROUP).length;
    let room = bindingFiles > MAX_BINDINGS ? -1 : MAX_TOTAL;
    const bind = (name: string, binding: Binding) => {
      room -= binding.bytes;
      bindings.set(name, binding);
    };
    for (const name of names) {
      const bus = busOf(name);
      if (room < 0 && bus === GROUP) continue;
      const known = this.#patterns.get(name);
      const binding = this.#bindings.get(name);
      if (known) patterns.set(name, known);
      if (binding) bind(name, binding);
      if (known || binding) continue;
      const state = this.#stateOf(name); // first: it may be written meanwhile
      try {
        const bytes = this.#bodyFiles.readFile(PATTERNS, name, MAX_PATTERN);
        const text = new TextDecoder("utf-8", { ignoreBOM: true }).decode(bytes);
        if (name !== bus + hashed(text)) unreadable.set(name, state);
        else if (bus === GROUP) bind(name, { text, bytes: bytes.length });
        else patterns.set(name, { bus, matches: glob(text) });
      } catch (error) {
        if (this.#bodyFiles.later(error, PATTERNS, name)) throw error;
        unreadable.set(name, state);
      }
    }
    this.#names = names;
    this.#unreadable = unreadable;
    this.#patterns = patterns;
    this.#bindings = bindings;
    this.#bindingFiles = bindingFiles;
    this.#room = room;
    this.#bound = new BoundQueues([...bindings.values()].map(({ text }) => text), this.#bound);
    return ++this.#version;
  }

  #unlink(name: string): void {
    this.#directories.unlink(`${PATTERNS}/${name}`);
    this.#directories.prune(PATTERNS);
  }

  #stateOf(name: string): string {
    const stat = this.#directories.stat(`${PATTERNS}/${name}`);
    return typeof stat === "number" ? `${stat}` : `${stat.inode} ${stat.modified} ${stat.size}`;
  }
}

/** Returns the bus that created a pattern file, from the file's name. */
export function busOf(name: string): string {
  return name.slice(0, name.indexOf("~", name.indexOf("$")));
}
