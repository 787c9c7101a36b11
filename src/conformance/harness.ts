/**
 * The input of the kit: a provider, and how to break its connections.
 *
 * @module
 */
import type { BusOptions } from "../options.ts";
import type { Provider } from "../provider/provider.ts";

/** Breaks connections to the transport, if the tests can do that. */
export interface Faults {
  /** Breaks every connection of every bus, once; the transport can be reached again immediately. */
  cut(): Promise<void>;
}

/** A provider under test. */
export interface Harness {
  /** Returns the provider. If its broker lives in the worker, each call returns the same value, because only its buses share the broker. */
  provider(): Provider;
  /** Options of every bus that the cases open, such as `keys`. */
  readonly options?: BusOptions;
  /** The faults that the tests can inject. Without them, the cases that need a fault are skipped. */
  readonly faults?: Faults;
  /** Cases to leave out: name → reason. A name that no case has is an error. */
  readonly skip?: Readonly<Record<string, string>>;
}
