/**
 * The interface between the command line and a transport: checks of the transport, and the remains of dead buses. Types only. A
 * provider implements it in its `admin.ts`, which only the command line imports.
 *
 * @module
 */

/** The result of one check. */
export interface Check {
  /** The name of the check: `"login"`. */
  readonly name: string;
  /** "ok", "risk" (it works, but it may lose something or be slow) or "broken" (it does not work). */
  readonly state: "ok" | "risk" | "broken";
  /** The finding. */
  readonly detail: string;
  /** The advice for this problem, if the state is not "ok". */
  readonly mend?: string;
}

/** Examines a transport for one namespace, without a bus. */
export interface Doctor {
  /** Runs the checks one after the other. After a broken one it skips those that depend on it. */
  checks(): AsyncIterable<Check>;
  /** Removes the remains of dead buses. Resolves with one line for each removed thing. */
  reap(): Promise<string[]>;
  /** Returns the names of the queues that have items; undefined if the transport cannot list them. */
  queues(): Promise<string[] | undefined>;
  /** Closes the doctor's connections. */
  close(): Promise<void>;
}
