/**
 * The crash slot of a bus: a file, mapped into memory, into which the kernel writes an item that is being taken under a lease.
 * A process that is killed before the lease is recorded loses nothing: the process that cleans up after it gives the item back.
 *
 * @module
 */
import { ProviderError } from "../../errors.ts";
import { Errno } from "./errno.ts";
import { check, systemError } from "./errors.ts";
import type { Mapping } from "./posix.ts";
import type { Namespace } from "./namespace.ts";

/** Bytes in front of the message, for the name of the queue and the key of the lease. */
const HEAD = 1_024;
/** Matches the queue and the key in the file, up to the zeros that follow: the name of the queue may contain line feeds. */
const OCCUPIED = /^(\/[^/\0]+)\n(\d{16}-\d{6})\n\0/;
/** The largest slot of another user that is read. A larger one waits for that user: the default of Linux for a message is 8 KiB. */
const LARGEST_FOREIGN = 2 ** 20;
/** The name of the file in the bus's directory. Buses of all versions look for it. */
const FILE = "landing";

const encoder = new TextEncoder();
const decoder = new TextDecoder("utf-8", { ignoreBOM: true });

/** An item in a crash slot. */
export interface TakenItem {
  readonly queue: string;
  readonly key: string;
  readonly message: Uint8Array;
}

/** The crash slot of one bus, for one item at a time. */
export class CrashSlot {
  #namespace: Namespace;
  #bus: string;
  #mapping: Mapping | undefined;
  #occupied = false;

  /** Creates the slot of this bus. The file is created when it is first needed. */
  constructor(namespace: Namespace, bus: string) {
    this.#namespace = namespace;
    this.#bus = bus;
  }

  /** Takes a message of at most `size` bytes out of a queue. Returns it, and the result of `Posix.receive`. */
  receive(queue: string, key: string, descriptor: number, size: number): { length: number; message: Uint8Array } {
    if (this.#occupied) {
      throw new ProviderError(
        "unavailable",
        "Cannot take an item: the previous item could be neither held nor given back, and occupies the crash slot",
      );
    }
    const bytes = this.#bytes(size);
    const head = encoder.encode(`${queue}\n${key}\n`);
    bytes.fill(0, head.length, HEAD);
    bytes.set(head);
    const buffer = bytes.subarray(HEAD);
    const length = this.#namespace.posix.receive(descriptor, buffer);
    this.#occupied = length >= 0;
    return { length, message: buffer.slice(0, Math.max(0, length)) };
  }

  /** Empties the slot: the item is stored elsewhere. */
  clear(): void {
    this.#mapping?.bytes.fill(0);
    this.#occupied = false;
  }

  /** Unmaps the file. */
  close(): void {
    this.#mapping?.unmap();
    this.#mapping = undefined;
  }

  #bytes(size: number): Uint8Array {
    if (this.#mapping && this.#mapping.bytes.length >= HEAD + size) return this.#mapping.bytes;
    this.close();
    const { directories, posix } = this.#namespace;
    const path = pathOf(this.#namespace, this.#bus);
    const what = `Cannot create ${directories.path(path)}`;
    directories.unlink(path);
    // if another member of the group truncated the file, this process would crash
    const file = check(directories.createFile(path, false), what);
    const mapping = posix.map(file, HEAD + size);
    posix.close(file);
    if (typeof mapping !== "number") return (this.#mapping = mapping).bytes;
    directories.unlink(path);
    throw systemError(mapping, what);
  }
}

/**
 * Passes the item in the crash slot of a bus that has ended to `restore`, and removes the slot. Of several processes that do so at
 * the same time, one restores the item. Returns false if that is another one, or this one may not read or remove the slot.
 */
export function emptySlot(namespace: Namespace, bus: string, restore: (item: TakenItem) => void): boolean {
  const { bodyFiles, directories, posix } = namespace;
  const path = pathOf(namespace, bus);
  const what = `Cannot read ${directories.path(path)}`;
  const found = directories.stat(path); // needs no descriptor
  if (found === -Errno.ENOENT) return true;
  if (found === -Errno.EACCES) return false;
  const file = check(directories.openFile(path), what, Errno.ENOENT);
  if (file < 0) return true;
  try {
    if (posix.lock(file) === -Errno.EAGAIN) return false;
    const stat = posix.stat(file);
    if (typeof stat === "object" && stat.links === 0) return true; // another process has just emptied it
    if (typeof stat === "object" && stat.uid !== posix.user && stat.size > LARGEST_FOREIGN) return false;
    const item = parse(bodyFiles.readOpen(file, what));
    if (item) restore(item);
    directories.unlink(path);
    return true;
  } finally {
    posix.close(file);
  }
}

/** Returns whether the crash slot of a bus holds the item with this key, of which the file of a lease exists. */
export function slotHolds({ bodyFiles, busDirectory }: Namespace, bus: string, key: string): boolean {
  try {
    return headOf(bodyFiles.readStart(busDirectory(bus), FILE, HEAD))?.key === key;
  } catch (error) {
    return bodyFiles.later(error, busDirectory(bus), FILE);
  }
}

/** Returns the item in a slot, or undefined if the slot is empty. */
function parse(bytes: Uint8Array): TakenItem | undefined {
  const head = headOf(bytes);
  let end = head ? bytes.length : 0;
  while (end > HEAD && bytes[end - 1] === 0) end--;
  return head && end > HEAD ? { ...head, message: bytes.subarray(HEAD, end) } : undefined;
}

/** Returns the queue and the key in a slot, or undefined if no item was ever taken with it, or the slot was emptied. */
function headOf(bytes: Uint8Array): Omit<TakenItem, "message"> | undefined {
  const [, queue, key] = OCCUPIED.exec(decoder.decode(bytes.subarray(0, HEAD))) ?? [];
  return queue === undefined || key === undefined ? undefined : { queue, key };
}

function pathOf({ busDirectory }: Namespace, bus: string): string {
  return `${busDirectory(bus)}/${FILE}`;
}
