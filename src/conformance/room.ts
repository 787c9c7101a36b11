/**
 * Cases by their names, the way the rooms of the kit hold them.
 *
 * @module
 */
import type { Features } from "../provider/provider.ts";
import type { Harness } from "./harness.ts";
import type { Stage } from "./stage.ts";

/** Plays a case; it passes when this resolves. */
export type Play = (stage: Stage) => Promise<void>;

/** A case that only some providers can pass, or that takes its time. */
export interface Conditional {
  /** Why it is left out, if it is. */
  skip?(features: Features, harness: Harness): string | undefined;
  /** It does something to every bus on the transport, or takes all of the machine: no other case may run beside it. */
  readonly alone?: boolean;
  /** Milliseconds in which it has to end. Default 20,000. */
  readonly deadline?: number;
  /** Plays it. */
  readonly play: Play;
}

/** Cases: name → case. */
export type Room = Readonly<Record<string, Play | Conditional>>;

/** A case for transports that know how many subscriptions a publish reached. */
export function counting(play: Play): Conditional {
  return { skip: ({ counts }) => counts ? undefined : "the transport does not know how many it reached", play };
}

/** A case for transports that keep the order. */
export function ordered(play: Play): Conditional {
  return { skip: ({ ordered }) => ordered ? undefined : "the transport does not keep the order", play };
}

/** A case that needs more time than others. */
export function slow(deadline: number, play: Play): Conditional {
  return { deadline, play };
}
