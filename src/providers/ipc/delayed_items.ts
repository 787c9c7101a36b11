/**
 * The items of a queue that were put with a delay. Each is a link whose target is its message, and whose name begins with the time from
 * which it may be taken, in microseconds of the clock that starts at boot. Each minute has its own directory:
 *
 *     queues/<queue>/later/<minute>/<time>.0.0.over-<id>
 *
 * The name of a link contains everything about the item except its message. So an item is put in one step, no process has to wait for its
 * time, and every bus can take it.
 *
 * PyMQ cannot read files: for it, a bus moves the items whose time has come into the kernel's queue, in order, with the priority `DUE` (see
 * `mqueues.ts`). So a bus that takes items first takes the messages of this priority, then these files, then the other messages.
 *
 * @module
 */
import { LimitedTextMap, type WeighedTextMap } from "../../internal/caches.ts";
import type { Postponed } from "../../internal/postponed.ts";
import { pause } from "../../internal/time.ts";
import type { BodyFiles } from "./body_files.ts";
import type { Directories } from "./directories.ts";
import { check } from "./errors.ts";
import { type ItemFile, itemsInOrder, nameOfItem, queueDirectory, untaken } from "./items.ts";
import type { Listed } from "./listing.ts";
import { MAX_CACHED, type Names } from "./names.ts";
import type { Posix } from "./posix.ts";

/** The largest number of directories that are read at once: the oldest ones. */
const PAGES = 1_024;
/** The number of directories that a count reads without a pause. */
const PART = 256;
/** The length in milliseconds of the time span whose items share a directory. */
const PAGE = 60_000;
/** Matches the name of a directory: a minute. */
const PAGE_NAME = /^\d{10}$/;
/** The number of digits of a time in the name of an item. */
const TIME_DIGITS = 16;
/** The number of items that are kept in order. The names of the others are read again when so many are taken. */
const KEPT = 16_384;
/** The longest delay in milliseconds: 31 years. */
const LONGEST = 1e12;
/** The largest share of its time that a bus spends on reading names again while other buses put and take items. */
const READING_SHARE = 0.1;

/** The parts of a namespace that {@linkcode DelayedItems} uses. */
export interface DelayedItemsContext {
  readonly bodyFiles: BodyFiles;
  readonly directories: Directories;
  readonly names: Names;
  readonly posix: Posix;
}

/** The items of one queue whose minute has begun, ordered by their times. */
interface Soon {
  /** The versions of the names of the minutes, and of those in each minute, from which the items were read. */
  readonly versions: readonly number[];
  /** The minutes and names of the first items: `<minute>/<name>`. */
  readonly items: readonly string[];
  /** Whether there are more items in these minutes. */
  readonly more: boolean;
  /** The index of the first item that this bus has not taken. */
  next: number;
  /** The start of the next minute that has items, or the time when an item that could not be taken is tried again. */
  readonly later: number;
  /** The time until which they are not read again, by `performance.now()`. */
  until: number;
}

/** The state of a queue without delayed items. */
const NONE: Readonly<Soon> = { versions: [], items: [], more: false, next: 0, later: Infinity, until: 0 };

/** The delayed items of the queues of one namespace, for one half of a bus. */
export class DelayedItems {
  #context: DelayedItemsContext;
  /** A part of the names of items that makes them unique, because two processes may put items at the same time. */
  #id = `over-${crypto.randomUUID()}`;
  #count = 0;
  #soon: WeighedTextMap<Soon>;
  #untaken = new LimitedTextMap<Postponed>(MAX_CACHED);

  /** Creates the delayed items of a namespace's queues. */
  constructor(context: DelayedItemsContext) {
    this.#context = context;
    this.#soon = context.directories.listings.map(({ items, versions }) => items.length + versions.length);
  }

  /** Puts a message that may be taken after `delay` milliseconds. */
  put(queue: string, delay: number, message: Uint8Array): void {
    const { bodyFiles, directories, names, posix } = this.#context;
    const time = posix.now() + Math.min(delay, LONGEST);
    const key = `${digits(time * 1_000, TIME_DIGITS)}-${digits(this.#count++ % 1e6, 6)}`;
    const name = nameOfItem({ key, starts: 0, lease: 0, unconfirmed: false, bus: this.#id });
    const what = `Cannot put into ${names.title(queue)} by a link in ${directories.root}`;
    check(bodyFiles.writeLink(`${pagesOf(queue)}/${pageOf(time)}`, name, message), what);
    this.#soon.delete(queue);
  }

  /** Returns the items that may be taken now, at most `max`, in the order of their times. */
  due(queue: string, max = Infinity): readonly ItemFile[] {
    const { items, next } = this.#read(queue, max);
    const due: ItemFile[] = [];
    if (next >= items.length) return due;
    const [root, now] = [pagesOf(queue), nameAt(this.#context.posix.now())];
    for (let i = next; i < items.length && due.length < max; i++) {
      const item = fileOf(root, items[i]!);
      if (item.name > now) break;
      due.push(item);
    }
    return due;
  }

  /** Reports that this bus has taken or moved the first item of {@linkcode due}. */
  taken(queue: string): void {
    const soon = this.#soon.get(queue);
    if (soon && ++soon.next >= soon.items.length && (soon.more || soon.versions.length > PAGES)) {
      this.#soon.delete(queue);
    }
  }

  /** Returns the milliseconds until the queue has to be checked again: 0 if an item is due, Infinity if there are no items. */
  wait(queue: string): number {
    const start = performance.now();
    const before = this.#soon.get(queue)?.until ?? 0;
    const { items, next, later, versions, until } = this.#read(queue);
    const unread = (versions.length > PAGES ? until : before) - start;
    const first = next < items.length ? Number(fileOf("", items[next]!).name.slice(0, TIME_DIGITS)) / 1_000 : later;
    const wait = Math.max(0, Math.min(first, later) - this.#context.posix.now());
    return unread > 0 ? Math.min(wait, unread) : wait;
  }

  /**
   * Returns the number of items that are due at the time `now`, and with `all` also of those that are not. It reads a part of the minutes at a
   * time. Unlike {@linkcode due}, it does not count items that other buses have just taken.
   */
  async counts(queue: string, now: number, all: boolean): Promise<{ readonly due: number; readonly later: number }> {
    const [root, current, end] = [pagesOf(queue), pageOf(now), nameAt(now)];
    const pages = this.#pages(root).names.filter((page) => all || page <= current);
    const counts = { due: 0, later: 0 };
    for (const [i, page] of pages.entries()) {
      if (i % PART === PART - 1) await pause(0); // members of a group can create any number
      for (const name of this.#items(root, page).names) counts[name <= end ? "due" : "later"]++;
    }
    return counts;
  }

  /** Returns the names of the files of the oldest minutes that have begun. */
  files(queue: string): (readonly string[])[] {
    const [root, current] = [pagesOf(queue), pageOf(this.#context.posix.now())];
    const begun = this.#pages(root).names.filter((page) => page <= current);
    return begun.slice(0, PAGES).map((page) => this.#items(root, page).names);
  }

  /** Makes the next access read the items again, because another bus has taken or moved one, or the queue was removed. */
  refresh(queue: string): void {
    this.#soon.delete(queue);
  }

  /** Hides an item for a while, because it cannot be taken now. */
  postpone(queue: string, name: string): void {
    const postponed = this.#untaken.get(queue) ?? untaken();
    postponed.add(name, this.#context.posix.now());
    this.#untaken.set(queue, postponed);
    this.refresh(queue);
  }

  /** Returns at least `most` items, if there are so many. */
  #read(queue: string, most = 0): Soon {
    const start = performance.now();
    const { directories, posix } = this.#context;
    const known = this.#soon.get(queue);
    const enough = known && (!known.more || known.items.length - known.next >= most);
    if (enough && start < known.until && posix.now() < known.later) return known;
    const root = pagesOf(queue);
    const { names: pages, version } = this.#pages(root);
    if (pages.length === 0) {
      this.#soon.delete(queue);
      return NONE;
    }
    const current = pageOf(posix.now());
    const begun = pages.filter((page) => page <= current).slice(0, PAGES);
    const listed = begun.map((page) => {
      const items = this.#items(root, page);
      if (items.names.length > 0) return items;
      directories.prune(`${root}/${page}`); // unless another bus has just put an item into it
      return this.#items(root, page);
    });
    const now = posix.now();
    const versions = [version, ...listed.map(({ version }) => version)];
    const same = enough && versions.length === known.versions.length &&
      versions.every((version, i) => version === known.versions[i]);
    if (same && now < known.later) {
      known.until = rest(start);
      return known;
    }
    const next = pages.find((page) => page > current);
    let later = next === undefined ? Infinity : Number(next) * PAGE;
    const postponed = this.#untaken.get(queue);
    postponed?.keep(listed.flatMap(({ names }) => names));
    const shown = (name: string) => {
      const until = postponed?.until(name) ?? -Infinity;
      if (until > now) later = Math.min(later, until);
      return until <= now;
    };
    const items: string[] = [];
    const limit = Math.max(KEPT, 2 * most);
    for (const [i, page] of begun.entries()) {
      for (const name of listed[i]!.names) {
        if (items.length >= limit) break;
        if (shown(name)) items.push(`${page}/${name}`);
      }
    }
    const soon = { versions, items, more: items.length >= limit, next: 0, later, until: rest(start) };
    this.#soon.set(queue, soon);
    return soon;
  }

  /** Returns the minutes that have items, in order. */
  #pages(root: string): Listed {
    return this.#context.directories.listings.read(root, minutesInOrder);
  }

  #items(root: string, page: string): Listed {
    return this.#context.directories.listings.read(`${root}/${page}`, itemsInOrder);
  }
}

function minutesInOrder(names: readonly string[]): readonly string[] {
  return names.filter((name) => PAGE_NAME.test(name)).sort();
}

/** Returns the file of an item in {@linkcode Soon}. */
function fileOf(root: string, item: string): ItemFile {
  return { path: `${root}/${item}`, name: item.slice(item.indexOf("/") + 1) };
}

function pagesOf(queue: string): string {
  return `${queueDirectory(queue)}/later`;
}

function pageOf(ms: number): string {
  return digits(ms / PAGE, 10);
}

/** Returns a time in the format with which the names of items begin. */
function nameAt(ms: number): string {
  return digits(ms * 1_000, TIME_DIGITS);
}

function digits(value: number, length: number): string {
  return Math.floor(value).toString().padStart(length, "0");
}

/** Returns the time until which the names are not read again, if the last reading began at `start`. */
function rest(start: number): number {
  const end = performance.now();
  return end + (end - start) / READING_SHARE;
}
