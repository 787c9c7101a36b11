/**
 * The items of one receive or peek, which ends when they have enough characters: files may be large.
 *
 * @module
 */

/** The number of characters of items from which a batch is full. The last item may exceed it. */
const ENOUGH = 16 * 1024 * 1024;

/** Items until there are enough. */
export class ItemBatch<T extends { readonly body: string }> {
  /** The items. */
  readonly items: T[] = [];
  readonly #max: number;
  #size = 0;

  /** Creates an empty batch of at most `max` items. */
  constructor(max: number) {
    this.#max = max;
  }

  /** The number of items that the batch may still take, if they are small. */
  get left(): number {
    return this.#size < ENOUGH ? this.#max - this.items.length : 0;
  }

  /** Whether the batch takes no more items. */
  get full(): boolean {
    return this.left <= 0;
  }

  /** Adds an item. */
  push(item: T): void {
    this.items.push(item);
    this.#size += item.body.length;
  }
}
