/**
 * Values → text.
 *
 * @module
 */
import { ValidationError } from "../errors.ts";
import type { Classes } from "./classes.ts";
import { type Fields, MAX_DEPTH, MAX_DIGITS, OWN, special } from "./tags.ts";

/** The body of a value of which plain JSON says all; nothing where it needs a {@linkcode Writer}. */
export function writePlain(value: unknown): string | undefined {
  return value !== null && plain(value, 0) ? withoutTags(JSON.stringify(value)) : undefined;
}

/** Whether JSON has a word for all the values in a value. A walk as cheap as can be: it looks at no key. */
function plain(value: unknown, depth: number): boolean {
  if (typeof value !== "object") {
    return typeof value === "string" || typeof value === "boolean" || typeof value === "number" && plainNumber(value);
  }
  if (value === null) return true;
  if (depth >= MAX_DEPTH) return false;
  const prototype = Object.getPrototypeOf(value);
  if (prototype === Object.prototype || prototype === null) return plainFields(value as Fields, depth);
  if (prototype !== Array.prototype || !Array.isArray(value)) return false;
  for (let i = 0; i < value.length; i++) if (!plain(value[i], depth + 1)) return false;
  return true;
}

function plainFields(fields: Fields, depth: number): boolean {
  let empty = true;
  for (const key in fields) {
    const value = fields[key];
    if (typeof value !== "string" && !plain(value, depth + 1)) return false;
    empty = false;
  }
  return !empty || !platform(fields);
}

/** False for what JSON has no word for, and for whole numbers that would come back as bigints. */
function plainNumber(value: number): boolean {
  if (value === 0) return !Object.is(value, -0);
  return Math.abs(value) <= Number.MAX_SAFE_INTEGER || Math.abs(value) >= 1e21 && Number.isFinite(value);
}

/** One search over the text costs less than a look at each key. */
function withoutTags(text: string): string | undefined {
  return text.includes("__") ? undefined : text;
}

/** An object of the platform that holds its state elsewhere: `Math`, `Intl`, `JSON`, a module. */
function platform(fields: object): boolean {
  return Symbol.toStringTag in fields;
}

/** Writes one body. */
export class Writer {
  readonly #classes: Classes;
  /** Where it is: the keys, the objects, and how many levels of JSON these make. */
  readonly #path: PropertyKey[] = [];
  readonly #open: object[] = [];
  #depth = 0;

  /** A writer for one body. */
  constructor(classes: Classes) {
    this.#classes = classes;
  }

  /** A whole body: PyMQ tags a bare `null`, and a list of objects as a whole. */
  body(value: unknown): string {
    if (value === null) return tagged("NoneType", "null");
    return this.#uniform(value) ?? this.value(value);
  }

  /** A value inside a body. */
  value(value: unknown): string {
    switch (typeof value) {
      case "string":
        return JSON.stringify(value);
      case "number":
        return writeNumber(value);
      case "boolean":
        return String(value);
      case "bigint":
        return this.#bigint(value);
      case "undefined":
        return this.#leaf(OWN.undefined, "null");
      case "object":
        return value === null ? "null" : this.#object(value);
      default:
        return this.#refuse(`a ${typeof value}`);
    }
  }

  #object(value: object): string {
    this.#enter(value);
    const text = this.#compose(value);
    this.#leave();
    return text;
  }

  #compose(value: object): string {
    const prototype = Object.getPrototypeOf(value);
    switch (prototype) {
      case null:
      case Object.prototype:
        if (platform(value)) return this.#refuse("an object of the platform");
        return this.#record(value as Fields);
      case Array.prototype:
        return this.#array(value as unknown[]);
      case Date.prototype:
        return tagged(OWN.date, JSON.stringify(value));
      case Map.prototype:
        return this.#boxed(OWN.map, value as Map<unknown, unknown>);
      case Set.prototype:
        return this.#boxed(OWN.set, value as Set<unknown>);
    }
    if (value instanceof Uint8Array) return tagged(OWN.bytes, JSON.stringify(value.toBase64()));
    const verdict = this.#classes.judge(prototype);
    if ("refused" in verdict) return this.#refuse(verdict.refused);
    return this.#record(value as Fields, verdict);
  }

  #record(fields: Fields, verdict?: { tag: string; json: string }): string {
    const text = this.#plainFields(fields);
    if (text === undefined && hasSpecial(fields)) return this.#raw(verdict?.tag ?? "dict", fields);
    const inner = text ?? this.#fields(fields);
    return verdict ? `{${inner}${inner && ","}"__type":${verdict.json}}` : `{${inner}}`;
  }

  #array(values: unknown[]): string {
    const text = plain(values, this.#depth - 1) ? withoutTags(JSON.stringify(values)) : undefined;
    return text ?? `[${this.#elements(values)}]`;
  }

  #elements(values: Iterable<unknown>): string[] {
    const texts: string[] = [];
    for (const value of values) texts.push(this.#child(texts.length, value));
    return texts;
  }

  #boxed(tag: string, values: Iterable<unknown>): string {
    this.#deepen();
    const texts = this.#elements(values);
    this.#depth--;
    // Python knows sets too, but none that hold a list or a dict.
    const python = tag === OWN.set && texts.every((text) => text[0] !== "{" && text[0] !== "[");
    return tagged(python ? "set" : tag, `[${texts}]`);
  }

  /** PyMQ's form for a list of instances of one class: the tag once. */
  #uniform(value: unknown): string | undefined {
    if (!Array.isArray(value) || typeof value[0] !== "object" || value[0] === null) return undefined;
    const prototype = Object.getPrototypeOf(value[0]);
    if (prototype === null || prototype === Object.prototype) return undefined;
    const verdict = this.#classes.judge(prototype);
    const alike = (element: unknown) =>
      typeof element === "object" && element !== null && Object.getPrototypeOf(element) === prototype &&
      !hasSpecial(element);
    if ("refused" in verdict || !value.every(alike)) return undefined;
    this.#enter(value);
    this.#deepen();
    const list = value.map((element: Fields, i) => {
      this.#path.push(i);
      this.#enter(element);
      const fields = this.#plainFields(element) ?? this.#fields(element);
      this.#leave();
      this.#path.pop();
      return `{${fields}}`;
    });
    return `{"__list":[${list}],"__type":${verdict.json}}`;
  }

  /** The fields without braces, where plain JSON says all of them. */
  #plainFields(fields: Fields): string | undefined {
    if (typeof fields.toJSON === "function" || !plainFields(fields, this.#depth - 1)) return undefined;
    return withoutTags(JSON.stringify(fields))?.slice(1, -1);
  }

  /** The fields without braces. What is undefined is left out, so that Python sees it missing, and listed. */
  #fields(fields: Fields): string {
    const parts: string[] = [];
    const missing: string[] = [];
    for (const key of Object.keys(fields)) {
      const value = fields[key];
      if (value === undefined) missing.push(key);
      else parts.push(`${JSON.stringify(key)}:${this.#child(key, value)}`);
    }
    if (missing.length) parts.push(`"__undefined":${JSON.stringify(missing)}`);
    return parts.join();
  }

  /** An object that looks like a tag itself stands whole in a tag, with its fields as they are. */
  #raw(tag: string, fields: Fields): string {
    this.#deepen();
    const parts: string[] = [];
    for (const key of Object.keys(fields)) {
      if (key === "__proto__") return this.#refuse("an object with a key that would change its prototype");
      parts.push(`${JSON.stringify(key)}:${this.#child(key, fields[key])}`);
    }
    this.#depth--;
    return tagged(tag, `{${parts}}`);
  }

  #bigint(value: bigint): string {
    const text = String(value);
    if (text.length > MAX_DIGITS) return this.#refuse(`an integer of more than ${MAX_DIGITS} digits`);
    if (!Number.isSafeInteger(Number(value))) return text;
    return this.#leaf(OWN.bigint, JSON.stringify(text));
  }

  #leaf(tag: string, json: string): string {
    this.#deepen();
    this.#depth--;
    return tagged(tag, json);
  }

  #child(key: PropertyKey, value: unknown): string {
    this.#path.push(key);
    const text = this.value(value);
    this.#path.pop();
    return text;
  }

  #enter(value: object): void {
    if (this.#open.includes(value)) this.#refuse("a cycle");
    this.#open.push(value);
    this.#deepen();
  }

  #leave(): void {
    this.#open.pop();
    this.#depth--;
  }

  #deepen(): void {
    if (++this.#depth > MAX_DEPTH) this.#refuse(`nested more than ${MAX_DEPTH} levels deep`);
  }

  #refuse(reason: string): never {
    const path = [...this.#path];
    const where = path.length ? ` at ${shorten(path)}` : "";
    throw new ValidationError(`Cannot encode the value${where}: it is ${reason}`, [{ message: reason, path }]);
  }
}

function tagged(tag: string, json: string): string {
  return `{"__obj":${json},"__type":${JSON.stringify(tag)}}`;
}

function hasSpecial(value: object): boolean {
  return Object.keys(value).some(special);
}

/** A number as Python writes it; a whole one that is too large to be exact keeps an exponent, which says "a float". */
function writeNumber(value: number): string {
  if (Object.is(value, -0)) return "-0.0";
  return Number.isInteger(value) && !Number.isSafeInteger(value) ? value.toExponential() : String(value);
}

function shorten(path: PropertyKey[]): string {
  const keys = path.length > 12 ? [...path.slice(0, 8), "…", ...path.slice(-3)] : path;
  return keys.map(String).join(".");
}
