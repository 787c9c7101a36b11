/**
 * The queue that a user may have meant, where a command finds nothing.
 *
 * @module
 */
import { similar } from "../src/internal/arguments.ts";
import { DEAD } from "../src/provider/queue_names.ts";
import type { Provider } from "../src/provider/provider.ts";
import { listQueues } from "./overview.ts";
import { type BusFlags, openAdmin } from "./session.ts";

/** Returns the end of a message: the queue whose dead-letter queue has this name, or, if no queue has it, one with a similar name. */
export async function meant(provider: Provider, { namespace }: BusFlags, name: string): Promise<string> {
  // the user may not be allowed to list queues, or the transport may not list them
  const names = await queueNames(provider, namespace).catch((): string[] => []);
  const owner = name.slice(0, -DEAD.length);
  const other = names.includes(name)
    ? undefined
    : name.endsWith(DEAD) && names.includes(owner)
    ? owner
    : similar(name, names);
  return other === undefined ? "" : `; did you mean "${other}"?`;
}

async function queueNames(provider: Provider, namespace: string): Promise<string[]> {
  const admin = await openAdmin(provider, namespace);
  try {
    return (await listQueues(admin) ?? []).map(({ name }) => name);
  } finally {
    await admin.close();
  }
}
