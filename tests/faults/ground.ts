/** What the scenarios stand on: a transport, and what can go wrong with it. */
import type { Provider } from "../../mod.ts";
import type { Random } from "../support/random.ts";
import type { Style } from "./tally.ts";
import type { Traffic } from "./traffic.ts";

/** One kind of fault. */
export interface Fault<G extends Ground = Ground> {
  readonly name: string;
  /** How many are injected in a run of one runtime that does not share them with the other one. */
  readonly times: number;
  /** Milliseconds between two, at most. */
  readonly pause: number;
  /** The styles whose messages may be missed if a gap is reported. Default: events. */
  readonly misses?: readonly Style[];
  /** Nothing is killed or cut in it, so no item is handled twice. */
  readonly once?: boolean;
  /** Starts of handlers may be recorded that this process never hears of. */
  readonly unheard?: boolean;
  /** Servers may be away for so long that they count as gone. */
  readonly long?: boolean;
  /** It happens to the whole process, so no other kind is injected beside it. */
  readonly ofProcess?: boolean;
  /** Lets it happen; resolves when it is mended. */
  inject(scene: Scene<G>): Promise<void>;
}

/** Where a fault happens. */
export interface Scene<G extends Ground = Ground> {
  readonly ground: G;
  readonly traffic: Traffic;
  readonly namespace: string;
  readonly random: Random;
}

/** A transport. */
export interface Ground extends AsyncDisposable {
  readonly name: string;
  /** A provider of its own for each scenario. */
  provider(): Provider;
  /** Connections of one bus, where that is known. */
  connections?(): Promise<number>;
}
