/**
 * The directories of queues, and the file names of items that are held or came back:
 *
 *     <key>.<starts>.<lease>.<bus>
 *
 * @module
 */

import { Postponed } from "../../internal/postponed.ts";
import type { Directories } from "./directories.ts";

/** Matches the name of an item's file. Earlier versions of tsmq omit the `lease`. */
const ITEM = /^(\d{16}-\d{6})\.(\d{1,10})(?:\.(\d{1,10})(\??))?\.(.+)$/;

/** The largest counts that are read: one more still has ten digits, and fits into a mark. A member of the group can write larger ones. */
const MOST = 2 ** 32 - 2;

/** Milliseconds for which an item that could not be taken is left alone, at first and at most. */
const ALONE = { first: 10, most: 10_000 };

/** An item, as the name of its file describes it. */
export interface Item {
  readonly key: string;
  /** The number of recorded attempts. */
  readonly starts: number;
  /** The number of times that the item was given back. */
  readonly lease: number;
  /** Whether the last lease of the item expired. */
  readonly unconfirmed: boolean;
  readonly bus: string;
}

/** The file of an item. */
export interface ItemFile {
  readonly path: string;
  readonly name: string;
}

/** Parses the name of an item's file; undefined for any other file. */
export function parseItem(name: string): Item | undefined {
  const [, key, starts, lease = 0, unconfirmed = "", bus] = ITEM.exec(name) ?? [];
  if (key === undefined || bus === undefined) return undefined;
  const count = (digits: string | number) => Math.min(Number(digits), MOST);
  return { key, starts: count(starts!), lease: count(lease), unconfirmed: unconfirmed !== "", bus };
}

/** Returns those names that are of items, in the order of their keys. */
export function itemsInOrder(names: readonly string[]): readonly string[] {
  return names.filter(parseItem).sort();
}

/** Returns the name of an item's file. */
export function nameOfItem({ key, starts, lease, unconfirmed, bus }: Item): string {
  return `${key}.${starts}.${lease}${unconfirmed ? "?" : ""}.${bus}`;
}

/** Returns an empty list of the items of a queue that could not be taken, for example because one is another user's directory. */
export function untaken(): Postponed {
  return new Postponed(ALONE.first, ALONE.most);
}

/** Returns the directory for the files of a kernel queue. */
export function queueDirectory(queue: string): string {
  return `queues${queue}`;
}

/** Returns whether a kernel queue has files. One without any, most often an idle one, is checked by one system call in place of ten. */
export function hasFiles(directories: Directories, queue: string): boolean {
  return directories.exists(queueDirectory(queue));
}

/** Returns the path of a file of a kernel queue. */
export function pathOf(queue: string, name: string): string {
  return `${queueDirectory(queue)}/${name}`;
}

/** Returns the directory of the items that are being moved into a kernel queue. */
export function movingDirectory(queue: string): string {
  return `${queueDirectory(queue)}/moving`;
}

/** Returns the directory of the bodies that are too large for a queue's messages. */
export function bodyDirectory(queue: string): string {
  return `${queueDirectory(queue)}/bodies`;
}

/** Returns the directory of the items that are too large to be read. */
export function asideDirectory(queue: string): string {
  return `${queueDirectory(queue)}/aside`;
}
