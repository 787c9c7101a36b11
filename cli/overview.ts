/**
 * An overview of a namespace: the lists of its admin, joined. The command line and the dashboard show it.
 *
 * @module
 */
import { TextMap } from "../src/internal/text_map.ts";
import type { Admin, BusInfo, GroupInfo, QueueInfo, TopicInfo } from "../src/provider/admin.ts";
import { DEAD } from "../src/provider/queue_names.ts";

/** The largest number of topics whose events are counted separately, and of characters of such a topic. */
export const COUNTED_TOPICS = { count: 5_000, length: 1_024 };

/** A queue, with the number of its dead letters. */
export interface QueueRow extends QueueInfo {
  /** The number of items in its dead-letter queue `<name>.dead`. */
  readonly dead?: number;
}

/** A function and the buses that serve it. */
export interface FunctionRow {
  /** The name of the function. */
  readonly name: string;
  /** The buses that serve it. */
  readonly servers: readonly BusInfo[];
}

/** A group and the items of its queue. */
export interface GroupRow extends GroupInfo {
  /** The queue of the group. It has no counts if it has no items. */
  readonly items: QueueRow;
}

/** The contents of a namespace. A list is absent if the transport cannot give it. */
export interface Overview {
  readonly queues?: readonly QueueRow[];
  /** Topics and patterns. A topic to which only the servers of its function subscribe is absent. */
  readonly topics?: readonly TopicInfo[];
  readonly functions?: readonly FunctionRow[];
  readonly groups?: readonly GroupRow[];
  readonly buses?: readonly BusInfo[];
}

/** Lists the queues by name, with the numbers of their dead letters. Dead-letter queues are not listed themselves. */
export async function listQueues(admin: Admin): Promise<QueueRow[] | undefined> {
  const listed = await admin.queues();
  if (!listed) return undefined;
  const found = new TextMap<QueueInfo>(listed.map((queue) => [queue.name, queue]));
  // a queue whose items are all dead
  for (const { name } of listed) {
    const queue = name.slice(0, -DEAD.length);
    if (name.endsWith(DEAD) && queue !== "" && !found.has(queue)) found.set(queue, empty(queue));
  }
  const queues = [...found.values()].filter(({ name }) =>
    !(name.endsWith(DEAD) && found.has(name.slice(0, -DEAD.length)))
  );
  const dead = (name: string) => {
    // a retry or a purge leases dead letters
    const { waiting = 0, leased = 0 } = found.get(name + DEAD) ?? {};
    return waiting + leased;
  };
  return queues.sort(byName).map((queue) => ({ ...queue, dead: dead(queue.name) }));
}

/** Lists everything that a namespace contains. */
export async function readOverview(admin: Admin): Promise<Overview> {
  const [queues, topics, functions, groups, buses] = await Promise.all([
    listQueues(admin),
    admin.topics(),
    admin.functions(),
    admin.groups(),
    admin.buses(),
  ]);
  const busOf = new TextMap(buses?.map((bus) => [bus.id, bus]));
  const served = new TextMap(functions?.map(({ name, servers }) => [name, servers.length]));
  const queueOf = new TextMap(queues?.map((queue) => [queue.name, queue]));
  return {
    queues,
    topics: topics?.filter(({ name, pattern, subscribers = Infinity }) =>
      pattern || subscribers > (served.get(name) ?? 0)
    )
      .toSorted(byName),
    functions: functions?.map(({ name, servers }) => ({ name, servers: servers.map((id) => busOf.get(id) ?? { id }) }))
      .sort(byName),
    groups: groups?.map((group) => ({
      ...group,
      items: queueOf.get(group.queue) ?? { ...empty(group.queue), dead: 0 },
    }))
      .sort((a, b) => compare(a.queue, b.queue)),
    buses: buses?.toSorted((a, b) => (a.since ?? 0) - (b.since ?? 0) || compare(a.id, b.id)),
  };
}

function empty(name: string): QueueInfo {
  return { name, waiting: 0, leased: 0, delayed: 0 };
}

function byName(a: { readonly name: string }, b: { readonly name: string }): number {
  return compare(a.name, b.name);
}

function compare(a: string, b: string): number {
  return a < b ? -1 : Number(a > b);
}
