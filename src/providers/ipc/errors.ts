/**
 * From `errno` to errors of ours: the one table of this provider.
 *
 * @module
 */
import { type BusError, ProviderError, UnsupportedError } from "../../errors.ts";
import { Errno } from "./errno.ts";

type Code = "unavailable" | "denied" | "too_large" | "internal";

/** What each errno means; all others are "internal". */
const MEANING: Readonly<Record<number, readonly [Code, string]>> = {
  [Errno.EPERM]: ["denied", "this user may not"],
  [Errno.EACCES]: ["denied", "this user may not"],
  [Errno.ENOENT]: ["unavailable", "it is gone"],
  [Errno.EAGAIN]: ["unavailable", "it takes nothing more just now"],
  [Errno.ENOMEM]: ["unavailable", "there is no memory left"],
  [Errno.EMFILE]: ["unavailable", "this process has no descriptor left; raise RLIMIT_NOFILE (ulimit -n)"],
  [Errno.ENFILE]: ["unavailable", "the system has no descriptor left; raise the sysctl fs.file-max"],
  [Errno.ENOSPC]: ["unavailable", "no space is left there; enlarge it (mount -o remount,size=…) or free what it holds"],
  [Errno.EDQUOT]: ["unavailable", "the quota of this user is used up"],
  [Errno.EMSGSIZE]: ["too_large", "it is larger than a message of the queue may be"],
  [Errno.ELOOP]: ["internal", "it is a link, which is none of ours"],
  [Errno.ENAMETOOLONG]: ["internal", "its name is too long"],
};

/** The error of a system call that failed; `what` reads "Cannot <do> <what>". */
export function systemError(result: number, what: string): BusError {
  const errno = -result;
  if (errno === Errno.ENOSYS) {
    return new UnsupportedError(`${what}: this kernel has no POSIX message queues (CONFIG_POSIX_MQUEUE)`);
  }
  const [code, text] = MEANING[errno] ?? ["internal", `errno ${errno}`];
  return new ProviderError(code, `${what}: ${text}`);
}

/** Which limits a new queue may meet, and how each is raised. */
const LIMITS = {
  bytes: "the queues of this user hold all that RLIMIT_MSGQUEUE allows (819,200 bytes unless set); " +
    "raise it (ulimit -q, LimitMSGQUEUE= of systemd), or free queues",
  queues: "there are as many queues as the sysctl fs.mqueue.queues_max allows; raise it, or free queues",
  size: "its messages are more or larger than the sysctls fs.mqueue.msg_max and msgsize_max allow; raise them",
} as const;

/** The error of a queue that could not be made because a limit is reached. */
export function limitReached(what: string, limit: keyof typeof LIMITS): BusError {
  return new ProviderError("unavailable", `${what}: ${LIMITS[limit]}`);
}

/** The error of what belongs to somebody else. */
export function notOwned(what: string, uid: number): BusError {
  return new ProviderError(
    "denied",
    `${what}: it belongs to user ${uid}; use another namespace, or the option "group" on both sides`,
  );
}

/** Throws the error of a call that failed, unless it failed in one of these ways; returns the result. */
export function check(result: number, what: string, ...allowed: number[]): number {
  if (result < 0 && !allowed.includes(-result)) throw systemError(result, what);
  return result;
}
