/**
 * The number and the size of the calls that a bus holds, with a limit for each.
 *
 * @module
 */

/** The largest number of calls. */
const MOST = 10_000;
/**
 * The number of bytes of all held calls (`heldBytes`) from which no further call is accepted, because a process that runs out of memory
 * ends. One call may be larger.
 */
const MOST_BYTES = 512 * 1024 * 1024;

/** Counts the calls that a bus holds at once. */
export class Load {
  #count = 0;
  #bytes = 0;
  #refused = false;

  /** The limit that is reached, for an error message: "10000 calls". Undefined while further calls may be accepted. */
  get full(): string | undefined {
    if (this.#count >= MOST) return `${MOST} calls`;
    return this.#bytes >= MOST_BYTES ? `${MOST_BYTES} bytes of calls` : undefined;
  }

  /** Counts a call of this number of bytes. */
  add(bytes: number): void {
    this.#count++;
    this.#bytes += bytes;
  }

  /** Stops counting a call that was added. */
  remove(bytes: number): void {
    this.#bytes -= bytes;
    if (--this.#count === 0) this.#refused = false;
  }

  /** Records that a call was refused. Returns true for the first refusal since the bus held no call: only that one is reported. */
  refuse(): boolean {
    const first = !this.#refused;
    this.#refused = true;
    return first;
  }
}
