/**
 * The table from errors of system calls to errors of tsmq.
 *
 * @module
 */
import { BusError, ProviderError, UnsupportedError } from "../../errors.ts";
import { Errno } from "./errno.ts";

type Code = "unavailable" | "denied" | "too_large" | "internal";

/** Errno → the code and the reason. All others are "internal". */
const MEANING: Readonly<Record<number, readonly [Code, string]>> = {
  [Errno.EPERM]: ["denied", "this user has no permission"],
  [Errno.EACCES]: ["denied", "this user has no permission"],
  [Errno.ENOENT]: ["unavailable", "it does not exist"],
  [Errno.EAGAIN]: ["unavailable", "it is full"],
  [Errno.ENOMEM]: ["unavailable", "there is no memory left"],
  [Errno.EMFILE]: ["unavailable", "this process has no descriptor left; raise RLIMIT_NOFILE (ulimit -n)"],
  [Errno.ENFILE]: ["unavailable", "the system has no descriptor left; raise the sysctl fs.file-max"],
  [Errno.ENOSPC]: ["unavailable", "no space is left there; enlarge it (mount -o remount,size=…) or remove files"],
  [Errno.EDQUOT]: ["unavailable", "the quota of this user is used up"],
  [Errno.EMSGSIZE]: ["too_large", "it is larger than the messages of the queue"],
  [Errno.ELOOP]: ["internal", "it is a symbolic link that tsmq has not created"],
  [Errno.ENAMETOOLONG]: ["internal", "its name is too long"],
};

/** Returns the error for a system call that returned a negative result. `what` reads "Cannot <do> <what>". */
export function systemError(result: number, what: string): BusError {
  const errno = -result;
  if (errno === Errno.ENOSYS) {
    return new UnsupportedError(`${what}: this kernel has no POSIX message queues (CONFIG_POSIX_MQUEUE)`);
  }
  const [code, text] = MEANING[errno] ?? ["internal", `the system call failed with errno ${errno}`];
  const name = Object.entries(Errno).find(([, number]) => number === errno)?.[0];
  return new ProviderError(code, `${what}: ${text}${name ? ` (${name})` : ""}`);
}

/** The limits for queues, each with the way to raise it. */
const LIMITS = {
  bytes: "the queues of this user use all of RLIMIT_MSGQUEUE (819,200 bytes by default); " +
    "raise it (ulimit -q, LimitMSGQUEUE= of systemd), or free queues",
  queues: "the sysctl fs.mqueue.queues_max allows no more queues; raise it, or free queues",
  size: "the sysctls fs.mqueue.msg_max and msgsize_max allow fewer or smaller messages; raise them",
} as const;

/** The errors of {@linkcode limitReached}. */
const limitErrors = new WeakSet<BusError>();

/** Returns the error for a queue that would exceed a limit. */
export function limitReached(what: string, limit: keyof typeof LIMITS): BusError {
  const error = new ProviderError("unavailable", `${what}: ${LIMITS[limit]}`);
  limitErrors.add(error);
  return error;
}

/** Returns whether an error means that a limit does not allow another queue now. There may be room later. */
export function isLimit(error: unknown): boolean {
  return error instanceof BusError && limitErrors.has(error);
}

/** The advice if another user has created the names of a namespace first, which any local user can do in `/dev/shm` and for queues. */
const ELSEWHERE = 'use another namespace, or the option "group" on both sides';

/** Returns the error for a directory or queue that belongs to another user. */
export function notOwned(what: string, uid: number): BusError {
  return new ProviderError("denied", `${what}: it belongs to user ${uid}; ${ELSEWHERE}`);
}

/** Returns the error for a queue that this user must not open. */
export function notOpened(what: string): BusError {
  return new ProviderError("denied", `${what}: it belongs to another user; ${ELSEWHERE}`);
}

/** Returns the error for a queue of this user that is not the namespace's: other users may use it, or must not. */
export function notShared(what: string): BusError {
  const whose = 'another namespace, PyMQ, or a bus with another option "group" has created it';
  return new ProviderError("denied", `${what}: its mode or group is not that of this namespace, so ${whose}`);
}

/** Returns the error for a file or link that exists in place of a namespace's directory. */
export function notDirectory(what: string): BusError {
  return new ProviderError("denied", `${what}: it is a file or a link, and no directory; remove it, or ${ELSEWHERE}`);
}

/** Returns the result of a system call. Throws if it failed, except with one of the `allowed` errors. */
export function check(result: number, what: string, ...allowed: number[]): number {
  if (result < 0 && !allowed.includes(-result)) throw systemError(result, what);
  return result;
}
