/**
 * Removes everything that a bus has created: its queues, links and files. An item that it was taking goes back into its queue.
 *
 * @module
 */
import { isUnavailable } from "../../errors.ts";
import { emptySlot } from "./crash_slot.ts";
import { Errno } from "./errno.ts";
import { readItem } from "./frames.ts";
import { nameOfItem, queueDirectory } from "./items.ts";
import { Leases } from "./leases.ts";
import { eventsOf, inboxOf } from "./names.ts";
import { BUSES, type Namespace, THREAD } from "./namespace.ts";

/** Removes everything that a bus has created for itself. Its crash slot stays until the item in it was given back. */
export function removeBus(namespace: Namespace, bus: string): void {
  const { directories, posix, subscriptions } = namespace;
  const recovered = recoverItem(namespace, bus);
  const unlinked = [eventsOf(bus), inboxOf(bus)].map((queue) => posix.unlinkQueue(queue));
  subscriptions.removeBus(bus);
  // the queues of another user's bus can be removed only by that user, whose cleanup needs this directory to find the bus
  if (!recovered || unlinked.includes(-Errno.EACCES)) return;
  const directory = namespace.busDirectory(bus);
  directories.unlink(`${directory}/${THREAD}`); // an empty directory is removed even if no descriptor is left
  directories.remove(directory);
  directories.prune(BUSES);
}

/** Gives back the item in a bus's crash slot. Returns false if another process is doing so, or if its queue has no room now. */
function recoverItem(namespace: Namespace, bus: string): boolean {
  try {
    return emptySlot(namespace, bus, ({ queue, key, message }) => {
      if (!namespace.names.owns(queue)) return;
      const { deliveries } = readItem(message);
      const partial = nameOfItem({ key, starts: deliveries, lease: 0, unconfirmed: false, bus });
      // the bus may have died while it wrote this file
      namespace.directories.unlink(`${queueDirectory(queue)}/held/${partial}`);
      new Leases(namespace, bus).restore(queue, key, message, deliveries);
    });
  } catch (error) {
    return !isUnavailable(error);
  }
}
