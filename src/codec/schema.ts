/**
 * Schemas: any Standard Schema (valibot, zod, arktype, …) says what a value must be.
 *
 * @module
 */
import { type Issue, ValidationError } from "../errors.ts";
import { show, textOf } from "../internal/thrown.ts";

/**
 * A Standard Schema, version 1 (https://standardschema.dev). The specification is a type to be copied, so that nobody
 * depends on a package for it.
 */
export interface StandardSchemaV1<Input = unknown, Output = Input> {
  /** All that the specification asks of a schema. */
  readonly "~standard": StandardSchemaV1.Props<Input, Output>;
}

/** The parts of a Standard Schema. */
export declare namespace StandardSchemaV1 {
  /** What stands under `~standard`. */
  export interface Props<Input = unknown, Output = Input> {
    /** The version of the specification. */
    readonly version: 1;
    /** The library that made the schema. */
    readonly vendor: string;
    /** Checks a value, and may make another of it. */
    readonly validate: (value: unknown) => Result<Output> | Promise<Result<Output>>;
    /** Types only; not there at run time. */
    readonly types?: Types<Input, Output> | undefined;
  }

  /** What a check says. */
  export type Result<Output> = SuccessResult<Output> | FailureResult;

  /** The value is accepted. */
  export interface SuccessResult<Output> {
    /** What the schema made of it. */
    readonly value: Output;
    /** Nothing. */
    readonly issues?: undefined;
  }

  /** The value is refused. */
  export interface FailureResult {
    /** Why. */
    readonly issues: readonly Issue[];
  }

  /** One reason to refuse a value. */
  export interface Issue {
    /** What is wrong. */
    readonly message: string;
    /** Where: the keys from the value's root. */
    readonly path?: readonly (PropertyKey | PathSegment)[] | undefined;
  }

  /** A step of a path, in the libraries that say more than the key. */
  export interface PathSegment {
    /** The key. */
    readonly key: PropertyKey;
  }

  /** The types that a schema stands for. */
  export interface Types<Input = unknown, Output = Input> {
    /** What it accepts. */
    readonly input: Input;
    /** What it makes of that. */
    readonly output: Output;
  }

  /** What a schema accepts. */
  export type InferInput<Schema extends StandardSchemaV1> = NonNullable<Schema["~standard"]["types"]>["input"];

  /** What a schema makes of what it accepts. */
  export type InferOutput<Schema extends StandardSchemaV1> = NonNullable<Schema["~standard"]["types"]>["output"];
}

/** What a schema accepts. */
export type InferInput<S extends StandardSchemaV1> = StandardSchemaV1.InferInput<S>;

/** What a schema makes of what it accepts. */
export type InferOutput<S extends StandardSchemaV1> = StandardSchemaV1.InferOutput<S>;

/** How many issues a message quotes; `issues` holds all of them. */
const QUOTED = 3;

/**
 * Gives what the schema makes of the value: at once when the schema is synchronous, else as a promise.
 *
 * @param what names the value in the error: `event of "shop/orders"`
 * @throws {ValidationError} (or rejects with it) when the schema refuses the value, or fails itself
 */
export function validate<S extends StandardSchemaV1>(
  schema: S,
  value: unknown,
  what: string,
): InferOutput<S> | Promise<InferOutput<S>> {
  let outcome;
  try {
    const result = schema["~standard"].validate(value);
    outcome = result instanceof Promise ? result.then(read) : read(result);
  } catch (cause) {
    throw failed(what, cause);
  }
  if (!(outcome instanceof Promise)) return accept<S>(outcome, what);
  return outcome.then((settled) => accept<S>(settled, what), (cause) => {
    throw failed(what, cause);
  });
}

/** What a schema gave, as plain data: it may be no result at all. */
function read(result: StandardSchemaV1.Result<unknown>): { value: unknown } | { issues: Issue[] } {
  const { issues } = result;
  return issues ? { issues: issues.map(plainIssue) } : { value: (result as { value: unknown }).value };
}

function accept<S extends StandardSchemaV1>(outcome: ReturnType<typeof read>, what: string): InferOutput<S> {
  if ("value" in outcome) return outcome.value as InferOutput<S>;
  const { issues } = outcome;
  const quoted = issues.slice(0, QUOTED).map(quote);
  if (issues.length > QUOTED) quoted.push(`${issues.length - QUOTED} more`);
  throw new ValidationError(`Cannot accept ${what}: ${quoted.join("; ")}`, issues);
}

function plainIssue({ message, path }: StandardSchemaV1.Issue): Issue {
  const text = show(message);
  return path
    ? { message: text, path: path.map((part) => typeof part === "object" ? part.key : part) }
    : { message: text };
}

function quote({ message, path }: Issue): string {
  return path?.length ? `${path.map(String).join(".")}: ${message}` : message;
}

function failed(what: string, cause: unknown): ValidationError {
  const message = `the schema failed with ${textOf(cause)}`;
  return new ValidationError(`Cannot accept ${what}: ${message}`, [{ message }], { cause });
}
