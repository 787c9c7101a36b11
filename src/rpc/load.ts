/**
 * The number and the size of the calls that a bus holds, with a limit for each.
 *
 * @module
 */

/** The largest number of calls. */
const MOST = 10_000;
/** The number of their characters from which no further ones are accepted: a process without memory ends. One call may be larger. */
const MOST_SIZE = 128 * 1024 * 1024;

/** Counts the calls that a bus holds at once. */
export class Load {
  #count = 0;
  #size = 0;
  #refused = false;

  /** The limit that is reached, for an error message: "10000 calls". Undefined while further calls may be accepted. */
  get full(): string | undefined {
    if (this.#count >= MOST) return `${MOST} calls`;
    return this.#size >= MOST_SIZE ? `${MOST_SIZE} characters of calls` : undefined;
  }

  /** Counts a call of this number of characters. */
  add(size: number): void {
    this.#count++;
    this.#size += size;
  }

  /** Stops counting a call that was added. */
  remove(size: number): void {
    this.#size -= size;
    if (--this.#count === 0) this.#refused = false;
  }

  /** Notes that a call was refused. Returns whether it is the first one since no call was held, which is to be reported. */
  refuse(): boolean {
    const first = !this.#refused;
    this.#refused = true;
    return first;
  }
}
