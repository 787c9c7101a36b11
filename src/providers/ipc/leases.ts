/**
 * Items that are held under a lease, or were given back. They are files beside their queue, because the kernel delivers a message once.
 *
 *     queues/<queue>/held/<key>.<starts>.<lease>.<bus>   held by a bus until the file's modification time
 *     queues/<queue>/back/<key>.<starts>.<lease>.<bus>   came back; due from the modification time on, the lowest key first
 *
 * `starts` counts the attempts that were recorded before this lease. `lease` counts how often the item came back, followed by `?` if the
 * last lease expired. The start of a handler is recorded by setting the file's access time to 1970: one system call, which survives the
 * process and changes no directory that other buses watch.
 *
 * An item that is given back without a delay goes to the front of the kernel queue, where PyMQ sees it too, if that has room and no
 * file is due: files are taken first. A message cannot hold the `?`, so an item with it stays a file until its handler has started.
 *
 * All times are of the clock that starts at boot. Each change of state is one rename, so exactly one of several buses succeeds.
 *
 * With the option `group`, the file may belong to another user. Only its owner can set its times; others can touch it, which sets them to
 * the wall clock, decades ahead of the boot clock. If such an item was given back, it is due immediately. If it is held, its lease lasts
 * until its holder ends.
 *
 * @module
 */
import type { WeighedTextMap } from "../../internal/caches.ts";
import { TextMap } from "../../internal/text_map.ts";
import type { Delivery } from "../../provider/provider.ts";
import { type ItemBatch, type Taken, UNREADABLE } from "./item_batch.ts";
import { slotHolds } from "./crash_slot.ts";
import { check, systemError } from "./errors.ts";
import { readItem } from "./frames.ts";
import { asideDirectory, bodyDirectory, nameOfItem, parseItem, pathOf, queueDirectory } from "./items.ts";
import { Errno } from "./errno.ts";
import { Listing } from "./listing.ts";
import { Moves } from "./moves.ts";
import type { Namespace } from "./namespace.ts";
import { ReturnedItems, WALL } from "./returned_items.ts";

/** Milliseconds between two checks for expired leases. */
const CHECK_INTERVAL = 100;
/** Milliseconds for which a lease's end is cached. If a holder is suspended just after it created the file, it sets the end late. */
const CACHED = 5_000;
/** Milliseconds for which a live bus may read the body of an item that it takes without a lease. */
export const READING = 5_000;
/** The longest lease or delay in milliseconds, 31 years: less than the wall clock, which marks a touched file. */
const LONGEST = 1e12;
/** The access time of an item's file after its handler has started. */
const STARTED = 0;
/** The result of setting a time if the file could only be touched. */
const TOUCHED = 1;

/** Reads the body of a held item. Returns undefined if the item has none, and has removed the item or put it aside. */
export type Read = (receipt: string) => string | undefined;

/** The cached state of the held items of one queue. */
interface QueueState {
  readonly held: Listing;
  heldNames: readonly string[];
  /** The times until which held items need no check, by their names. */
  until: TextMap<number>;
  checked: number;
}

/** The leases of one bus, and the items that were given back to its queues. */
export class Leases {
  /** Called if an item was read to be taken without a lease, but another bus has given it back meanwhile. */
  onLost: (receipt: string) => void = () => {};
  #namespace: Namespace;
  #bus: string;
  #moves: Moves;
  #returned: ReturnedItems;
  #states: WeighedTextMap<QueueState>;
  #count = 0;

  /** Creates the leases of the bus of this name. */
  constructor(namespace: Namespace, bus: string, moves: Moves = new Moves(namespace, bus)) {
    this.#namespace = namespace;
    this.#bus = bus;
    this.#moves = moves;
    this.#states = namespace.directories.listings.map(({ heldNames }) => heldNames.length);
    this.#returned = new ReturnedItems(namespace);
  }

  /** Returns a key for an item that is taken now. Keys are in the order in which items are taken. */
  key(): string {
    const taken = Math.floor(this.#namespace.posix.now() * 1_000).toString().padStart(16, "0");
    return `${taken}-${(this.#count++ % 1e6).toString().padStart(6, "0")}`;
  }

  /** Records a lease of a message that was just taken. Returns the receipt. */
  hold(queue: string, key: string, message: Uint8Array, starts: number, lease: number): string {
    const receipt = this.#name(key, starts);
    this.#writeHeld(queue, receipt, message, "hold an item of");
    this.extend(queue, receipt, lease);
    return receipt;
  }

  /** Takes items that were given back and are due. Without a `lease` they are removed. `read` reads the body of an item. */
  take(queue: string, batch: ItemBatch<Delivery>, lease: number | undefined, read: Read): void {
    for (const name of this.due(queue)) {
      if (batch.full) return;
      try {
        const delivery = this.claim(queue, pathOf(queue, `back/${name}`), name, lease, read);
        batch.push(delivery ?? UNREADABLE);
        if (!delivery) this.#returned.postpone(queue, name); // if it is still there, it cannot be taken now
      } catch (error) {
        if (batch.items.length === 0) throw error;
        return;
      }
    }
  }

  /** Gives back an item that has left the kernel queue and is not held. */
  restore(queue: string, key: string, message: Uint8Array, starts: number, unconfirmed = false): void {
    const name = this.#name(key, starts, unconfirmed);
    try {
      // a link needs no bytes, so there may be room for it only
      const link = this.#namespace.bodyFiles.fitsLink(message)
        ? this.#namespace.bodyFiles.writeLink(`${queueDirectory(queue)}/held`, name, message)
        : -1;
      if (link < 0) this.#writeHeld(queue, name, message, "give an item back to");
    } catch (error) {
      // without room for a file, the queue that it has just left may have room
      if (this.#moves.putFirst(queue, message, starts)) return;
      throw error;
    }
    this.#giveBack(queue, name, name, 0);
  }

  /** Removes a held item, and its body unless the body is `kept`. Returns false if its lease has ended. */
  ack(queue: string, receipt: string, kept = false): boolean {
    const { bodyFiles, directories } = this.#namespace;
    const held = `${queueDirectory(queue)}/held`;
    const file = kept ? undefined : this.#fileOf(held, receipt);
    if (directories.unlink(`${held}/${receipt}`) < 0) return false;
    if (file !== undefined) bodyFiles.remove(bodyDirectory(queue), file);
    return true;
  }

  /** Moves a held item aside, because it is too large to be read. No bus takes it from there; it is removed with its queue. */
  putAside(queue: string, receipt: string): void {
    const { directories } = this.#namespace;
    const aside = asideDirectory(queue);
    directories.within(aside, () => directories.rename(pathOf(queue, `held/${receipt}`), `${aside}/${receipt}`));
  }

  /** Records that the handler of an item starts. Returns false if its lease has ended. */
  start(queue: string, receipt: string): boolean {
    const { directories, names, posix } = this.#namespace;
    const held = pathOf(queue, `held/${receipt}`);
    const mark = () => directories.setTimes(held, (name, at) => posix.setRead(name, STARTED, at));
    let marked = mark();
    if (marked === -Errno.EPERM) {
      // it is another user's file: there was no room for a copy, and there may be now
      this.#replaceByCopy(queue, receipt, CACHED);
      marked = mark();
    }
    return check(marked, `Cannot record an attempt at an item of ${names.title(queue)}`, Errno.ENOENT) >= 0;
  }

  /** Gives held items back after `delay`. It counts an attempt, unless `untried`. Returns false for each whose lease has ended. */
  giveBack(queue: string, receipts: readonly string[], delay: number, untried: boolean): boolean[] {
    const what = `Cannot give an item back to ${this.#namespace.names.title(queue)}`;
    // files are taken before messages: the last item goes first, and if it stays a file, the others do too
    let stays = delay > 0 || this.#anyDue(queue);
    let failed: number | undefined;
    const given = receipts.toReversed().map((receipt) => {
      const item = parseItem(receipt);
      if (!item) return false;
      const back = untried ? item : { ...item, starts: item.starts + 1, unconfirmed: false };
      let result: number = -Errno.EAGAIN;
      // a message cannot say that the last lease expired
      if (!stays && !back.unconfirmed) {
        result = this.#moves.move(queue, pathOf(queue, `held/${receipt}`), back, "front");
      }
      if (result >= 0 || result === -Errno.ENOENT) return result >= 0;
      stays = true;
      result = this.#giveBack(queue, receipt, nameOfItem(back), delay);
      // without room it stays held, and the next bus that checks gives it back
      if (result < 0 && result !== -Errno.ENOENT) failed ??= result;
      return result >= 0;
    }).reverse();
    if (failed !== undefined) throw systemError(failed, what); // the others have been given back
    if (delay <= 0) this.#namespace.waiting.wake(queue);
    return given;
  }

  #giveBack(queue: string, receipt: string, name: string, delay: number): number {
    const { directories } = this.#namespace;
    const from = pathOf(queue, `held/${receipt}`);
    const held = this.#setTime(from, delay);
    if (held < 0) return held;
    const to = pathOf(queue, `back/${name}`);
    const moved = directories.within(`${queueDirectory(queue)}/back`, () => directories.rename(from, to));
    // its lease ends then: touching the directory makes buses that have cached its old time read it again
    if (moved < 0) this.#setTime(pathOf(queue, "held"), 0);
    return moved;
  }

  /** Extends a lease from now on. Returns false if it has ended. */
  extend(queue: string, receipt: string, lease: number): boolean {
    return this.#setTime(pathOf(queue, `held/${receipt}`), lease) >= 0;
  }

  /** Returns the names of the items that were given back and are due, in the order in which they are taken. */
  due(queue: string): string[] {
    this.#expire(queue);
    return this.#returned.due(queue);
  }

  /** Returns the number of held items, and the numbers of returned items that are due at the time `now` and that are not. */
  counts(queue: string, now: number): { readonly held: number; readonly due: number; readonly delayed: number } {
    const held = this.#heldNames(queue, this.#expire(queue)).filter(parseItem).length;
    return { held, ...this.#returned.counts(queue, now) };
  }

  /** Returns the names of the files of the items that are held, and of those that were given back. */
  files(queue: string): (readonly string[])[] {
    return [this.#heldNames(queue, this.#state(queue)), this.#returned.files(queue)];
  }

  /** Returns whether items that were given back are due, or cannot be listed. */
  #anyDue(queue: string): boolean {
    try {
      return this.due(queue).length > 0;
    } catch {
      return true;
    }
  }

  /** Returns whether the queue had held or returned items at the last check. */
  any(queue: string): boolean {
    return this.#returned.any(queue) || this.#state(queue).heldNames.length > 0;
  }

  /** Forgets a queue that was removed. */
  forget(queue: string): void {
    this.#states.delete(queue);
    this.#returned.forget(queue);
  }

  #name(key: string, starts: number, unconfirmed = false): string {
    return nameOfItem({ key, starts, lease: 0, unconfirmed, bus: this.#bus });
  }

  #writeHeld(queue: string, name: string, message: Uint8Array, doing: string): void {
    const { bodyFiles, names } = this.#namespace;
    bodyFiles.writeFile(`${queueDirectory(queue)}/held`, name, message, true, `${doing} ${names.title(queue)}`);
  }

  /** Takes the item in the file `from`. Without a `lease` it is removed, but not its body. Returns undefined if another bus has it. */
  claim(queue: string, from: string, name: string, lease: number | undefined, read: Read): Taken<Delivery> | undefined {
    const { bodyFiles, directories, names } = this.#namespace;
    const item = parseItem(name)!;
    const what = `Cannot take an item of ${names.title(queue)}`;
    const attempt = item.starts + 1;
    const unconfirmed = item.unconfirmed && { unconfirmed: true };
    const text = lease === undefined ? bodyFiles.linkedText(from) : undefined;
    if (text !== undefined) { // it is read already, so it needs no lease: the bus that removes the link has the item
      const removed = check(directories.unlink(from), what, Errno.ENOENT);
      return removed < 0 ? undefined : { receipt: "", body: text, attempt, ...unconfirmed };
    }
    const receipt = nameOfItem({ ...item, lease: item.lease + 1, bus: this.#bus }); // differs from those of earlier leases
    const held = `${queueDirectory(queue)}/held`;
    const set = this.#setTime(from, lease ?? READING, true); // first, so that its lease is not expired from the start
    if (set < 0) return undefined;
    const moved = directories.within(held, () => directories.rename(from, pathOf(queue, `held/${receipt}`)));
    if (moved < 0) this.#setTime(from, 0); // it stays due
    if (check(moved, what, Errno.ENOENT) < 0) return undefined;
    if (set === TOUCHED && lease !== undefined) this.#replaceByCopy(queue, receipt, lease);
    const body = read(receipt);
    if (body === undefined) return UNREADABLE;
    if (lease === undefined && !this.ack(queue, receipt, true)) return void this.onLost(receipt); // it took too long, and was given back
    return { receipt: lease === undefined ? "" : receipt, body, attempt, ...unconfirmed };
  }

  /** Sets the modification time of a file to `ms` from now. Returns {@linkcode TOUCHED} for another user's file. */
  #setTime(path: string, ms: number, unstarted = false): number {
    const { directories, posix } = this.#namespace;
    return directories.setTimes(path, (name, at) => {
      const set = posix.setModified(name, posix.now() + Math.min(ms, LONGEST), unstarted, at);
      return set === -Errno.EPERM ? posix.touch(name, at) || TOUCHED : set;
    });
  }

  /** Replaces another user's file by a copy, whose times can be set. Without room for a copy, the item is held until this bus ends. */
  #replaceByCopy(queue: string, receipt: string, lease: number): void {
    const { bodyFiles, directories } = this.#namespace;
    const held = `${queueDirectory(queue)}/held`;
    const copy = `~${receipt}`;
    try {
      bodyFiles.writeFile(held, copy, bodyFiles.readItem(held, receipt), false);
      this.#setTime(pathOf(queue, `held/${copy}`), lease);
      directories.rename(pathOf(queue, `held/${copy}`), pathOf(queue, `held/${receipt}`));
    } catch {
      // no room, or its queue has just been removed
    }
  }

  #fileOf(held: string, receipt: string): string | undefined {
    try {
      const { text, file } = readItem(this.#namespace.bodyFiles.readItem(held, receipt));
      return file ? text : undefined;
    } catch {
      return undefined; // its lease has ended
    }
  }

  #state(queue: string): QueueState {
    let state = this.#states.get(queue);
    if (!state) {
      const held = new Listing(this.#namespace.directories, `${queueDirectory(queue)}/held`);
      this.#states.set(queue, state = { held, heldNames: [], until: new TextMap(), checked: -Infinity });
    }
    return state;
  }

  #heldNames(queue: string, state: QueueState): readonly string[] {
    const names = state.held.names();
    const changed = names !== state.heldNames;
    if (changed) this.#states.set(queue, Object.assign(state, { heldNames: names, until: new TextMap() }));
    return names;
  }

  /** Gives back the items whose lease has expired or whose holder is dead. */
  #expire(queue: string): QueueState {
    const state = this.#state(queue);
    const { directories, names, posix, processes } = this.#namespace;
    if (performance.now() - state.checked < CHECK_INTERVAL) return state;
    state.checked = performance.now();
    this.#moves.recover(queue);
    this.#heldNames(queue, state);
    const now = posix.now();
    for (const name of state.held.part()) {
      const item = parseItem(name);
      if (!item) continue;
      const holder = names.parseBus(item.bus);
      const dead = holder !== undefined && processes.dead(holder);
      if (!dead && (state.until.get(name) ?? 0) > now) continue;
      const stat = directories.stat(pathOf(queue, `held/${name}`));
      if (typeof stat === "number") continue;
      // the wall clock's time does not end a lease: its bus was stopped before it set the end, or could only touch the file
      const over = dead || (stat.modified > WALL && this.#namespace.ended(item.bus));
      // its file may be incomplete: the process that cleans up after its holder gives it back
      if (dead && slotHolds(this.#namespace, item.bus, item.key)) continue;
      state.until.set(name, Math.min(stat.modified, now + CACHED));
      if (!over && stat.modified > now) continue;
      const starts = item.starts + Number(stat.read === STARTED);
      this.#giveBack(queue, name, nameOfItem({ ...item, starts, unconfirmed: true }), 0);
    }
    return state;
  }
}
