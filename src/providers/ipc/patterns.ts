/**
 * The patterns that buses subscribe to, and the bindings of the groups' queues: a directory with a file for each. Every bus reads them
 * without a lock, when the directory has changed. A member of a `group` can write any number of them, so their numbers and their bytes are
 * limited.
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
import { BusError } from "../../errors.ts";
import { TextMap } from "../../internal/text_map.ts";
import type { BodyFiles } from "./body_files.ts";
import type { Directories } from "./directories.ts";
import { check } from "./errors.ts";
import { Listing } from "./listing.ts";
import { hashed, MAX_PATTERN } from "./names.ts";

/** The directory of the patterns and bindings. */
export const PATTERNS = "patterns";
/** The prefix of the name of a binding's file, in place of a bus. Versions without groups ignore such files. */
export const GROUP = "group";
/**
 * The largest number of files of one kind that are ignored. Each is looked at again when the directory has changed, because a subscription may
 * have replaced it. With more, publishes reject, as with too many bindings.
 */
export const MAX_IGNORED = 256;
/** The place of the bindings, for the messages of errors. */
const HERE = `the directory "${PATTERNS}" of the namespace`;

/** A file: the pattern of a bus, or the binding of a group. */
interface File {
  /** The bus, or {@linkcode GROUP}. */
  readonly bus: string;
  /** The bytes of the file that were read. */
  readonly bytes: number;
  /** Undefined if the file is ignored, because it cannot be read or tsmq has not written it. */
  readonly content?: { readonly text: string; readonly matches: (topic: string, steps: Steps) => boolean };
  /** The state of the file before it was read. */
  readonly state: string;
}

/** The files of one kind that were found, and the bytes that more of them may have. */
class Room {
  count = 0;
  left = MAX_TOTAL;
  ignored = 0;

  /** Whether there are more than the limits allow. Then not all were read. */
  get exceeded(): boolean {
    return this.count > MAX_BINDINGS || this.left < 0 || this.ignored > MAX_IGNORED;
  }

  /** Whether a further file of this many bytes would exceed the limits. */
  fullFor(bytes: number): boolean {
    return this.exceeded || this.count >= MAX_BINDINGS || this.left < bytes;
  }
}

type Kind = "patterns" | "bindings";
const KINDS: readonly Kind[] = ["bindings", "patterns"];

/** The results of comparing a topic with the patterns and bindings. */
export interface Matches {
  /** The buses with matching patterns, each as often as it has some. */
  readonly buses: readonly string[];
  /** The queues of groups. The value is true if their items must contain the topic. */
  readonly queues: TextMap<boolean>;
}

/** The patterns and bindings of a namespace. */
export class Patterns {
  #directories: Directories;
  #bodyFiles: BodyFiles;
  #isBus: (name: string) => boolean;
  #listing: Listing;
  /** The names in the directory when it was read last. */
  #names: readonly string[] = [];
  #version = 0;
  /** The files that were read, by their names. */
  #files = new TextMap<File>();
  #patterns: readonly File[] = [];
  #bound = new BoundQueues([]);
  #rooms = { patterns: new Room(), bindings: new Room() };

  /** Creates the patterns of the namespace in this directory. `isBus` returns whether a name is that of a bus. */
  constructor(directories: Directories, bodyFiles: BodyFiles, isBus: (name: string) => boolean) {
    this.#directories = directories;
    this.#bodyFiles = bodyFiles;
    this.#isBus = isBus;
    this.#listing = new Listing(directories, PATTERNS);
  }

  /**
   * Records that a bus subscribes to a pattern.
   *
   * @throws {BusError} "busy" if there would be too many
   */
  subscribe(pattern: string, bus: string, busDirectory: string): void {
    this.#write(pattern, bus, busDirectory, `subscribe to "${pattern}"`, "patterns");
  }

  /** Removes the record of a pattern. */
  unsubscribe(pattern: string, bus: string): void {
    this.#unlink(bus + hashed(pattern));
  }

  /**
   * Records that a queue stores the events of a topic or a pattern. The record belongs to no bus, and may already exist.
   *
   * @throws {BusError} "busy" if there would be too many
   */
  bind(filter: TopicFilter, queue: string, busDirectory: string): void {
    this.#write(writeBinding(filter, queue), GROUP, busDirectory, `subscribe to "${filter.topic}"`, "bindings");
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
    for (const kind of KINDS) if (this.#rooms[kind].exceeded) throw this.#tooMany("publish an event", kind);
    const steps = { left: MAX_STEPS };
    const matching = this.#patterns.filter(({ content }) => content!.matches(topic, steps));
    return { buses: matching.map(({ bus }) => bus), queues: this.#bound.queuesOf(topic, steps) };
  }

  /** Reads what has changed. Returns a number that is another one after each change. */
  read(): number {
    const names = this.#listing.names();
    if (names === this.#names) return this.#version;
    const found = names.filter((name) => busOf(name) === GROUP || this.#isBus(busOf(name)));
    const rooms = { patterns: new Room(), bindings: new Room() };
    const roomOf = (name: string) => rooms[busOf(name) === GROUP ? "bindings" : "patterns"];
    for (const name of found) roomOf(name).count++;
    const files = new TextMap<File>();
    for (const name of found) {
      const room = roomOf(name);
      const known = this.#files.get(name);
      // known files are kept beyond the limits: else a peer that creates and removes one file makes the bus read all of them each time
      const file = known?.content || !room.exceeded ? this.#read(name, known) : undefined;
      if (!file) continue;
      room.left -= file.bytes;
      if (!file.content) room.ignored++;
      files.set(name, file);
    }
    this.#names = names;
    this.#files = files;
    this.#rooms = rooms;
    const read = [...files.values()].filter(({ content }) => content !== undefined);
    this.#patterns = read.filter(({ bus }) => bus !== GROUP);
    const bindings = read.filter(({ bus }) => bus === GROUP).map(({ content }) => content!.text);
    this.#bound = new BoundQueues(bindings, this.#bound);
    return ++this.#version;
  }

  /** Reads a file. One that is ignored is read again only if it has changed. */
  #read(name: string, known: File | undefined): File {
    if (known?.content) return known;
    const bus = busOf(name);
    const stat = this.#directories.stat(`${PATTERNS}/${name}`); // first: it may be replaced meanwhile
    const { inode = 0, modified = 0, size = 0 } = typeof stat === "number" ? {} : stat;
    const state = `${inode} ${modified} ${size}`;
    if (known?.state === state) return known;
    const ignored = { bus, bytes: size > MAX_PATTERN ? 0 : size, state };
    try {
      const bytes = this.#bodyFiles.readFile(PATTERNS, name, MAX_PATTERN);
      const text = new TextDecoder("utf-8", { ignoreBOM: true }).decode(bytes);
      if (name !== bus + hashed(text)) return ignored;
      return { bus, bytes: bytes.length, content: { text, matches: glob(text) }, state };
    } catch (error) {
      if (this.#bodyFiles.later(error, PATTERNS, name)) throw error;
      return ignored;
    }
  }

  /**
   * Writes a file. It is first written into the directory of a bus, so that no other bus reads a part of it, and none remains if the
   * process dies.
   */
  #write(text: string, bus: string, busDirectory: string, doing: string, kind: Kind): void {
    const name = bus + hashed(text);
    const { length } = checkBytes(text, MAX_PATTERN, doing);
    this.read();
    if (this.#rooms[kind].fullFor(length) && !this.#names.includes(name)) throw this.#tooMany(doing, kind);
    const written = `${busDirectory}/${this.#bodyFiles.write(busDirectory, text, false, doing)}`;
    const move = () => this.#directories.rename(written, `${PATTERNS}/${name}`);
    const moved = this.#directories.within(PATTERNS, move);
    if (moved < 0) this.#directories.unlink(written);
    check(moved, `Cannot ${doing}`);
  }

  #tooMany(doing: string, kind: Kind): BusError {
    const { count, ignored } = this.#rooms[kind];
    if (ignored > MAX_IGNORED) {
      const text = `more than ${MAX_IGNORED} files that cannot be read or that tsmq has not written. Remove them`;
      return new BusError("busy", `Cannot ${doing}: ${HERE} has ${text}`);
    }
    if (kind === "bindings") return tooMany(doing, HERE, count);
    const limits = `${HERE} has ${count} patterns of buses, and the limits are ${MAX_BINDINGS} and ${MAX_TOTAL} bytes`;
    return new BusError("busy", `Cannot ${doing}: ${limits}. Remove patterns that tsmq has not written`);
  }

  #unlink(name: string): void {
    this.#directories.unlink(`${PATTERNS}/${name}`);
    this.#directories.prune(PATTERNS);
  }
}

/** Returns the bus that created a pattern file, from the file's name. */
export function busOf(name: string): string {
  return name.slice(0, name.indexOf("~", name.indexOf("$")));
}
