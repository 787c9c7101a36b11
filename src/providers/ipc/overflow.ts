/**
 * The overflow of a queue: the items for which the kernel's queue has no room. Each is a link whose target is its message, in pages:
 *
 *     queues/<queue>/over/<page>/<key>.0.0.over-<id>
 *
 * A link is created in one step, so no bus sees half an item, and a small one takes no block of the file system. Pages keep the listings
 * short. Both pages and items are taken in the order of their names, which begin with the time.
 *
 * While a queue has overflow, or an item is being moved out of it, new items are put only there, so all items in the kernel's queue are
 * older. A bus takes an item from the overflow only if the kernel's queue was empty after that item had become the oldest one of the
 * overflow: see {@linkcode Overflow.oldest}.
 *
 * @module
 */
import { LimitedTextMap, type WeighedTextMap } from "../../internal/caches.ts";
import { pause } from "../../internal/time.ts";
import type { BodyFiles } from "./body_files.ts";
import type { Directories } from "./directories.ts";
import { check } from "./errors.ts";
import { type ItemFile, itemsInOrder, movingDirectory, nameOfItem, queueDirectory } from "./items.ts";
import type { Arrange } from "./listing.ts";
import { MAX_CACHED, type Names } from "./names.ts";

/** The approximate number of items in a page. */
const PAGE = 256;
/** Bytes that an entry adds to the size of a directory in memory. Other file systems have shorter or longer pages. */
const ENTRY_BYTES = 20;
/** The number of pages that a count reads without a pause. */
const PART = 256;
/** The number of pages whose items are compared before and after a count. */
const FIRST_PAGES = 64;
/** The largest number of pages without an item that are looked at. Each is removed, unless it contains files that are not tsmq's. */
const EMPTY_PAGES = 64;

/** The oldest known items of a queue, in one page. */
interface Head {
  readonly page: string;
  /** The names of items, the oldest first. */
  readonly names: readonly string[];
  next: number;
}

/** The page into which this bus has put its last item of a queue. */
interface Tail {
  readonly page: string;
  /** The approximate number of items for which the page has room. */
  room: number;
}

/** The parts of a namespace that {@linkcode Overflow} uses. */
export interface OverflowContext {
  readonly bodyFiles: BodyFiles;
  readonly directories: Directories;
  readonly names: Names;
}

/** The overflow of the queues of one namespace, for one half of a bus. */
export class Overflow {
  #context: OverflowContext;
  /** Makes the names of items unique: two processes may have the same key. */
  #id = `over-${crypto.randomUUID()}`;
  #heads: WeighedTextMap<Head>;
  #tails = new LimitedTextMap<Tail>(MAX_CACHED);

  /** Creates the overflow of a namespace's queues. */
  constructor(context: OverflowContext) {
    this.#context = context;
    this.#heads = context.directories.listings.map(({ names }) => names.length);
  }

  /** Returns whether a queue has overflow. */
  any(queue: string): boolean {
    return this.pages(queue).length > 0;
  }

  /** Returns the names of the pages, in order. */
  pages(queue: string): readonly string[] {
    return this.#names(this.#path(queue), inOrder);
  }

  /** Returns the number of items that are being moved into the kernel's queue. The last one of the overflow may be among them. */
  moving(queue: string): number {
    return this.#names(movingDirectory(queue), itemsInOrder).length; // foreign files do not count
  }

  /** Returns the time when an item was last moved into or out of the kernel's queue; undefined while a move is running. */
  lastMove(queue: string): number | undefined {
    if (this.moving(queue) > 0) return undefined;
    const stat = this.#context.directories.stat(movingDirectory(queue));
    return typeof stat === "number" ? 0 : stat.modified;
  }

  /** Puts a message at the end. `key` is later than those of earlier puts. `pages` are the current pages. Returns the page of the message. */
  put(queue: string, key: string, message: Uint8Array, pages: readonly string[] = this.pages(queue)): string {
    const { bodyFiles, directories, names } = this.#context;
    const name = nameOfItem({ key, starts: 0, lease: 0, unconfirmed: false, bus: this.#id });
    const tail = this.#tail(queue, pages.at(-1), key);
    const what = `Cannot put into ${names.title(queue)} by a link in ${directories.root}`;
    check(bodyFiles.writeLink(this.#path(queue, tail.page), name, message), what);
    tail.room--;
    return tail.page;
  }

  /** Returns the last page, or a new one if that is full. The size of a page is read once; the later items of other buses do not count. */
  #tail(queue: string, page: string | undefined, key: string): Tail {
    let tail = this.#tails.get(queue);
    if (page !== undefined && tail?.page !== page) {
      const stat = this.#context.directories.stat(this.#path(queue, page));
      tail = { page, room: typeof stat === "object" ? PAGE - stat.size / ENTRY_BYTES : PAGE };
      this.#tails.set(queue, tail);
    }
    if (page === undefined || !tail || tail.room <= 0) this.#tails.set(queue, tail = { page: key, room: PAGE });
    return tail;
  }

  /**
   * Returns the number of items, or if there are more than `most`, a number that is not smaller than that. Far more pages than so many items
   * need are others', and are not read: then the queue counts as full.
   */
  size(queue: string, most: number): number {
    if (this.pages(queue).length > PART + 4 * most / PAGE) return most;
    let size = 0;
    for (const { names } of this.#contents(queue)) if ((size += names.length) >= most) break;
    return size;
  }

  /** Returns the number of all items. It reads a part of the pages at a time. */
  async count(queue: string): Promise<number> {
    let [size, pages] = [0, 0];
    for (const { names } of this.#contents(queue)) {
      size += names.length;
      if (++pages % PART === 0) await pause(0); // members of a group can create any number
    }
    return size;
  }

  /** Returns the names of the pages, and those of the items in the first ones, where items are taken and moved. */
  files(queue: string): (readonly string[])[] {
    const files = [this.pages(queue)];
    for (const { names } of this.#contents(queue)) if (files.push(names) > FIRST_PAGES) break;
    return files;
  }

  /** Yields all items, the oldest first. */
  *all(queue: string): Generator<ItemFile> {
    for (const { page, names } of this.#contents(queue)) {
      for (const name of names) {
        yield { path: `${this.#path(queue, page)}/${name}`, name };
      }
    }
  }

  /**
   * Returns the oldest item. The caller may take it if it has found the kernel's queue empty after this call. If it cannot be taken, another
   * bus has taken or moved it, and the kernel's queue must be checked again.
   */
  oldest(queue: string): ItemFile | undefined {
    return this.next(queue) ?? this.#itemOf(queue, this.#findHead(queue));
  }

  /**
   * Returns the item after the one that was just taken, which may be taken too: both were in the overflow at one time. Returns undefined if the
   * overflow must be read again. It may have been empty meanwhile, and then older items are in the kernel's queue.
   */
  next(queue: string): ItemFile | undefined {
    return this.#itemOf(queue, this.#heads.get(queue));
  }

  #itemOf(queue: string, head: Head | undefined): ItemFile | undefined {
    const name = head?.names[head.next];
    return name === undefined ? undefined : { path: `${this.#path(queue, head!.page)}/${name}`, name };
  }

  /** Reports that the oldest item was taken or moved, by this bus or another one. */
  taken(queue: string): void {
    const head = this.#heads.get(queue);
    if (head && ++head.next >= head.names.length) this.#heads.delete(queue);
  }

  /** Reads the pages again before the next item is taken. */
  refresh(queue: string): void {
    this.#heads.delete(queue);
  }

  #findHead(queue: string): Head | undefined {
    const { directories } = this.#context;
    for (const { page, names } of this.#contents(queue)) {
      if (names.length > 0) {
        const head = { page, names, next: 0 };
        this.#heads.set(queue, head);
        return head;
      }
      directories.prune(this.#path(queue, page)); // unless another bus has just put an item into it
      this.#itemsIn(queue, page); // the listings forget it if it is gone
    }
    return undefined;
  }

  /** Yields the pages in order, each with the names of its items, until there are too many without an item. */
  *#contents(queue: string): Generator<{ readonly page: string; readonly names: readonly string[] }> {
    let empty = 0;
    for (const page of this.pages(queue)) {
      const names = this.#itemsIn(queue, page);
      if (names.length === 0 && empty++ >= EMPTY_PAGES) return;
      yield { page, names };
    }
  }

  #itemsIn(queue: string, page: string): readonly string[] {
    return this.#names(this.#path(queue, page), itemsInOrder);
  }

  #names(path: string, arrange: Arrange): readonly string[] {
    return this.#context.directories.listings.names(path, arrange);
  }

  #path(queue: string, page?: string): string {
    const path = `${queueDirectory(queue)}/over`;
    return page === undefined ? path : `${path}/${page}`;
  }
}

function inOrder(names: readonly string[]): readonly string[] {
  return [...names].sort();
}
