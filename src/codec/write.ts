/**
 * Values → text.
 *
 * @module
 */
import { ValidationError } from "../errors.ts";
import type { Classes } from "./classes.ts";
import { type Fields, MAX_DEPTH, MAX_DIGITS, OWN, special } from "./tags.ts";

/** Whether plain JSON says all of a value. One cheap walk; false also for what cannot be sent at all. */
export function plain(value: unknown, depth: number): boolean {
  switch (typeof value) {
    case "string":
    case "boolean":
      return true;
    case "number":
      return plainNumber(value);
    case "object":
      break;
    default:
      return false;
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
    if (special(key) || !plain(fields[key], depth + 1)) return false;
    empty = false;
  }
  return !empty || !platform(fields);
}

/** False for what JSON has no word for, and for whole numbers that would come back as bigints. */
function plainNumber(value: number): boolean {
  if (Number.isInteger(value)) return Number.isSafeInteger(value) ? !Object.is(value, -0) : Math.abs(value) >= 1e21;
  return Number.isFinite(value);
}

/** An object of the platform that holds its state elsewhere: `Math`, `Intl`, `JSON`, a module. */
function platform(fields: object): boolean {
  return Symbol.toStringTag in fields;
}

/** Writes one body. */
export class Writer {
  readonly #classes: Classes;
  readonly #path: PropertyKey[] = [];
  readonly #open = new Set<unknown>();

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
        return number(value);
      case "boolean":
        return String(value);
      case "bigint":
        return this.#bigint(value);
      case "undefined":
        return tagged(OWN.undefined, "null");
      case "object":
        return value === null ? "null" : this.#object(value);
      default:
        return this.#refuse(`a ${typeof value}`);
    }
  }

  /** The elements of a set. */
  elements(set: Set<unknown>): string[] {
    return this.#each([...set]);
  }

  #object(value: object): string {
    const depth = this.#path.length;
    if (plain(value, depth)) return JSON.stringify(value);
    if (depth >= MAX_DEPTH && !this.#open.has(value)) return this.#refuse(`nested more than ${MAX_DEPTH} levels deep`);
    if (this.#open.has(value)) return this.#refuse("a cycle");
    this.#open.add(value);
    const text = this.#compose(value);
    this.#open.delete(value);
    return text;
  }

  #compose(value: object): string {
    if (value instanceof Uint8Array) return tagged(OWN.bytes, JSON.stringify(value.toBase64()));
    const prototype = Object.getPrototypeOf(value);
    switch (prototype) {
      case null:
      case Object.prototype:
        if (platform(value)) return this.#refuse(`an object of the platform`);
        return hasSpecial(value) ? tagged("dict", this.#raw(value as Fields)) : `{${this.#fields(value as Fields)}}`;
      case Array.prototype:
        return `[${this.#each(value as unknown[]).join()}]`;
      case Date.prototype:
        return tagged(OWN.date, JSON.stringify(value));
      case Map.prototype:
        return tagged(OWN.map, `[${this.#each([...value as Map<unknown, unknown>]).join()}]`);
      case Set.prototype:
        return this.#set(value as Set<unknown>);
    }
    const tag = this.#tag(prototype);
    if (hasSpecial(value)) return tagged(tag, this.#raw(value as Fields));
    const fields = this.#fields(value as Fields);
    return `{${fields}${fields && ","}"__type":${JSON.stringify(tag)}}`;
  }

  #tag(prototype: object): string {
    const verdict = this.#classes.judge(prototype);
    return "tag" in verdict ? verdict.tag : this.#refuse(verdict.refused);
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
    if (!("tag" in verdict) || !value.every(alike)) return undefined;
    const list = value.map((element, i) => this.#at(i, () => `{${this.#fields(element)}}`));
    return `{"__list":[${list.join()}],"__type":${JSON.stringify(verdict.tag)}}`;
  }

  /** The fields without braces. What is undefined is left out, so that Python sees it missing, and listed. */
  #fields(fields: Fields): string {
    if (typeof fields.toJSON !== "function" && plainFields(fields, this.#path.length)) {
      return JSON.stringify(fields).slice(1, -1);
    }
    const parts: string[] = [];
    const missing: string[] = [];
    for (const key of Object.keys(fields)) {
      const value = fields[key];
      if (value === undefined) missing.push(key);
      else parts.push(`${JSON.stringify(key)}:${this.#at(key, () => this.value(value))}`);
    }
    if (missing.length) parts.push(`"__undefined":${JSON.stringify(missing)}`);
    return parts.join();
  }

  /** The fields of an object that looks like a tag: they are written as they are, the object stands in a tag of its own. */
  #raw(fields: Fields): string {
    const parts = Object.keys(fields).map((key) =>
      this.#at(key, () => {
        if (key === "__proto__") this.#refuse("a key that would change the prototype");
        return `${JSON.stringify(key)}:${this.value(fields[key])}`;
      })
    );
    return `{${parts.join()}}`;
  }

  #each(values: unknown[]): string[] {
    return Array.from(values, (value, i) => this.#at(i, () => this.value(value)));
  }

  #set(set: Set<unknown>): string {
    const texts = this.elements(set);
    // Python's sets hold no lists and no dicts.
    const hashable = texts.every((text) => text[0] !== "{" && text[0] !== "[");
    return tagged(hashable ? "set" : OWN.set, `[${texts.join()}]`);
  }

  #bigint(value: bigint): string {
    const text = String(value);
    if (text.length > MAX_DIGITS) return this.#refuse(`an integer of more than ${MAX_DIGITS} digits`);
    return Number.isSafeInteger(Number(value)) ? tagged(OWN.bigint, JSON.stringify(text)) : text;
  }

  #at(key: PropertyKey, write: () => string): string {
    this.#path.push(key);
    const text = write();
    this.#path.pop();
    return text;
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
function number(value: number): string {
  if (Object.is(value, -0)) return "-0.0";
  return Number.isInteger(value) && !Number.isSafeInteger(value) ? value.toExponential() : String(value);
}

function shorten(path: PropertyKey[]): string {
  const keys = path.length > 12 ? [...path.slice(0, 8), "…", ...path.slice(-3)] : path;
  return keys.map(String).join(".");
}
