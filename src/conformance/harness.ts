/**
 * What the kit is given.
 *
 * @module
 */
import type { Provider } from "../provider/provider.ts";

/** Breaks the way to the transport, where the tests can do that. */
export interface Faults {
  /** Breaks every connection of every bus, once; the transport can be reached again at once. */
  cut(): Promise<void>;
}

/** What the kit needs to know of a provider. */
export interface Harness {
  /** The provider. For one with `sharedWorker`, the same value each time: buses of another do not meet. */
  provider(): Provider;
  /** Faults that can be made. Without them, the cases that need one are skipped. */
  readonly faults?: Faults;
  /** Also run the cases in which the transport makes no difference. tsmq runs them on memory. Default: false. */
  readonly core?: boolean;
  /** Cases to leave out: name → reason. A name that no case has is an error. */
  readonly skip?: Readonly<Record<string, string>>;
}
