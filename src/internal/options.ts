/**
 * Checks of options, with valibot. No message quotes a value, because it may be a secret.
 *
 * @module
 */
import * as v from "valibot";
import { type Issue, ValidationError } from "../errors.ts";
import { kindOf, notAnOption } from "./arguments.ts";
import { MAX_TIMER } from "./time.ts";

/** Returns the message of a schema: `must("a port")` gives "must be a port, not a string". */
export function must(be: string): (issue: { readonly input: unknown }) => string {
  return ({ input }) => `must be ${be}, not ${kindOf(input)}`;
}

/** Returns the schema of a string that is not empty. */
export function text(empty = "is empty"): v.GenericSchema<string> {
  return v.pipe(v.string(must("a non-empty string")), v.nonEmpty(empty));
}

/** Returns the schema of a boolean. */
export function flag(): v.GenericSchema<boolean> {
  return v.boolean(must("true or false"));
}

/** Returns the schema of a number in a range, which `is` may narrow. */
export function amount(
  what: string,
  least: number,
  most = Infinity,
  is: (value: number) => boolean = () => true,
): v.GenericSchema<number> {
  const message = ({ input }: { readonly input: unknown }) => {
    if (typeof input !== "number" || Number.isNaN(input)) return must(what)({ input });
    return `must be ${what}, not ${Number.isFinite(input) ? "another number" : input}`;
  };
  return v.pipe(v.number(message), v.check((value) => value >= least && value <= most && is(value), message));
}

/** Returns the schema of a whole number in a range. */
export function whole(what: string, least = 0, most: number = Number.MAX_SAFE_INTEGER): v.GenericSchema<number> {
  return amount(what, least, most, Number.isInteger);
}

/** Returns the schema of a number of milliseconds, from `least` to `most`. */
export function milliseconds(least: number, most = MAX_TIMER, what?: string): v.GenericSchema<number> {
  const range = most < Infinity ? `milliseconds from ${least} to ${most}` : `milliseconds, at least ${least}`;
  return amount(what ?? range, least, most);
}

/** Returns the schema of a function. */
export function callable<F>(): v.GenericSchema<F> {
  return v.custom<F>((value) => typeof value === "function", must("a function"));
}

/** Returns the schema of the URL of a worker's module. */
export function workerUrl(): v.GenericSchema<URL> {
  return v.custom<URL>((value) => value instanceof URL, must('a URL, as in new URL("./worker.js", import.meta.url)'));
}

/** Returns the schema of an object with these fields and no others. Its message distinguishes an unknown field from a missing one. */
export function fields<const E extends v.ObjectEntries>(
  entries: E,
): v.StrictObjectSchema<E, v.ErrorMessage<v.StrictObjectIssue>> {
  return v.strictObject(entries, (issue) => {
    if (!issue.path) return must("an object")(issue);
    if (issue.expected !== "never") return "is missing";
    return notAnOption(String(issue.path.at(-1)?.key), Object.keys(entries));
  });
}

/**
 * Checks options with a schema, and returns them with their defaults.
 *
 * @throws {ValidationError} with one issue for each invalid option; its message begins with `doing`
 */
export function parseOptions<S extends v.GenericSchema>(schema: S, options: unknown, doing: string): v.InferOutput<S> {
  const { success, output, issues } = v.safeParse(schema, options);
  if (success) return output;
  throw invalidOptions(
    issues.map(({ message, path }) => ({ message, path: path?.map(({ key }) => String(key)) ?? [] })),
    doing,
  );
}

/** Creates the error for invalid options. Each issue contains the path of the option and the reason. */
export function invalidOptions(issues: readonly Issue[], doing: string): ValidationError {
  const faults = issues.map(({ path, message }) => `${path?.length ? path.join(".") : "options"} ${message}`);
  return new ValidationError(`${doing}: ${faults.join("; ")}`, issues, { part: "options" });
}
