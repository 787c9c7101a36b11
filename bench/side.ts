/** The operations of both sides of a comparison. The workloads call nothing else, so both do the same work. @module */

/** The runtime of this process. Each has functions of its own, so that callers and servers of a measurement run on the same runtime. */
export const RUNTIME: string = "Deno" in globalThis ? "deno" : "bun";

/** The event, item and argument of every workload: some 120 bytes of JSON. */
export interface Order {
  readonly id: number;
  readonly customer: string;
  readonly items: readonly string[];
  readonly total: number;
  readonly paid: boolean;
  /** Padding that makes it larger. */
  readonly padding?: string;
}

/** An order; `bytes` of JSON if that is more than usual. */
export function order(id: number, bytes = 0): Order {
  const padding = bytes > 150 ? { padding: "x".repeat(bytes - 150) } : {};
  return {
    ...padding,
    id,
    customer: "c7f1a9e2-4b6d",
    items: ["espresso", "croissant", "orange juice"],
    total: 17.45,
    paid: true,
  };
}

/** A consumer with its handler. */
export interface Working {
  /** Resolves when all items whose handlers have run are acknowledged. */
  acknowledged(): Promise<unknown>;
  close(): Promise<unknown>;
}

/** One side: a bare client, a tsmq bus, or another library. It lacks the operations that it does not support. */
export interface Side {
  /** Resolves when the handler gets the decoded events of these topics. */
  subscribe(topics: readonly string[], handler: (event: Order) => void): Promise<void>;
  publish?(event: Order, topic: string): Promise<unknown>;
  put?(item: Order): Promise<unknown>;
  get?(): Promise<unknown>;
  /** Puts many items. */
  fill?(items: readonly Order[]): Promise<unknown>;
  /** Starts a consumer. */
  consume?(handler: (item: Order) => void, concurrency: number): Working;
  /** Serves calls. */
  serve?(): Promise<void>;
  /** Makes one call to any server. */
  call?(argument: Order): Promise<unknown>;
  close(): Promise<void>;
}

/** Opens a side on the server of its group. */
export type OpenSide = (url: string, group: string) => Promise<Side>;

/** The channel on which a side's events of a topic travel. */
export function channelOf(topic: string): string {
  return `__eventbus:bench:${topic}`;
}
