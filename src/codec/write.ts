/**
 * The writer of values that plain JSON does not express completely.
 *
 * @module
 */
import { ValidationError } from "../errors.ts";
import type { Classes } from "./classes.ts";
import { type Kind, KINDS, markOf, marksOfAll, sizeOfMissing, writeMarks } from "./marks.ts";
import { PlainParts, platform } from "./plain.ts";
import { breaksPymq, type Fields, MAX_DEPTH, MAX_DIGITS, OWN, prepare, reservedKey } from "./tags.ts";

/** The text of a value in a body. */
export interface Written {
  /** The JSON of the value. */
  readonly json: string;
  /** The type mark as JSON, if the value has one. */
  readonly mark?: string;
  /** The smallest size of a body with its undefined fields (`sizeOfMissing`), if it has any. */
  readonly missing?: number;
}

/** Writes one body. */
export class Writer {
  readonly #classes: Classes;
  readonly #tags: boolean;
  /** The keys that lead to the value that is being written. */
  readonly #path: PropertyKey[] = [];
  /** The objects that contain the value that is being written. */
  readonly #open: object[] = [];
  /** The current level of nesting. */
  #depth = 0;
  readonly #plain = new PlainParts();
  /** The smallest size of a body with the undefined fields so far, and whether values share the marks that add them. */
  #missing = 0;
  #share = true;
  /** The mark of the last written value: its kind, the marks in it, and the order of its keys. */
  #kind: Kind | undefined;
  #within: string | undefined;
  #keys: string | undefined;

  /** Creates a writer for one body. With `tags`, it writes tags in place of marks. */
  constructor(classes: Classes, tags = false) {
    this.#classes = classes;
    this.#tags = tags;
  }

  /** Writes a whole body. As in PyMQ, a bare `null`, a value of another type than JSON's and a list of instances have a tag. */
  body(value: unknown): string {
    const text = this.#body(value);
    if (this.#missing <= text.length || !this.#share) return text;
    this.#share = false;
    return this.#body(value);
  }

  #body(value: unknown): string {
    if (value === null) return tagged("NoneType", "null");
    const uniform = this.#uniform(value);
    if (uniform !== undefined) return uniform + writeMarks(this.#mark());
    const json = this.value(value);
    const tag = this.#tagOf(value);
    if (tag === undefined) return json + writeMarks(this.#mark());
    // the tag replaces the kind, except that of a map
    if (!(value instanceof Map)) this.#kind = undefined;
    const mark = this.#mark();
    return tagged(tag, json) + writeMarks(mark && `{"__obj":${mark}}`);
  }

  /** Writes a value that becomes a part of a body. */
  written(value: unknown): Written {
    const json = this.value(value);
    const mark = this.#mark();
    if (this.#share && this.#missing > json.length) {
      this.#share = false;
      this.#missing = 0;
      return this.written(value);
    }
    return mark === undefined ? { json } : { json, mark, missing: this.#missing };
  }

  /** Writes the JSON of a value, and leaves its mark in the fields of this writer. */
  value(value: unknown): string {
    this.#marked();
    const json = this.#json(value);
    const kind = this.#kind;
    if (!this.#tags || kind === undefined) return json;
    this.#marked();
    return tagged(KINDS.get(kind) ?? kind.slice(1), json);
  }

  #json(value: unknown): string {
    switch (typeof value) {
      case "string":
        return JSON.stringify(value);
      case "number":
        if (this.#tags && !Number.isFinite(value)) return tagged(OWN.number, `"${value}"`);
        return writeNumber(value);
      case "boolean":
        return String(value);
      case "bigint":
        return this.#bigint(value);
      case "undefined":
        return this.#marked("U"), "null";
      case "object":
        return value === null ? "null" : this.#object(value);
      default:
        return this.#refuse(`a ${typeof value}`);
    }
  }

  #mark(): string | undefined {
    return this.#kind === undefined ? this.#within : markOf(this.#kind, this.#within, this.#keys);
  }

  #marked(kind?: Kind, within?: string, keys?: string): void {
    this.#kind = kind;
    this.#within = within;
    this.#keys = keys;
  }

  /** Returns the tag that the value needs as a whole body, because PyMQ has a tag for it or would misread its JSON. */
  #tagOf(value: unknown): string | undefined {
    switch (this.#kind) {
      case undefined:
        return Array.isArray(value) && value.some(breaksPymq) ? "list" : undefined;
      case "N":
        return undefined;
      case "M":
        return dictKeys(value as Map<unknown, unknown>)?.some(reservedKey) ? "dict" : undefined;
      case "S":
        return pythonSet(value as Set<unknown>) ? "set" : undefined;
      default:
        return KINDS.get(this.#kind) ?? this.#kind.slice(1);
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
        return this.#marked("D"), JSON.stringify(value);
      case Map.prototype:
        return this.#map(value as Map<unknown, unknown>);
      case Set.prototype:
        return this.#list(value as Set<unknown>, "S");
    }
    if (value instanceof Uint8Array) return this.#marked("B"), JSON.stringify(value.toBase64());
    const found = this.#classes.tagOf(prototype);
    if ("refused" in found) return this.#refuse(found.refused);
    return this.#record(value as Fields, found);
  }

  #record(fields: Fields, found?: { tag: string; json: string }): string {
    const text = this.#plainFields(fields);
    if (text === undefined && hasReservedKey(fields)) return this.#raw(found ? `@${found.tag}` : "R", fields);
    const inner = text ?? this.#fields(fields);
    return found ? `{${inner}${inner && ","}"__type":${found.json}}` : `{${inner}}`;
  }

  #array(values: unknown[]): string {
    return this.#plain.has(values, this.#depth - 1) ? JSON.stringify(values) : this.#list(values);
  }

  #list(values: Iterable<unknown>, kind?: Kind): string {
    const texts: string[] = [];
    const marks: string[] = [];
    for (const value of values) {
      const text = this.#child(texts.length, value);
      const mark = this.#mark();
      if (mark !== undefined) marks[texts.length] = mark;
      texts.push(text);
    }
    this.#marked(kind, marksOfAll(marks, texts, this.#share));
    return `[${texts}]`;
  }

  /** Writes a map as a dictionary if all its keys are strings, otherwise as a list of pairs. */
  #map(map: Map<unknown, unknown>): string {
    const keys = this.#tags ? undefined : dictKeys(map);
    if (!keys) return this.#list(map, "M");
    const parts: string[] = [];
    const marks: string[] = [];
    for (const key of keys) {
      const text = this.#child(key, map.get(key));
      const mark = this.#mark();
      if (mark !== undefined) marks[parts.length] = mark;
      parts.push(`${JSON.stringify(key)}:${text}`);
    }
    // an object has integer keys first
    const fields: Fields = prepare(Object.create(null), keys);
    for (const key of keys) fields[key] = undefined;
    const sorted = Object.keys(fields);
    const same = sorted.every((key, i) => key === keys[i]);
    this.#marked("M", marksOfAll(marks, parts, this.#share, keys), same ? undefined : JSON.stringify(keys));
    return `{${parts}}`;
  }

  /**
   * Writes a list of instances of one class with the tag once, as PyMQ does. Python cannot import a class without a dot in its name:
   * such a list has marks in place of the tag, and Python gets dictionaries.
   */
  #uniform(value: unknown): string | undefined {
    if (!Array.isArray(value) || typeof value[0] !== "object" || value[0] === null) return undefined;
    const prototype = Object.getPrototypeOf(value[0]);
    if (prototype === null || prototype === Object.prototype) return undefined;
    const found = this.#classes.tagOf(prototype);
    const alike = (element: unknown) =>
      typeof element === "object" && element !== null && Object.getPrototypeOf(element) === prototype &&
      !hasReservedKey(element);
    if ("refused" in found || !value.every(alike)) return undefined;
    const python = found.tag.includes(".");
    const marks: string[] = [];
    this.#enter(value);
    const list = value.map((element: Fields, i) => {
      this.#path.push(i);
      this.#enter(element);
      this.#marked();
      const fields = this.#plainFields(element) ?? this.#fields(element);
      this.#leave();
      this.#path.pop();
      const mark = markOf(python ? undefined : `@${found.tag}`, this.#within);
      if (mark !== undefined) marks[i] = mark;
      return `{${fields}}`;
    });
    const within = marksOfAll(marks, list, this.#share);
    this.#marked(undefined, python ? within && `{"__list":${within}}` : within);
    return python ? `{"__list":[${list}],"__type":${found.json}}` : `[${list}]`;
  }

  /** Writes the fields without braces, if plain JSON expresses them completely. */
  #plainFields(fields: Fields): string | undefined {
    if (typeof fields.toJSON === "function" || !this.#plain.hasFields(fields, this.#depth - 1)) return undefined;
    return JSON.stringify(fields).slice(1, -1);
  }

  /** Writes the fields without braces. Undefined fields are left out, so that they are missing in Python. */
  #fields(fields: Fields): string {
    const parts: string[] = [];
    let marks = "";
    let missing = "";
    for (const key of Object.keys(fields)) {
      const value = fields[key];
      const name = JSON.stringify(key);
      if (value === undefined && !this.#tags) {
        missing += `,${name}:"U"`;
        this.#missing += sizeOfMissing(key);
        continue;
      }
      parts.push(`${name}:${this.#child(key, value)}`);
      const mark = this.#mark();
      if (mark !== undefined) marks += `,${name}:${mark}`;
    }
    marks += missing; // revived fields that were undefined come last
    this.#marked(undefined, marks === "" ? undefined : `{${marks.slice(1)}}`);
    return parts.join();
  }

  /** Writes an object whose keys look like a tag. */
  #raw(kind: Kind, fields: Fields): string {
    if (Object.hasOwn(fields, "__proto__")) return this.#refuse("an object with a key that would change its prototype");
    const inner = this.#fields(fields);
    this.#kind = kind;
    return `{${inner}}`;
  }

  #bigint(value: bigint): string {
    const text = String(value);
    if (text.length > MAX_DIGITS) return this.#refuse(`an integer of more than ${MAX_DIGITS} digits`);
    if (Number.isSafeInteger(Number(value))) this.#marked("N");
    return text;
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

/** Returns whether Python can represent this set, whose elements must not be lists or dictionaries. */
export function pythonSet(set: Set<unknown>): boolean {
  for (const element of set) {
    const scalar = typeof element !== "object" || element === null || element instanceof Date ||
      element instanceof Uint8Array;
    if (!scalar) return false;
  }
  return true;
}

/** Returns the keys of a map that Python can read as a dictionary, or undefined if it cannot. */
export function dictKeys(map: Map<unknown, unknown>): string[] | undefined {
  const keys = [...map.keys()];
  return keys.every((key) => typeof key === "string" && key !== "__proto__") ? keys as string[] : undefined;
}

function hasReservedKey(value: object): boolean {
  return Object.keys(value).some(reservedKey);
}

/** Writes a number as Python does. An integer too large to be exact gets an exponent, so that Python reads a float. */
function writeNumber(value: number): string {
  if (Object.is(value, -0)) return "-0.0";
  return Number.isInteger(value) && !Number.isSafeInteger(value) ? value.toExponential() : String(value);
}

function shorten(path: PropertyKey[]): string {
  const keys = path.length > 12 ? [...path.slice(0, 8), "…", ...path.slice(-3)] : path;
  return keys.map(String).join(".");
}
