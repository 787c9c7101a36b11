/** A first-in-first-out list whose `shift` costs the same at any length. */
export class Fifo<T> {
  #items: (T | undefined)[] = [];
  #head = 0;

  /** The number of items. */
  get length(): number {
    return this.#items.length - this.#head;
  }

  /** Appends an item. */
  push(item: T): void {
    this.#items.push(item);
  }

  /** Returns the oldest item without removing it, or `undefined`. */
  peek(): T | undefined {
    return this.#items[this.#head];
  }

  /** Returns the oldest items, at most `count`, without removing them. */
  first(count: number): T[] {
    return this.#items.slice(this.#head, this.#head + count) as T[];
  }

  /** Removes and returns the oldest item, or `undefined`. */
  shift(): T | undefined {
    const item = this.#items[this.#head];
    if (this.#head >= this.#items.length) return undefined;
    this.#items[this.#head++] = undefined;
    if (this.#head === this.#items.length) {
      this.#items = [];
      this.#head = 0;
    } else if (this.#head >= 1024 && this.#head * 2 >= this.#items.length) {
      this.#items = this.#items.slice(this.#head);
      this.#head = 0;
    }
    return item;
  }

  /** Returns the oldest item that fulfils a condition, or `undefined`. */
  find(matches: (item: T) => boolean): T | undefined {
    for (let i = this.#head; i < this.#items.length; i++) if (matches(this.#items[i]!)) return this.#items[i];
    return undefined;
  }

  /** Removes an item. Returns false if it is not in the list. */
  remove(item: T): boolean {
    const index = this.#items.indexOf(item, this.#head);
    if (index < 0) return false;
    this.#items.splice(index, 1);
    return true;
  }

  /** Removes and returns all items, oldest first. */
  drain(): T[] {
    const items = this.#items.slice(this.#head) as T[];
    this.#items = [];
    this.#head = 0;
    return items;
  }
}
