/** The work of a publisher and of a member of a group, until it is killed. */
import { Bus, type BusError, type Provider } from "../../mod.ts";
import { pause } from "../support/until.ts";
import { DEADLINES, leaseOf } from "./traffic.ts";

/** The topic of the events. */
export const TOPIC = "shop.orders";
/** The pattern of the group whose members are killed. */
export const PATTERN = "shop.*";

/** A publisher or a member. */
export interface Role {
  readonly namespace: string;
  /** The number of the first event that it publishes. Absent for a member. */
  readonly first?: number;
  /** Milliseconds between two publishes. Handlers take twice as long on average, so that some run in a member when it is killed. */
  readonly pace: number;
}

/**
 * A report of a role: a publish has resolved, a handler is about to end (with the wall clock's time), or an item came back because its
 * lease ended.
 */
export type Said = { published: number } | { handled: number; at: number } | { lost: true };

/** Plays a role until the signal aborts. */
export async function play(
  provider: Provider,
  { namespace, first, pace }: Role,
  say: (said: Said) => void,
  ended: AbortSignal,
): Promise<Bus> {
  const options = { ...DEADLINES, connectTimeout: 60_000, waitOnFirstConnect: true, namespace };
  const bus = await Bus.open(provider, options);
  bus.addEventListener("error", (event) => {
    if ((event.error as BusError)?.code === "lease_lost") say({ lost: true });
  });
  if (first === undefined) {
    const handle = async (n: number) => {
      await pause(n % 5 * pace);
      say({ handled: n, at: Date.now() });
    };
    bus.subscribe(PATTERN, handle, {
      group: "members",
      pattern: true,
      concurrency: 4,
      lease: leaseOf(false),
      backoff: 1,
    });
    return bus;
  }
  void (async () => {
    for (let n = first; !ended.aborted; n++) {
      await bus.publish(n, TOPIC).then(() => say({ published: n }), () => {});
      await pause(pace);
    }
  })();
  return bus;
}
