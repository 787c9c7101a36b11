/**
 * Groups: the bindings of queues to topics are messages of one stream, each with its own subject. Publishers read them at most once a
 * second, and put events into the bound queues.
 *
 * @module
 */
import { StorageType } from "@nats-io/jetstream";
import type { Binder, TopicFilter } from "@tsmq/tsmq/provider";
import { BINDING_DELAY, GroupPuts, writeBinding } from "@tsmq/tsmq/worker";
import { type Connection, notFound, type Stream } from "./connection.ts";
import type { Names } from "./names.ts";
import { queueStream } from "./queues.ts";

/** The stream of all bindings, of every namespace. */
export const BINDINGS: Stream = {
  name: "tsmq:groups",
  subjects: ["tsmq.*.g.*"],
  storage: StorageType.File,
  max_msgs_per_subject: 1,
};

/** Binds queues, in the worker. */
export class Bindings implements Binder {
  #connection: Connection;
  #names: Names;

  /** Creates the bindings of a namespace. */
  constructor(connection: Connection, names: Names) {
    this.#connection = connection;
    this.#names = names;
  }

  async bind(filter: TopicFilter, queue: string): Promise<void> {
    const binding = writeBinding(filter, queue);
    await this.#connection.run(`bind queue "${queue}"`, async () => {
      // before the first event: events that are published together could otherwise overtake each other while it is created
      await this.#connection.create(queueStream(this.#names.stream(queue), this.#names.queue(queue)));
      this.#connection.nats.publish(this.#names.created(queue));
      await this.#connection.store(this.#names.binding(binding), binding, BINDINGS);
    });
    await known();
  }

  async unbind(filter: TopicFilter, queue: string): Promise<void> {
    const { streams } = this.#connection.manager;
    const subject = this.#names.binding(writeBinding(filter, queue));
    await this.#connection.run(`unbind queue "${queue}"`, async () => {
      try {
        await streams.purge(BINDINGS.name, { filter: subject });
      } catch (error) {
        if (!notFound(error)) throw error;
      }
    });
    await known();
  }
}

/** Creates the puts of a publisher into the queues of a namespace's groups. */
export function groupPuts(
  connection: Connection,
  names: Names,
  put: (queue: string, item: string) => Promise<void>,
): GroupPuts {
  /** The bindings that were read last, by their subjects. A subject contains the digest of its binding, so it never changes. */
  let read = new Map<string, string>();
  return new GroupPuts({
    put,
    read: () =>
      connection.run("look up groups", async () => {
        const { streams } = connection.manager;
        const filter = { subjects_filter: names.bindings };
        const info = await streams.info(BINDINGS.name, filter).catch((error) => {
          if (!notFound(error)) throw error;
        });
        const subjects = Object.keys(info?.state.subjects ?? {});
        const bindings = await Promise.all(subjects.map(async (subject) => {
          const text = read.get(subject) ||
            (await streams.getMessage(BINDINGS.name, { last_by_subj: subject }))?.string();
          return [subject, text ?? ""] as const; // it has just been removed
        }));
        read = new Map(bindings);
        return [...read.values()];
      }),
  });
}

/** Resolves when every publisher knows of a change. */
function known(): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, BINDING_DELAY));
}
