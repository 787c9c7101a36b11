/**
 * Filters of events: `event.total>100`, `type=Order`, `topic~shop.*`.
 *
 * @module
 */
import { ValidationError } from "../src/errors.ts";
import { glob } from "../src/provider/glob.ts";
import { MOST_STEPS } from "../src/provider/router.ts";
import { toJson } from "./io.ts";

/** The parts of an event that a filter reads. */
export interface Filtered {
  readonly topic: string;
  readonly type?: string;
  readonly event: unknown;
}

/** Returns whether an event passes. */
export type EventFilter = (event: Filtered) => boolean;

const FILTER = /^((?:topic|type|event)(?:\.[^.=!<>~\s]+)*)\s*(!=|>=|<=|=|>|<|~)\s*(.*)$/s;

/** Parses a filter. The value on its right is JSON, or plain text if it is not valid JSON. */
export function parseFilter(text: string): EventFilter {
  const [, path, operator, right = ""] = FILTER.exec(text) ?? [];
  if (path === undefined || operator === undefined) {
    throw new ValidationError("must be a path from topic, type or event, one of = != > >= < <= ~, and a value");
  }
  const compare = comparison(operator, right);
  const steps = path.split(".");
  return (event) => compare(steps.reduce<unknown>(member, event));
}

function comparison(operator: string, right: string): (left: unknown) => boolean {
  const value = jsonOrText(right);
  const ordered = (holds: (left: number | string, right: number | string) => boolean) => (left: unknown) =>
    typeof left === typeof value && (typeof left === "number" || typeof left === "string") &&
    holds(left, value as number | string);
  switch (operator) {
    case "=":
      return (left) => left !== undefined && toJson(left) === toJson(value);
    case "!=":
      return (left) => left === undefined || toJson(left) !== toJson(value);
    case ">":
      return ordered((a, b) => a > b);
    case ">=":
      return ordered((a, b) => a >= b);
    case "<":
      return ordered((a, b) => a < b);
    case "<=":
      return ordered((a, b) => a <= b);
    default: {
      const matches = glob(right);
      return (left) => {
        if (typeof left !== "string") return false;
        const steps = { left: MOST_STEPS };
        const found = matches(left, steps);
        if (steps.left >= 0) return found;
        const why = `comparing a text of ${left.length} characters with it takes more than ${MOST_STEPS} steps`;
        throw new ValidationError(`Cannot filter an event by a glob: ${why}`);
      };
    }
  }
}

function jsonOrText(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return text;
  }
}

/** Returns an own member of a value. */
function member(value: unknown, name: string): unknown {
  return typeof value === "object" && value !== null && Object.hasOwn(value, name)
    ? (value as Record<string, unknown>)[name]
    : undefined;
}
