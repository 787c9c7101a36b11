/**
 * Returns where two values differ, or undefined if they are the same. It is stricter than `assertEquals`: it distinguishes -0
 * from 0, a missing field from an undefined one, and one class from another.
 */
export function difference(actual: unknown, expected: unknown, at = "value"): string | undefined {
  if (Object.is(actual, expected)) return undefined;
  if (!isObject(actual) || !isObject(expected)) return `${at}: ${show(actual)} is not ${show(expected)}`;
  if (Object.getPrototypeOf(actual) !== (Object.getPrototypeOf(expected) ?? Object.prototype)) {
    return `${at}: another class`;
  }
  if (actual instanceof Date && expected instanceof Date) {
    return difference(actual.getTime(), expected.getTime(), at);
  }
  if (actual instanceof Map && expected instanceof Map) return difference([...actual], [...expected], at);
  if (actual instanceof Set && expected instanceof Set) return difference([...actual], [...expected], at);
  const keys = Object.keys(expected);
  const surplus = Object.keys(actual).find((key) => !Object.hasOwn(expected, key));
  if (surplus !== undefined) return `${at}: has a ${JSON.stringify(surplus)}`;
  for (const key of keys) {
    if (!Object.hasOwn(actual, key)) return `${at}: has no ${JSON.stringify(key)}`;
    const found = difference(actual[key], expected[key], `${at}.${key}`);
    if (found) return found;
  }
  return undefined;
}

function isObject(value: unknown): value is Record<string, unknown> {
  return typeof value === "object" && value !== null;
}

function show(value: unknown): string {
  return typeof value === "bigint" ? `${value}n` : Object.is(value, -0) ? "-0" : String(value);
}
