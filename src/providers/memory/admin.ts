/**
 * Lists what a namespace of a broker contains. A broker without buses has nothing.
 *
 * @module
 */
import type { Admin, BusInfo, Check, FunctionInfo, GroupInfo, QueueInfo, TopicInfo } from "../../provider/admin.ts";

/** The content of a namespace, as its broker lists it. */
export interface Contents {
  readonly queues: readonly QueueInfo[];
  readonly topics: readonly TopicInfo[];
  readonly functions: readonly FunctionInfo[];
  readonly groups: readonly GroupInfo[];
  readonly buses: readonly BusInfo[];
  readonly inboxes: readonly string[];
}

const NOTHING: Contents = { queues: [], topics: [], functions: [], groups: [], buses: [], inboxes: [] };

/** Lists what a namespace contains. */
export class MemoryAdmin implements Admin {
  #ask: () => Promise<Contents> | undefined;

  /** Creates the admin. `ask` requests the contents from the broker, if it has a bus. */
  constructor(ask: () => Promise<Contents> | undefined) {
    this.#ask = ask;
  }

  async *checks(): AsyncGenerator<Check> {}

  queues(): Promise<readonly QueueInfo[]> {
    return this.#list("queues");
  }

  topics(): Promise<readonly TopicInfo[]> {
    return this.#list("topics");
  }

  functions(): Promise<readonly FunctionInfo[]> {
    return this.#list("functions");
  }

  groups(): Promise<readonly GroupInfo[]> {
    return this.#list("groups");
  }

  buses(): Promise<readonly BusInfo[]> {
    return this.#list("buses");
  }

  inboxes(): Promise<readonly string[]> {
    return this.#list("inboxes");
  }

  /** Resolves with an empty list, because nothing remains of a process that has ended. */
  leftovers(): Promise<readonly string[]> {
    return Promise.resolve([]);
  }

  async *reap(): AsyncGenerator<string> {}

  close(): Promise<void> {
    return Promise.resolve();
  }

  async #list<K extends keyof Contents>(kind: K): Promise<Contents[K]> {
    return (await this.#ask() ?? NOTHING)[kind];
  }
}
