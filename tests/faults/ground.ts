/** The transport of the scenarios, and its faults. */
import type { Provider } from "../../mod.ts";
import type { Random } from "../support/random.ts";
import type { Style } from "./tally.ts";
import type { Traffic } from "./traffic.ts";

/** One kind of fault. */
export interface Fault<G extends Ground = Ground> {
  readonly name: string;
  /** The number of injected faults in a run of one runtime, if the runtimes do not share them. */
  readonly times: number;
  /** The largest number of milliseconds between two faults. */
  readonly pause: number;
  /** The styles whose messages may be missed if a gap is reported. Default: events. */
  readonly misses?: readonly Style[];
  /** Whether the fault kills and cuts nothing, so that no item is handled twice. */
  readonly once?: boolean;
  /** The most recorded starts of one item that this process may not know of. Default: 0. */
  readonly unheard?: number;
  /** Whether servers may be disconnected for so long that they count as gone. */
  readonly long?: boolean;
  /** Whether it breaks workers. */
  readonly breaksWorkers?: boolean;
  /** Whether each bus has a worker of its own. */
  readonly ownWorkers?: boolean;
  /** It happens to the whole process, so no other kind is injected beside it. */
  readonly ofProcess?: boolean;
  /** Injects the fault. Resolves when it is repaired. */
  inject(scene: Scene<G>): Promise<void>;
}

/** The environment of a fault. */
export interface Scene<G extends Ground = Ground> {
  readonly ground: G;
  readonly traffic: Traffic;
  readonly namespace: string;
  readonly random: Random;
}

/** A transport. */
export interface Ground extends AsyncDisposable {
  readonly name: string;
  /** Returns a provider. If its worker is breakable, only its own buses use it; else scenarios that run side by side share one. */
  provider(breakable?: boolean): Provider;
  /** The number of connections of one bus, if known. */
  connections?(): Promise<number>;
}
