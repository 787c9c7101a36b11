/**
 * Moves items from their files into the kernel's queue. While an item is moved, its file is in a directory that no bus takes from:
 *
 *     queues/<queue>/moving/<key>.<starts>.<lease>.<bus>
 *
 * However long the bus pauses there, no other bus delivers the item a second time. If the bus ends there, the next bus that checks gives
 * the item back: it is delivered twice only if its bus was killed between the kernel's acceptance and the removal of the file.
 *
 * @module
 */
import { mark } from "../../provider/delivery_mark.ts";
import { Errno } from "./errno.ts";
import { readItem, writeItem } from "./frames.ts";
import {
  bodyDirectory,
  type Item,
  itemsInOrder,
  movingDirectory,
  nameOfItem,
  parseItem,
  pathOf,
  queueDirectory,
} from "./items.ts";
import { LimitedTextMap, type WeighedTextMap } from "../../internal/caches.ts";
import type { OpenQueue } from "./mqueues.ts";
import { MAX_CACHED } from "./names.ts";
import type { Namespace } from "./namespace.ts";

/** Milliseconds between two checks whether an item that another bus is moving has been moved. */
const CHECK_INTERVAL = 1;
/**
 * The number of checks, and at most the milliseconds, after which a take continues: a bus that pauses longer does not stop the queue. Checks
 * are counted because a bus that gets few turns of a busy processor has not paused, and this one gets few turns too.
 */
const PATIENCE = { checks: 200, most: 2_000 };
/**
 * The largest number of names among the items that are being moved that are looked at: far more than can be moved at a time. A take does not
 * wait while there are more, because each check would list them all.
 */
const MAX_MOVING = 256;

/** The place for an item in the kernel's queue: the front, or behind the messages of a priority. */
type Where = "front" | number;

/** Moves items for one bus. */
export class Moves {
  #namespace: Namespace;
  #bus: string;
  /** The items of each queue whose buses have paused while they moved them. The names in one queue do not displace those of others. */
  #paused: WeighedTextMap<LimitedTextMap<true>>;
  /** The checks that the waits of the current take may still make, without its first wait, and when all of them end. */
  #patience = { checks: 0, end: 0 };

  /** Creates the moves of the bus of this name. */
  constructor(namespace: Namespace, bus: string) {
    this.#namespace = namespace;
    this.#bus = bus;
    this.#paused = namespace.directories.listings.map(({ size }) => size);
  }

  /**
   * Moves the item in the file `from` to the front of the kernel's queue, or behind the messages of a priority. Returns 0, or EAGAIN if there
   * is no room and the file is in its place again, or the error of moving the file.
   */
  move(queue: string, from: string, item: Item, where: Where): number {
    const { directories, posix, queues } = this.#namespace;
    const open = queues.use(queue);
    if (!open) return -Errno.EAGAIN;
    // an item for which there is no room is not moved: meanwhile another bus would take the next item
    const { current = 0, messages = 0 } = posix.attributes(open.descriptor) ?? {};
    if (current >= messages) return -Errno.EAGAIN;
    const stat = directories.stat(from); // reading it would set its access time, which records that its handler has started
    if (typeof stat === "number") return stat;
    if (stat.size - Number(!stat.regular) > open.size) return -Errno.EAGAIN;
    const directory = movingDirectory(queue);
    const name = nameOfItem({ ...item, bus: this.#bus });
    const path = `${directory}/${name}`;
    const moved = directories.within(directory, () => directories.rename(from, path));
    if (moved < 0) return moved;
    if (this.#send(open, directory, name, item.starts, where)) {
      directories.unlink(path);
      return 0;
    }
    directories.within(from.slice(0, from.lastIndexOf("/")), () => directories.rename(path, from));
    return -Errno.EAGAIN;
  }

  /** Puts a message at the front of the kernel's queue. Returns false if the queue has no room. */
  putFirst(queue: string, message: Uint8Array, starts: number): boolean {
    const open = this.#namespace.queues.use(queue);
    return open !== undefined && this.#put(open, message, starts, "front");
  }

  /**
   * Waits until no other bus moves an item of this queue. Returns whether it waited. A take waits when it begins. Its waits `again` make
   * {@linkcode PATIENCE} checks in all, because members of a group can create new names each time.
   */
  settle(queue: string, again = false): boolean {
    const { posix } = this.#namespace;
    const patience = again ? this.#patience : { checks: PATIENCE.checks, end: performance.now() + PATIENCE.most };
    if (!again) this.#patience = { ...patience };
    const paused = this.#paused.get(queue) ?? new LimitedTextMap<true>(MAX_CACHED);
    for (let waited = false;; waited = true) {
      const names = this.#names(queue);
      const moving = this.#recover(queue, names).filter((name) => !paused.has(name));
      if (moving.length === 0 || names.length > MAX_MOVING) return waited;
      if (patience.checks === 0 || performance.now() >= patience.end) {
        for (const name of moving) paused.set(name, true);
        this.#paused.set(queue, paused);
        return true;
      }
      patience.checks--;
      posix.poll(new Uint8Array(0), 0, CHECK_INTERVAL);
    }
  }

  /** Gives back the items whose bus has ended while it moved them. Returns the other items that are being moved. */
  recover(queue: string): string[] {
    return this.#recover(queue, this.#names(queue));
  }

  #recover(queue: string, names: readonly string[]): string[] {
    return names.slice(0, MAX_MOVING).filter((name) => {
      const item = parseItem(name)!;
      // this bus is moving nothing now, so an item of its own here could be neither sent nor put back
      if (item.bus !== this.#bus && !this.#namespace.ended(item.bus)) return true;
      this.giveBack(queue, name);
      return false;
    });
  }

  #names(queue: string): readonly string[] {
    return this.#namespace.directories.listings.names(movingDirectory(queue), itemsInOrder);
  }

  /** Marks a held item as being moved. The caller sends it, then calls {@linkcode Moves.sent} or {@linkcode Moves.giveBack}. */
  stage(queue: string, name: string): void {
    const { directories } = this.#namespace;
    const moving = movingDirectory(queue);
    directories.within(moving, () => directories.rename(pathOf(queue, `held/${name}`), `${moving}/${name}`));
  }

  /** Removes the file of an item that was sent. */
  sent(queue: string, name: string): void {
    this.#namespace.directories.unlink(`${movingDirectory(queue)}/${name}`);
  }

  /** Gives back an item that is being moved. */
  giveBack(queue: string, name: string): void {
    const { directories, posix } = this.#namespace;
    const path = pathOf(queue, `moving/${name}`);
    directories.setTimes(path, (name, at) => posix.setModified(name, posix.now(), false, at));
    directories.within(
      `${queueDirectory(queue)}/back`,
      () => directories.rename(path, pathOf(queue, `back/${name}`)),
    );
  }

  #send(open: OpenQueue, directory: string, name: string, starts: number, where: Where): boolean {
    try {
      return this.#put(open, this.#namespace.bodyFiles.readItem(directory, name), starts, where);
    } catch {
      return false; // the queue has just been removed, or no descriptor is left
    }
  }

  #put(open: OpenQueue, item: Uint8Array, starts: number, where: Where): boolean {
    const { bodyFiles, posix, queues } = this.#namespace;
    const bodies = bodyDirectory(open.name);
    const { text, file } = readItem(item);
    const marked = (text: string, file: boolean) => writeItem(starts > 0 ? text + mark(starts) : text, file);
    let message = marked(text, file);
    let inline = false;
    // PyMQ cannot read files: a body that fits into a message leaves its file
    if (file && (bodyFiles.size(bodies, text) ?? Infinity) <= open.size) {
      const whole = marked(bodyFiles.read(bodies, text), false);
      inline = whole.length <= open.size;
      if (inline) message = whole;
    }
    if (message.length > open.size) return false;
    const sent = where === "front"
      ? queues.putFirst(open, message)
      : posix.send(open.descriptor, message, message.length, where) === 0;
    if (sent && inline) bodyFiles.remove(bodies, text);
    return sent;
  }
}
