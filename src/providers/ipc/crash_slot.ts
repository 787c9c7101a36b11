/**
 * Where an item lands that is taken under a lease: memory of a file, so that the kernel's hand and the file are one. A process
 * that is killed right then loses nothing; whoever clears up after it gives the item back.
 *
 * @module
 */
import { BusError, ProviderError } from "../../errors.ts";
import { check, failure } from "./errors.ts";
import { readItem } from "./frames.ts";
import { nameOfItem } from "./items.ts";
import { Leases, sideOf } from "./leases.ts";
import type { Mapping } from "./posix.ts";
import type { Space } from "./namespace.ts";

/** Bytes for the name of the queue and the key of the lease, before the message. */
const HEAD = 1_024;
/** What stands there. */
const LANDED = /^(\/[^/\n]+)\n(\d{16}-\d{6})\n/;
/** The name of the file in the bus's directory. */
const FILE = "landing";

const encoder = new TextEncoder();
const decoder = new TextDecoder("utf-8", { ignoreBOM: true });

/** The landing of one bus: one item at a time. */
export class Landing {
  #space: Space;
  #loop: string;
  #mapping: Mapping | undefined;
  #occupied = false;

  /** The landing of this bus. */
  constructor(space: Space, loop: string) {
    this.#space = space;
    this.#loop = loop;
  }

  /** Takes a message of at most `size` bytes out of a queue; what `receive` says, with the message. */
  receive(queue: string, key: string, descriptor: number, size: number): { length: number; message: Uint8Array } {
    if (this.#occupied) {
      throw new ProviderError(
        "unavailable",
        "Cannot hold an item: one lies here that could neither be held nor given back",
      );
    }
    const bytes = this.#bytes(size);
    const head = encoder.encode(`${queue}\n${key}\n`);
    bytes.fill(0, head.length, HEAD);
    bytes.set(head);
    const room = bytes.subarray(HEAD);
    const length = this.#space.posix.receive(descriptor, room);
    this.#occupied = length >= 0;
    return { length, message: room.slice(0, Math.max(0, length)) };
  }

  /** The item is safe elsewhere. */
  clear(): void {
    this.#mapping?.bytes.fill(0);
    this.#occupied = false;
  }

  /** Ends it. */
  close(): void {
    this.#mapping?.unmap();
    this.#mapping = undefined;
  }

  #bytes(size: number): Uint8Array {
    if (this.#mapping && this.#mapping.bytes.length >= HEAD + size) return this.#mapping.bytes;
    this.close();
    const { bodies, place, posix } = this.#space;
    const path = place.of(`${this.#space.loopDirectory(this.#loop)}/${FILE}`);
    const what = `Cannot make ${path}`;
    posix.unlink(path);
    const file = check(bodies.create(path), what);
    const mapping = posix.map(file, HEAD + size);
    posix.close(file);
    if (typeof mapping !== "number") return (this.#mapping = mapping).bytes;
    posix.unlink(path);
    throw failure(mapping, what);
  }
}

/** Gives back what a bus that is gone had just taken; false where there is no room for it now. */
export function recover(space: Space, loop: string): boolean {
  const { bodies, names, place, posix } = space;
  const directory = space.loopDirectory(loop);
  if (typeof posix.stat(place.of(`${directory}/${FILE}`)) === "number") return true;
  try {
    const bytes = bodies.readFile(directory, FILE);
    const end = bytes.findLastIndex((byte) => byte !== 0) + 1;
    const [, queue, key] = LANDED.exec(decoder.decode(bytes.subarray(0, HEAD))) ?? [];
    if (end <= HEAD || queue === undefined || key === undefined || !names.owns(queue)) return true;
    const message = bytes.subarray(HEAD, end);
    const { deliveries } = readItem(message);
    const held = place.of(`${sideOf(queue)}/held`);
    // it may have been written, by half
    posix.unlink(`${held}/${nameOfItem({ key, starts: deliveries, lease: 0, unconfirmed: false, loop })}`);
    new Leases(space, loop).restore(queue, key, message, deliveries);
    return true;
  } catch (error) {
    return !(error instanceof BusError && error.code === "unavailable");
  }
}
