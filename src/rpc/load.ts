/**
 * The number and the size of the calls that a bus holds, with a limit for each.
 *
 * @module
 */

/** The largest number of calls. */
const MOST = 10_000;
/**
 * The number of characters of all held calls (`heldSize`) from which no further call is accepted, because a process that runs out of memory
 * ends. One call may be larger.
 */
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

  /** Records that a call was refused. Returns true for the first refusal since the bus held no call: only that one is reported. */
  refuse(): boolean {
    const first = !this.#refused;
    this.#refused = true;
    return first;
  }
}
