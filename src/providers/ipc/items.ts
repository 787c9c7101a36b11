/**
 * The names of the files of items that are held or came back:
 *
 *     <key>.<starts>.<lease>.<bus>
 *
 * @module
 */

/** Other files may be there, of strangers. Buses of an earlier version leave out what is in the middle. */
const ITEM = /^(\d{16}-\d{6})\.(\d+)(?:\.(\d+)(\??))?\.(.+)$/;

/** An item, by the name of its file. */
export interface Item {
  readonly key: string;
  /** Attempts that were recorded. */
  readonly starts: number;
  /** How often it came back under this key. */
  readonly lease: number;
  /** Its last lease ended by itself. */
  readonly unconfirmed: boolean;
  readonly bus: string;
}

/** Reads the name of an item's file; undefined for one of a stranger. */
export function parseItem(name: string): Item | undefined {
  const [, key, starts, lease = 0, unconfirmed = "", bus] = ITEM.exec(name) ?? [];
  if (key === undefined || bus === undefined) return undefined;
  return { key, starts: Number(starts), lease: Number(lease), unconfirmed: unconfirmed !== "", bus };
}

/** The name of the file of an item. */
export function nameOfItem({ key, starts, lease, unconfirmed, bus }: Item): string {
  return `${key}.${starts}.${lease}${unconfirmed ? "?" : ""}.${bus}`;
}
