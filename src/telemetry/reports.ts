/**
 * The class `Reports`: the errors that a bus reports by its log and its `"error"` events.
 *
 * @module
 */
import { type BusError, UntrustedError, ValidationError } from "../errors.ts";
import { ReportLimit, WINDOW } from "../internal/report_limit.ts";
import { isA } from "../internal/thrown.ts";
import type { Telemetry } from "./telemetry.ts";

/** The largest number of errors of rejected messages that are reported in a window. */
const REJECTED = 100;

/** The context of an error that is not logged, because it may contain secrets. */
interface Secret {
  readonly item?: unknown;
  readonly headers?: unknown;
}

/** Reports the errors of a bus. */
export class Reports<Context extends Secret> {
  /** The last error. */
  last: unknown;
  /** The number of messages that the keys of the bus did not verify. */
  refused = 0;
  readonly #telemetry: Telemetry;
  readonly #emit: (error: unknown, name: string, context?: Context) => void;
  readonly #limit = new ReportLimit(REJECTED, (count) => {
    const text = `Cannot report ${count} more rejected messages: there are at most ${REJECTED} reports in ${WINDOW} ms`;
    this.report(new ValidationError(text), "");
  });

  /** Creates the reports of a bus, which emits an `"error"` event with `emit`. */
  constructor(telemetry: Telemetry, emit: (error: unknown, name: string, context?: Context) => void) {
    this.#telemetry = telemetry;
    this.#emit = emit;
  }

  /** Implements `Core.report`. */
  readonly report = (error: unknown, name: string, rejected = false, context?: Context): void => {
    if (isA(error, UntrustedError)) this.refused++;
    this.last = error;
    if (!rejected || this.#limit.pass()) this.#report(error, name, context);
  };

  /** Implements `Core.reject`. */
  readonly reject = (error: () => BusError, name: string, untrusted = false): void => {
    if (untrusted) this.refused++;
    if (this.#limit.pass()) this.#report(this.last = error(), name);
  };

  /** Reports the number of errors that were left out. */
  flush(): void {
    this.#limit.flush();
  }

  #report(error: unknown, name: string, context?: Context): void {
    const { item: _item, headers: _headers, ...detail } = context ?? {};
    this.#telemetry.log({
      level: "error",
      event: "error",
      ...name && { name },
      error,
      ...context && { detail },
    });
    this.#emit(error, name, context);
  }
}
