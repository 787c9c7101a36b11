/**
 * The files of large bodies that were taken without a lease. A file stays for one turn of the event loop: if its item has to go back, because
 * its get was cancelled, that needs no room for another file.
 *
 * @module
 */
import { setImmediate } from "node:timers";
import type { BodyFiles } from "./body_files.ts";
import { bodyDirectory } from "./items.ts";

interface TakenBody {
  /** The receipt of an item that was taken from a file; empty for one from a message. */
  readonly receipt: string;
  readonly queue: string;
  readonly body: string;
  readonly file: string;
}

/** The bodies that were just taken. */
export class TakenBodies {
  #bodyFiles: BodyFiles;
  #taken: TakenBody[] = [];

  /** Creates an empty list of bodies in these files. */
  constructor(bodyFiles: BodyFiles) {
    this.#bodyFiles = bodyFiles;
  }

  /** Removes the file of a body later. */
  add(receipt: string, queue: string, body: string, file: string): void {
    if (this.#taken.length === 0) setImmediate(() => this.remove());
    this.#taken.push({ receipt, queue, body, file });
  }

  /** Leaves the file of an item that was given back while it was taken. */
  lost(receipt: string): void {
    this.#taken = this.#taken.filter((each) => each.receipt !== receipt);
  }

  /** Returns the file of a body that was just taken. It stays. */
  keep(queue: string, body: string): string | undefined {
    const taken = this.#taken.find((each) => each.queue === queue && each.body === body);
    if (!taken) return undefined;
    this.#taken = this.#taken.filter((each) => each !== taken);
    return taken.file;
  }

  /** Removes the files. */
  remove(): void {
    for (const { queue, file } of this.#taken) this.#bodyFiles.remove(bodyDirectory(queue), file);
    this.#taken = [];
  }
}
