/**
 * Which processes live: told by their pid and when they started, within our own pid namespace.
 *
 * @module
 */
import process from "node:process";
import { check } from "./errors.ts";
import type { Loop, Process } from "./names.ts";
import { Errno, type Posix } from "./posix.ts";

/** Milliseconds for which an answer is believed. */
const BELIEVED = 200;
/** What is said of a process that is not there. That there is no descriptor left to look says nothing. */
const GONE = -Errno.ENOENT;
/** Answers remembered. */
const REMEMBERED = 4_096;

/** See the module. */
export class Processes {
  /** This process. */
  readonly self: Process;
  #posix: Posix;
  #known = new Map<number, { readonly start: number; readonly until: number }>();
  #buffer = new Uint8Array(4_096);

  /** Looks through these system calls. */
  constructor(posix: Posix) {
    this.#posix = posix;
    const space = /\d+/.exec(String(posix.readLink("/proc/self/ns/pid")));
    const start = check(this.#started(process.pid), "Cannot tell when this process was started");
    this.self = { pid: process.pid, start, space: Number(space?.[0] ?? 0) };
  }

  /** Whether the process of a bus is known to be gone. One of another pid namespace never is, and PyMQ's names do not say theirs. */
  dead({ pid, start, space, ours }: Loop): boolean {
    if (!ours || space !== this.self.space) return false;
    if (pid === this.self.pid) return start !== this.self.start;
    const known = this.#startOf(pid);
    return known === GONE || (known >= 0 && known !== start);
  }

  /** Whether no process has the id of this bus's here: for a bus that reads nothing any more, reason enough. */
  missing(loop: Loop): boolean {
    return this.dead(loop) || (!loop.ours && this.#startOf(loop.pid) === GONE);
  }

  #startOf(pid: number): number {
    const now = performance.now();
    let known = this.#known.get(pid);
    if (!known || known.until < now) {
      if (this.#known.size >= REMEMBERED) this.#known.clear();
      this.#known.set(pid, known = { start: this.#started(pid), until: now + BELIEVED });
    }
    return known.start;
  }

  /** The 22nd field of its `stat`; a zombie has ended. Below 0 if there is none, or if it cannot be looked at just now. */
  #started(pid: number): number {
    // That of its first thread, which says the same: one that ends stays as a zombie while others run, and a thread that
    // calls `exec` takes its place and its start. But qemu-user invents `/proc/<pid>/stat` of our own process, with
    // another start in each thread.
    const file = this.#posix.openFile(`/proc/${pid}/task/${pid}/stat`);
    // another user's may be hidden (`hidepid` of /proc, ProtectProc= of systemd)
    if (file < 0) return file === GONE && this.#posix.lives(pid) ? -Errno.EACCES : file;
    const length = this.#posix.read(file, this.#buffer);
    this.#posix.close(file);
    if (length <= 0) return GONE;
    const text = new TextDecoder("utf-8", { ignoreBOM: true }).decode(this.#buffer.subarray(0, length));
    const fields = text.slice(text.lastIndexOf(")") + 2).split(" "); // the name before may hold anything
    return fields[0] === "Z" || fields[0] === "X" ? GONE : Number(fields[19]);
  }
}
