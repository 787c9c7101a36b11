/**
 * What the command line asks of a transport beside its provider: what can be wrong with it, and what dead buses left there.
 * Types only. A provider's answers stand in its `doctor.ts`, which nothing but the command line imports.
 *
 * @module
 */

/** One thing that was looked at. */
export interface Check {
  /** What was looked at: `"login"`. */
  readonly name: string;
  /** "ok"; "risk": it works, but something may be lost or slow; "broken": it does not work. */
  readonly state: "ok" | "risk" | "broken";
  /** What was seen. */
  readonly detail: string;
  /** What to do about it, where it is not "ok". */
  readonly mend?: string;
}

/** Knows a transport from outside the bus, in one namespace. */
export interface Doctor {
  /** Looks at one thing after the other. What makes no sense once something is broken is not looked at. */
  checks(): AsyncIterable<Check>;
  /** Removes what dead buses left; one line for each thing. */
  reap(): Promise<string[]>;
  /** The names of the queues that have items; undefined where the transport cannot tell. */
  queues(): Promise<string[] | undefined>;
  /** Closes its connections. */
  close(): Promise<void>;
}
