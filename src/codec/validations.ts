/**
 * The validations of one body by asynchronous schemas. Few of them run at once, because one mark can make an instance of each element of a
 * list: 350,000 of a MiB.
 *
 * @module
 */
import { Slices } from "../internal/time.ts";
import { type StandardSchemaV1, validate } from "./schema.ts";

/** The number of validations from which the rest of the body waits. */
const PARALLEL = 64;
/** All bodies that have waited share the slices. */
const slices = new Slices();

/** Reads one value. Returns a promise if a schema is asynchronous. */
type Read = (i: number) => Promise<unknown> | undefined;

/** Validates the values of a body. */
export class Validations {
  #running = 0;
  /** The number of lists and objects whose rest waits. */
  #waiting = 0;
  #stopped: { readonly error: unknown } | undefined;

  /** Whether a part of the body waits, and is not read yet. */
  get waiting(): boolean {
    return this.#waiting > 0;
  }

  /** Validates a value as the function `validate` does. Returns a promise only if the schema is asynchronous. */
  validate(schema: StandardSchemaV1, value: unknown, what: string): unknown {
    const outcome = validate(schema, value, what);
    if (!(outcome instanceof Promise)) return outcome;
    this.#running++;
    const end = () => this.#running--;
    outcome.then(end, end);
    return outcome;
  }

  /** Reads a number of values of a list or an object, in order. Those after too many validations are read when these have ended. */
  each(count: number, read: Read): Promise<unknown> | undefined {
    let pending: Promise<unknown>[] | undefined;
    for (let i = 0; i < count; i++) {
      const reading = read(i);
      if (!reading) continue;
      (pending ??= []).push(reading);
      if (this.#running >= PARALLEL) return this.#rest(i + 1, count, read, pending);
    }
    return pending && later(Promise.all(pending), () => undefined);
  }

  /** Ends the reading of the parts that wait, because the body is refused. */
  stop(error: unknown): void {
    this.#stopped = { error };
  }

  async #rest(from: number, count: number, read: Read, pending: Promise<unknown>[]): Promise<void> {
    this.#waiting++;
    for (let i = from; i < count; i++) {
      if (pending.length > 0 && this.#running >= PARALLEL) {
        await Promise.all(pending.splice(0));
        await slices.next();
      }
      if (this.#stopped) throw this.#stopped.error;
      const reading = read(i);
      if (reading) pending.push(reading);
    }
    await Promise.all(pending);
    this.#waiting--;
  }
}

/** Continues with a value: at once, or when its promise has resolved. */
export function after(value: unknown, next: (value: unknown) => unknown): unknown {
  return value instanceof Promise ? later(value, next) : next(value);
}

/** Chains `next`. If another value fails first, nothing awaits this promise, and its rejection must not end the process. */
export function later<T>(value: Promise<T>, next: (value: T) => unknown): Promise<unknown> {
  const promise = value.then(next);
  promise.catch(() => {});
  return promise;
}
