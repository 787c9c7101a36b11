/**
 * Checks which processes have ended, by their pid and their start time, within this process's pid namespace.
 *
 * @module
 */
import { ExpiringMap } from "../../internal/caches.ts";
import { Errno } from "./errno.ts";
import { check } from "./errors.ts";
import { MAX_CACHED, type ParsedBus, type Process } from "./names.ts";
import type { Posix } from "./posix.ts";

/** Milliseconds for which a start time is cached. */
const CACHED = 200;
/** The result for a process that does not exist. Other errors, such as a lack of descriptors, do not show whether it exists. */
const GONE = -Errno.ENOENT;

/** Checks which processes have ended. */
export class Processes {
  /** This process. */
  readonly self: Process;
  #posix: Posix;
  #starts = new ExpiringMap<number>(CACHED, MAX_CACHED);
  #buffer = new Uint8Array(4_096);

  /** Creates the object, which reads `/proc` with these system calls. */
  constructor(posix: Posix) {
    this.#posix = posix;
    const inode = /\d+/.exec(String(posix.readLink("/proc/self/ns/pid")));
    const { pid } = posix;
    const start = check(this.#started(pid), "Cannot tell when this process was started");
    this.self = { pid, start, pidNamespace: Number(inode?.[0] ?? 0) };
  }

  /**
   * Returns whether the process of a bus is known to have ended. That cannot be known for a process in another pid namespace, nor for a
   * PyMQ bus, whose name does not contain a pid namespace.
   */
  dead({ pid, start, pidNamespace, pymq }: ParsedBus): boolean {
    if (pymq || pidNamespace !== this.self.pidNamespace) return false;
    if (pid === this.self.pid) return start !== this.self.start;
    const found = this.#startOf(pid);
    return found === GONE || (found >= 0 && found !== start);
  }

  /** Returns whether a bus is dead, or is a PyMQ bus and no process here has its pid. Such a PyMQ bus is dead if it also reads nothing. */
  missing(bus: ParsedBus): boolean {
    return this.dead(bus) || (bus.pymq && this.#startOf(bus.pid) === GONE);
  }

  /**
   * Returns the name of the program of a bus that this user has opened. It is not known for a process in another pid namespace, nor for one of
   * another user: a member of a group can write any pid.
   */
  programOf({ pid, pidNamespace }: ParsedBus, user: number): string | undefined {
    const process = this.#posix.stat(`/proc/${pid}`);
    if (pidNamespace !== this.self.pidNamespace || typeof process === "number" || process.uid !== user) {
      return undefined;
    }
    const args = this.#posix.readText(`/proc/${pid}/cmdline`, 4_096)?.split("\0");
    const program = args?.find((arg) => /\.[cm]?[jt]sx?$/.test(arg)) ?? args?.[0];
    return program?.slice(program.lastIndexOf("/") + 1) || undefined;
  }

  #startOf(pid: number): number {
    const key = String(pid);
    let start = this.#starts.get(key);
    if (start === undefined) this.#starts.set(key, start = this.#started(pid));
    return start;
  }

  /** Returns the start time of a process, field 22 of its `stat`; negative if it does not exist, is a zombie, or cannot be read now. */
  #started(pid: number): number {
    // The `stat` of the first thread holds the same start as the process's: a first thread that has ended stays as a zombie while
    // others run, and a thread that calls `exec` takes its place and its start. The process's own cannot be used: qemu-user
    // fakes `/proc/<pid>/stat` of its own process, with another start in each thread.
    const file = this.#posix.openFile(`/proc/${pid}/task/${pid}/stat`);
    // another user's process may be hidden (`hidepid` of /proc, ProtectProc= of systemd)
    if (file < 0) return file === GONE && this.#posix.lives(pid) ? -Errno.EACCES : file;
    const length = this.#posix.read(file, this.#buffer);
    this.#posix.close(file);
    if (length <= 0) return GONE;
    const text = new TextDecoder("utf-8", { ignoreBOM: true }).decode(this.#buffer.subarray(0, length));
    const fields = text.slice(text.lastIndexOf(")") + 2).split(" "); // the name in front of it may hold any character
    return fields[0] === "Z" || fields[0] === "X" ? GONE : Number(fields[19]);
  }
}
