/**
 * The items of one receive or peek, which ends when they have enough characters: files may be large. It also ends after a number of items
 * that cannot be read, so that the thread does its other work. The next one continues there.
 *
 * @module
 */

/** The number of characters of items from which a batch is full. The last item may exceed it. */
const ENOUGH = 16 * 1024 * 1024;
/** The number of unreadable items after which a batch is full: others can create any number, and meanwhile a bus does nothing else. */
export const MAX_UNREADABLE = 64;

/** In place of an item that was removed or put aside, because it cannot be read. */
export const UNREADABLE = "unreadable";
/** The result of taking an item. */
export type Taken<T> = T | typeof UNREADABLE;

/** Items until there are enough. */
export class ItemBatch<T extends { readonly body: string }> {
  /** The items. */
  readonly items: T[] = [];
  readonly #max: number;
  #size = 0;
  #unreadable = 0;

  /** Creates an empty batch of at most `max` items. */
  constructor(max: number) {
    this.#max = max;
  }

  /** The number of items that the batch may still take, if they are small. */
  get left(): number {
    return this.#size < ENOUGH && this.#unreadable < MAX_UNREADABLE ? this.#max - this.items.length : 0;
  }

  /** Whether the batch takes no more items. */
  get full(): boolean {
    return this.left <= 0;
  }

  /** Adds an item, or counts one that is unreadable. */
  push(item: Taken<T>): void {
    if (item === UNREADABLE) {
      this.#unreadable++;
      return;
    }
    this.items.push(item);
    this.#size += item.body.length;
  }
}
