/**
 * Validation by schemas of any library that implements Standard Schema (valibot, zod, arktype, …).
 *
 * @module
 */
import { type InvalidPart, type Issue, ValidationError } from "../errors.ts";
import { kindOf, type OptionChecks } from "../internal/arguments.ts";
import { cut } from "../internal/printable.ts";
import { textOf } from "../internal/thrown.ts";

/**
 * A Standard Schema, version 1 (https://standardschema.dev). The specification asks libraries to copy this type, so that they need
 * no package for it.
 */
export interface StandardSchemaV1<Input = unknown, Output = Input> {
  /** The properties of the schema that the specification defines. */
  readonly "~standard": StandardSchemaV1.Props<Input, Output>;
}

/** The parts of a Standard Schema. */
export declare namespace StandardSchemaV1 {
  /** The properties under `~standard`. */
  export interface Props<Input = unknown, Output = Input> {
    /** The version of the specification. */
    readonly version: 1;
    /** The library that made the schema. */
    readonly vendor: string;
    /** Validates a value, and may transform it. */
    readonly validate: (value: unknown) => Result<Output> | Promise<Result<Output>>;
    /** The types of the schema; absent at run time. */
    readonly types?: Types<Input, Output> | undefined;
  }

  /** The result of a validation. */
  export type Result<Output> = SuccessResult<Output> | FailureResult;

  /** The result for a valid value. */
  export interface SuccessResult<Output> {
    /** The output of the schema. */
    readonly value: Output;
    /** Absent for a valid value. */
    readonly issues?: undefined;
  }

  /** The result for an invalid value. */
  export interface FailureResult {
    /** The reasons. */
    readonly issues: readonly Issue[];
  }

  /** One reason why a value is invalid. */
  export interface Issue {
    /** The reason. */
    readonly message: string;
    /** The keys that lead from the whole value to the invalid part. */
    readonly path?: readonly (PropertyKey | PathSegment)[] | undefined;
  }

  /** A step of a path as an object, which some libraries use in place of the key. */
  export interface PathSegment {
    /** The key. */
    readonly key: PropertyKey;
  }

  /** The input and output types of a schema. */
  export interface Types<Input = unknown, Output = Input> {
    /** The type of values that the schema accepts. */
    readonly input: Input;
    /** The type of the values that the schema returns. */
    readonly output: Output;
  }

  /** The input type of a schema. */
  export type InferInput<Schema extends StandardSchemaV1> = NonNullable<Schema["~standard"]["types"]>["input"];

  /** The output type of a schema. */
  export type InferOutput<Schema extends StandardSchemaV1> = NonNullable<Schema["~standard"]["types"]>["output"];
}

/** The input type of a schema. */
export type InferInput<S extends StandardSchemaV1> = StandardSchemaV1.InferInput<S>;

/** The output type of a schema. */
export type InferOutput<S extends StandardSchemaV1> = StandardSchemaV1.InferOutput<S>;

/** Checks a Standard Schema; `undefined` is allowed. */
export function checkSchema<S extends StandardSchemaV1 | undefined>(
  check: OptionChecks,
  schema: S,
  name = "schema",
): S {
  if (schema === undefined || typeof schema?.["~standard"]?.validate === "function") return schema;
  throw check.fault(name, `must be a Standard Schema, not ${kindOf(schema)}`);
}

/** The number of issues that an error message quotes. */
const QUOTED = 3;
/** The largest number of issues that an error has: a peer can send a list in which each element is invalid. */
const MAX_ISSUES = 100;
/** The largest number of keys in the path of an issue, and of characters of each: a peer can choose the keys of a map. */
const [MAX_KEYS, LONGEST_KEY] = [32, 1_024];

/**
 * Validates a value and returns the output of the schema. Returns a promise only if the schema is asynchronous.
 *
 * @param what names the value in the error: `event of "shop/orders"`
 * @param part the `part` of the error
 * @throws {ValidationError} (or rejects with it) when the value is invalid, or the schema itself throws
 */
export function validate<S extends StandardSchemaV1>(
  schema: S,
  value: unknown,
  what: string,
  part?: InvalidPart,
): InferOutput<S> | Promise<InferOutput<S>> {
  let outcome;
  try {
    const result = schema["~standard"].validate(value);
    outcome = result instanceof Promise ? result.then(read) : read(result);
  } catch (cause) {
    throw failed(what, part, cause);
  }
  if (!(outcome instanceof Promise)) return accept<S>(outcome, what, part);
  return outcome.then((settled) => accept<S>(settled, what, part), (cause) => {
    throw failed(what, part, cause);
  });
}

/** A value, or the issues that an error has, and the number of all. */
type Outcome = { readonly value: unknown } | { readonly issues: Issue[]; readonly count: number };

/** Checks the result of a schema, because a faulty schema may return anything. */
function read(result: StandardSchemaV1.Result<unknown>): Outcome {
  const { issues } = result;
  if (!issues) return { value: (result as { value: unknown }).value };
  return { issues: issues.slice(0, MAX_ISSUES).map(plainIssue), count: issues.length };
}

function accept<S extends StandardSchemaV1>(
  outcome: Outcome,
  what: string,
  part: InvalidPart | undefined,
): InferOutput<S> {
  if ("value" in outcome) return outcome.value as InferOutput<S>;
  const { issues, count } = outcome;
  const quoted = issues.slice(0, QUOTED).map(quote);
  if (count > QUOTED) quoted.push(`${count - QUOTED} more`);
  throw new ValidationError(`Cannot accept ${what}: ${quoted.join("; ")}`, issues, { part });
}

/** Copies an issue without the received value, which its message and its path may contain. */
function plainIssue({ message, path }: StandardSchemaV1.Issue): Issue {
  const text = cut(textOf(message));
  if (!path) return { message: text };
  const parts = path.slice(0, MAX_KEYS);
  return { message: text, path: parts.map((part) => plainKey(typeof part === "object" ? part.key : part)) };
}

/** Returns a key, of a long text its beginning and end, and the key of a map that is an object as text. */
function plainKey(key: unknown): PropertyKey {
  return typeof key === "number" || typeof key === "symbol" ? key : cut(textOf(key), LONGEST_KEY);
}

function quote({ message, path }: Issue): string {
  return path?.length ? `${path.map(String).join(".")}: ${message}` : message;
}

function failed(what: string, part: InvalidPart | undefined, cause: unknown): ValidationError {
  const message = `the schema threw: ${textOf(cause)}`;
  return new ValidationError(`Cannot accept ${what}: ${message}`, [{ message }], { cause, part });
}
