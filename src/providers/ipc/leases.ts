/**
 * Items that are held or came back: files beside their queue, because the kernel hands a message out once.
 *
 *     queues/<queue>/held/<key>.<starts>.<lease>.<bus>   held by a bus until the time at which the file was "modified"
 *     queues/<queue>/back/<key>.<starts>.<lease>.<bus>   came back; due from that time on, the lower key first
 *
 * `starts` is how many attempts were recorded before this lease, `lease` how often the item came back before, with a `?` if the
 * lease before ended by itself. The start of a held item is recorded by the time at which its file was "read": 1970.
 * That is one system call, outlives the process, and changes no directory that others look at.
 *
 * What is given back to come at once goes before all others in the kernel's queue, where PyMQ sees it too, as long as that has room.
 * There is no room in a message for the `?`, so such an item stays a file until it was started.
 *
 * The times are of the clock that starts with the boot. Each change of hands is one rename, so one of several wins.
 *
 * With the option `group`, the file may be another user's, and its time only its owner's to set: others can but touch it, which
 * gives it the wall clock's, decades from now. Such an item is due at once if it is back, and held as long as its holder lives.
 *
 * @module
 */
import { mark } from "../../provider/delivery_mark.ts";
import type { Delivery } from "../../provider/provider.ts";
import { check } from "./errors.ts";
import { readItem, writeItem } from "./frames.ts";
import { nameOfItem, parseItem } from "./items.ts";
import type { Listing } from "./directories.ts";
import { Errno } from "./errno.ts";
import type { Namespace } from "./namespace.ts";

/** The priority of what came back. Everything else has 0, with PyMQ too. */
export const HEAD = 1;
/** Milliseconds between looks whether the leases of others have ended. */
const LOOK = 100;
/** Milliseconds for which a time that was read is believed: a holder that stands still may set it after it made the file. */
const BELIEVED = 5_000;

/** Queues remembered. */
const REMEMBERED = 4_096;

/** Reads the body of a held item; undefined for one that has none. */
export type Read = (receipt: string) => string | undefined;

interface QueueState {
  readonly back: Listing;
  backNames: readonly string[];
  /** When what came back is due, as far as it is known. */
  readonly due: Map<string, number>;
  readonly held: Listing;
  heldNames: readonly string[];
  /** Until when held items need no look: they come back then, or their time is read again. */
  readonly until: Map<string, number>;
  looked: number;
}

/** The directory beside a queue of the kernel. */
export function queueDirectory(queue: string): string {
  return `queues${queue}`;
}

/** The directory of the bodies that are too large for a queue's messages. */
export function bodyDirectory(queue: string): string {
  return `${queueDirectory(queue)}/bodies`;
}

/** See the module. */
export class Leases {
  #namespace: Namespace;
  #bus: string;
  #states = new Map<string, QueueState>();
  #count = 0;

  /** The leases that a bus takes. */
  constructor(namespace: Namespace, bus: string) {
    this.#namespace = namespace;
    this.#bus = bus;
  }

  /** A key for an item that is taken now: it orders items as they were taken from the kernel. */
  key(): string {
    const taken = Math.floor(this.#namespace.posix.now() * 1_000).toString().padStart(16, "0");
    return `${taken}-${(this.#count++ % 1e6).toString().padStart(6, "0")}`;
  }

  /** Holds a message that was just taken; its receipt. */
  hold(queue: string, key: string, message: Uint8Array, starts: number, lease: number): string {
    const receipt = this.#name(key, starts);
    this.#namespace.bodyFiles.writeFile(`${queueDirectory(queue)}/held`, receipt, message, true);
    this.extend(queue, receipt, lease);
    return receipt;
  }

  /** Takes what came back and is due, at most `max`; for good without a `lease`. `read` gives the body of an item, if it has one. */
  take(queue: string, max: number, lease: number | undefined, read: Read): Delivery[] {
    const state = this.#collect(queue);
    const back = this.#listBack(queue, state);
    const deliveries: Delivery[] = [];
    if (back.length === 0) return deliveries;
    const now = this.#namespace.posix.now();
    for (const name of [...back].sort()) {
      if (deliveries.length === max) break;
      if ((state.due.get(name) ?? Infinity) > now) continue;
      try {
        const delivery = this.#claim(queue, name, lease, read);
        if (delivery) deliveries.push(delivery);
        else state.due.set(name, now + LOOK); // if it is still there, it cannot be had just now
      } catch (error) {
        if (deliveries.length === 0) throw error;
        break;
      }
    }
    return deliveries;
  }

  /** Gives an item back that has left the kernel's queue and is held by nobody: it is that of the lower key that comes first. */
  restore(queue: string, key: string, message: Uint8Array, starts: number, unconfirmed = false): void {
    const name = this.#name(key, starts, unconfirmed);
    try {
      this.#namespace.bodyFiles.writeFile(`${queueDirectory(queue)}/held`, name, message, true);
    } catch (error) {
      // where there is no room for its file, there is room in the queue that it has just left
      if (this.#toHead(queue, message, starts)) return;
      throw error;
    }
    this.#giveBack(queue, name, name, 0);
  }

  /** Removes an item for good; false if its lease had ended. */
  ack(queue: string, receipt: string): boolean {
    const { bodyFiles, directories, posix } = this.#namespace;
    const held = `${queueDirectory(queue)}/held`;
    const file = this.#fileOf(held, receipt);
    if (posix.unlink(directories.path(`${held}/${receipt}`)) < 0) return false;
    if (file !== undefined) bodyFiles.remove(bodyDirectory(queue), file);
    return true;
  }

  /** Records that the handler of an item starts; false if its lease had ended. */
  start(queue: string, receipt: string): boolean {
    const { posix } = this.#namespace;
    const mark = () => posix.setRead(this.#path(queue, `held/${receipt}`), STARTED);
    let marked = mark();
    if (marked === -Errno.EPERM) {
      // another user's, of which there was no room for a copy; there may be now
      this.#own(queue, receipt, BELIEVED);
      marked = mark();
    }
    return check(marked, "Cannot record an attempt", Errno.ENOENT) >= 0;
  }

  /** Gives an item back after `delay`, after an attempt or `untried`; false if its lease had ended. */
  giveBack(queue: string, receipt: string, delay: number, untried: boolean): boolean {
    const item = parseItem(receipt);
    if (!item) return false;
    const back = untried ? receipt : nameOfItem({ ...item, starts: item.starts + 1, unconfirmed: false });
    const given = this.#giveBack(queue, receipt, back, delay > 0 ? delay : LOOK);
    // one for which there is no room stays held until then, and is given back by whoever looks
    if (check(given, "Cannot give an item back", Errno.ENOENT) < 0) return false;
    if (delay <= 0) this.#backToHead(queue, back);
    return true;
  }

  #giveBack(queue: string, receipt: string, name: string, delay: number): number {
    const { directories, posix } = this.#namespace;
    const from = this.#path(queue, `held/${receipt}`);
    const held = this.#setTime(from, delay);
    if (held < 0) return held;
    const to = this.#path(queue, `back/${name}`);
    const moved = directories.within(`${queueDirectory(queue)}/back`, () => posix.rename(from, to));
    // it is held until then: whoever knows its old time reads it again, because the directory looks different
    if (moved < 0) this.#setTime(this.#path(queue, "held"), 0);
    return moved;
  }

  /** From what came back into the kernel's queue. Who dies in between leaves it where it was. */
  #backToHead(queue: string, name: string): void {
    const { bodyFiles, posix } = this.#namespace;
    const { starts, unconfirmed } = parseItem(name)!;
    const path = this.#path(queue, `back/${name}`);
    if (unconfirmed) return void posix.setModified(path, posix.now());
    let item: Uint8Array;
    try {
      item = bodyFiles.readFile(`${queueDirectory(queue)}/back`, name);
    } catch {
      return; // the queue has just been removed
    }
    if (this.#toHead(queue, item, starts)) posix.unlink(path);
    else posix.setModified(path, posix.now());
  }

  /** Sends an item before all others into the kernel's queue; false where that has no room for it. */
  #toHead(queue: string, item: Uint8Array, starts: number): boolean {
    const { posix, queues } = this.#namespace;
    const { text, file } = readItem(item);
    const message = writeItem(starts > 0 ? text + mark(starts) : text, file);
    const open = queues.use(queue);
    if (!open || message.length > open.size) return false;
    return posix.send(open.descriptor, message, message.length, HEAD) === 0;
  }

  /** Makes a lease last from now; false if it had ended. */
  extend(queue: string, receipt: string, lease: number): boolean {
    return this.#setTime(this.#path(queue, `held/${receipt}`), lease) >= 0;
  }

  /** How many items came back and are due. */
  due(queue: string): number {
    const state = this.#collect(queue);
    const now = this.#namespace.posix.now();
    return this.#listBack(queue, state).filter((name) => (state.due.get(name) ?? Infinity) <= now).length;
  }

  /** Whether anything was held or back at the last look. */
  any(queue: string): boolean {
    const { backNames, heldNames } = this.#state(queue);
    return backNames.length + heldNames.length > 0;
  }

  /** Forgets what it knows of a queue. */
  forget(queue: string): void {
    this.#states.delete(queue);
  }

  #name(key: string, starts: number, unconfirmed = false): string {
    return nameOfItem({ key, starts, lease: 0, unconfirmed, bus: this.#bus });
  }

  #path(queue: string, name: string): string {
    return this.#namespace.directories.path(`${queueDirectory(queue)}/${name}`);
  }

  #claim(queue: string, name: string, lease: number | undefined, read: Read): Delivery | undefined {
    const { directories, posix } = this.#namespace;
    const item = parseItem(name)!;
    const from = this.#path(queue, `back/${name}`);
    // another receipt than those of the leases before
    const receipt = nameOfItem({ ...item, lease: item.lease + 1, bus: this.#bus });
    const held = `${queueDirectory(queue)}/held`;
    // first the time, so that it is not held and overdue at once
    const set = this.#setTime(from, lease ?? LOOK, true);
    if (set < 0) return undefined;
    if (directories.within(held, () => posix.rename(from, this.#path(queue, `held/${receipt}`))) < 0) return undefined;
    if (set === TOUCHED && lease !== undefined) this.#own(queue, receipt, lease);
    const body = read(receipt);
    if (body === undefined) return undefined;
    if (lease === undefined) this.ack(queue, receipt);
    const attempt = item.starts + 1;
    return { receipt: lease === undefined ? "" : receipt, body, attempt, ...item.unconfirmed && { unconfirmed: true } };
  }

  /** Says that a file's time comes in `ms`; {@linkcode TOUCHED} where that is not ours to say. */
  #setTime(path: string, ms: number, unstarted = false): number {
    const { posix } = this.#namespace;
    const set = posix.setModified(path, posix.now() + Math.min(ms, LONGEST), unstarted);
    if (set !== -Errno.EPERM) return set;
    const touched = posix.touch(path);
    return touched < 0 ? touched : TOUCHED;
  }

  /** A copy of ours takes the place of another user's file that we hold; without room for one, the item is held as long as we live. */
  #own(queue: string, receipt: string, lease: number): void {
    const { bodyFiles, posix } = this.#namespace;
    const held = `${queueDirectory(queue)}/held`;
    const copy = `~${receipt}`;
    try {
      bodyFiles.writeFile(held, copy, bodyFiles.readFile(held, receipt), false);
      this.#setTime(this.#path(queue, `held/${copy}`), lease);
      posix.rename(this.#path(queue, `held/${copy}`), this.#path(queue, `held/${receipt}`));
    } catch {
      // no room, or its queue has just been removed
    }
  }

  #fileOf(held: string, receipt: string): string | undefined {
    try {
      const { text, file } = readItem(this.#namespace.bodyFiles.readFile(held, receipt));
      return file ? text : undefined;
    } catch {
      return undefined; // its lease has ended
    }
  }

  #state(queue: string): QueueState {
    let state = this.#states.get(queue);
    if (!state) {
      if (this.#states.size >= REMEMBERED) this.#states.clear();
      const { directories } = this.#namespace;
      state = {
        ...{ back: directories.listing(`${queueDirectory(queue)}/back`), backNames: [], due: new Map() },
        ...{ held: directories.listing(`${queueDirectory(queue)}/held`), heldNames: [], until: new Map() },
        looked: -Infinity,
      };
      this.#states.set(queue, state);
    }
    return state;
  }

  #listBack(queue: string, state: QueueState): readonly string[] {
    const names = state.back.names();
    if (names === state.backNames) return names;
    state.backNames = names;
    state.due.clear();
    for (const name of names.filter((name) => parseItem(name) !== undefined)) {
      const stat = this.#namespace.posix.stat(this.#path(queue, `back/${name}`));
      if (typeof stat === "object") state.due.set(name, stat.modified > WALL ? 0 : stat.modified);
    }
    return names;
  }

  /** Gives back what was held for longer than it may be, or by a bus whose process is gone. */
  #collect(queue: string): QueueState {
    const state = this.#state(queue);
    const { names, posix, processes } = this.#namespace;
    if (performance.now() - state.looked < LOOK) return state;
    state.looked = performance.now();
    const held = state.held.names();
    if (held !== state.heldNames) state.until.clear();
    state.heldNames = held;
    const now = posix.now();
    for (const name of held) {
      const item = parseItem(name);
      if (!item) continue;
      const holder = names.parseBus(item.bus);
      const dead = holder !== undefined && processes.dead(holder);
      if (!dead && (state.until.get(name) ?? 0) > now) continue;
      const stat = posix.stat(this.#path(queue, `held/${name}`));
      if (typeof stat === "number") continue;
      state.until.set(name, Math.min(stat.modified, now + BELIEVED));
      if (!dead && stat.modified > now) continue;
      const starts = item.starts + Number(stat.read === STARTED);
      this.#giveBack(queue, name, nameOfItem({ ...item, starts, unconfirmed: true }), 0);
    }
    return state;
  }
}

/** The longest lease or delay in milliseconds, 31 years: what the wall clock says is later than all times that are set. */
const LONGEST = 1e12;
/** Later than that: a time of the wall clock. */
const WALL = 1.5e12;
/** When the file of an item was "read" whose handler has started, in milliseconds. */
const STARTED = 0;
/** The file's time could not be set, only touched. */
const TOUCHED = 1;
