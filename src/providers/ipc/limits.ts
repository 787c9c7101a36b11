/**
 * The limits of this process for queues and descriptors. A bus raises its soft limits to the hard ones when it opens.
 *
 * @module
 */
import { ProviderError } from "../../errors.ts";
import type { Posix } from "./posix.ts";

/** The numbers of the limits in the kernel. */
const NOFILE = 7;
const MSGQUEUE = 12;

/** The bytes of queues that a limit allowed before and allows now. */
export interface Raised {
  readonly before: number;
  readonly now: number;
}

/**
 * Raises the soft limits of this process to its hard limits: RLIMIT_MSGQUEUE and RLIMIT_NOFILE. With `beyond`, RLIMIT_MSGQUEUE is raised
 * without limit. Returns the bytes of RLIMIT_MSGQUEUE.
 *
 * @throws {ProviderError} "denied" if `beyond` is not permitted
 */
export function raiseLimits(posix: Posix, beyond: boolean): Raised {
  raise(posix, NOFILE, false);
  return raise(posix, MSGQUEUE, beyond);
}

function raise(posix: Posix, resource: number, beyond: boolean): Raised {
  const limit = posix.limit(resource);
  if (typeof limit === "number") return { before: NaN, now: NaN };
  const { soft, hard } = limit;
  const wanted = beyond ? Infinity : hard;
  if (soft >= wanted) return { before: soft, now: soft };
  if (posix.setLimit(resource, wanted, wanted) >= 0) return { before: soft, now: wanted };
  if (!beyond) return { before: soft, now: soft };
  throw new ProviderError(
    "denied",
    "Cannot raise RLIMIT_MSGQUEUE beyond its hard limit: this user has no permission (CAP_SYS_RESOURCE); leave out " +
      "`raiseLimit`, or raise the limit where the process is started (ulimit -q, LimitMSGQUEUE= of systemd)",
  );
}
