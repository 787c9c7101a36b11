/**
 * The data that the dashboard's server sends to its page. This file contains only types.
 *
 * @module
 */

/** A row of a table of the page. Its `id` is unique in the table. */
export interface Row {
  readonly id: string;
}

/** A queue. A number is absent if the transport does not know it. */
export interface QueueRow extends Row {
  readonly name: string;
  readonly waiting?: number;
  readonly leased?: number;
  readonly delayed?: number;
  readonly dead?: number;
  /** Items that were put and removed, each second. */
  readonly in?: number;
  readonly out?: number;
  /** Milliseconds that half of the handlers took at most. */
  readonly p50?: number;
  /** The consumers that all buses together have. */
  readonly consumers?: number;
}

/** A topic. */
export interface TopicRow extends Row {
  readonly name: string;
  /** Whether the name is a glob. */
  readonly pattern?: boolean;
  /** Events a second. */
  readonly rate?: number;
  /** The number of events that the dashboard has received since its page was first opened. */
  readonly seen?: number;
  /** The buses that subscribe to it. */
  readonly subscribers?: number;
}

/** A group: a durable subscription. */
export interface GroupRow extends Row {
  readonly target: string;
  readonly group: string;
  /** The queue that stores its events. */
  readonly queue: string;
  /** The events that wait for a member. */
  readonly lag?: number;
  readonly leased?: number;
  readonly dead?: number;
}

/** A function. */
export interface FunctionRow extends Row {
  readonly name: string;
  /** The buses that serve it. */
  readonly servers: readonly string[];
}

/** A bus that is up. */
export interface BusRow extends Row {
  readonly process: string;
  readonly host?: string;
  readonly pid?: number;
  /** The time when the bus was opened, in milliseconds since 1970. */
  readonly since?: number;
}

/** The tables of the page. */
export interface Tables {
  readonly queues: readonly QueueRow[];
  readonly topics: readonly TopicRow[];
  readonly groups: readonly GroupRow[];
  readonly functions: readonly FunctionRow[];
  readonly buses: readonly BusRow[];
}

/** The name of a table. */
export type TableName = keyof Tables;

/** The number of rows of each table that are left out, because the page could not receive them all. */
export type LeftOut = Readonly<Record<TableName, number>>;

/** The sums of one moment, for the charts. */
export interface Totals {
  /** Seconds since 1970. */
  readonly time: number;
  /** Events a second. */
  readonly events: number;
  /** Items of queues that were put and removed, each second. */
  readonly in: number;
  readonly out: number;
  readonly waiting: number;
  readonly leased: number;
  readonly delayed: number;
  readonly dead: number;
  /** Whether samples before this one are missing: no page was open, or the transport did not answer. */
  readonly gap?: true;
}

/** A report for the activity list. */
export interface Report {
  /** Milliseconds since 1970. */
  readonly time: number;
  readonly kind: "error" | "gap" | "state" | "action" | "dead";
  readonly text: string;
}

/** A retry or a purge, from its start to its end. */
export interface Job {
  readonly id: number;
  readonly title: string;
  readonly done: number;
  /** The expected number of items, if it is known. */
  readonly total?: number;
  readonly state: "running" | "done" | "failed";
  /** The reason, if it failed. */
  readonly error?: string;
}

/** The changes of a table: new and changed rows, and the ids of removed ones. */
export interface Change {
  readonly set: readonly Row[];
  readonly removed: readonly string[];
}

/** A message to the page. The first one is a `hello`. */
export type Frame =
  | {
    readonly type: "hello";
    /** The transport's URL without its password. */
    readonly transport: string;
    readonly namespace: string;
    /** The least number of milliseconds between two samples. */
    readonly interval: number;
    readonly history: readonly Totals[];
    readonly tables: Tables;
    readonly leftOut: LeftOut;
    /** The tables that the transport cannot list. */
    readonly unknown: readonly TableName[];
    readonly reports: readonly Report[];
    readonly jobs: readonly Job[];
  }
  | {
    readonly type: "sample";
    readonly totals: Totals;
    readonly changes: Partial<Record<TableName, Change>>;
    readonly leftOut: LeftOut;
    /** The tables that the transport cannot list. */
    readonly unknown: readonly TableName[];
    /** Milliseconds that the sample took. */
    readonly took: number;
  }
  | { readonly type: "report"; readonly report: Report }
  | { readonly type: "job"; readonly job: Job };

/** A waiting item or a dead letter. */
export interface Item {
  /** The key that identifies this dead letter in a request. */
  readonly key?: string;
  /** The beginning of the item as JSON, or of its body if it cannot be read or is long. */
  readonly text: string;
  /** The number of characters that were left out at the end of the text. */
  readonly cut?: number;
  readonly attempts: number;
  readonly headers: Readonly<Record<string, string>>;
  /** The reason why the item cannot be read, or is dead. */
  readonly cause?: { readonly name: string; readonly message: string };
  /** The time at which it became a dead letter, in milliseconds since 1970. */
  readonly time?: number;
  /** The queue of a dead letter. */
  readonly queue?: string;
}

/** The answer to a request for items. */
export interface Page {
  readonly items: readonly Item[];
  /** The reason why there are no items, if the transport cannot show them. */
  readonly unsupported?: string;
}

/** A request that changes something. */
export interface Action {
  readonly action: "retry" | "purge-dead" | "purge";
  readonly queue: string;
  /** The key of one dead letter; absent for all items. */
  readonly key?: string;
}
