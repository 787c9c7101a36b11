/**
 * The reviver: it restores the types of parsed JSON.
 *
 * @module
 */
import { ValidationError } from "../errors.ts";
import { Collections } from "./collections.ts";
import { missingBytes, MOST_TYPED, typeBytes } from "./held_bytes.ts";
import { bigint, bytes, date, malformed } from "./scalars.ts";
import { type Classes, type EventClass, reviveOf, schemaOf } from "./classes.ts";
import { bare, isPlain, isRecord, make, put } from "./instances.ts";
import { type Kind, kindIn, KINDS, type Mark, markAt, sizeOfMissing, type Within, withinOf } from "./marks.ts";
import { type Fields, MAX_DEPTH, OWN, prepare } from "./tags.ts";
import { after, later, Validations } from "./validations.ts";

/**
 * The largest number of marked keys: `each` for each character of a body, and `any` more for the whole body. One mark may describe all
 * elements of a list, so without a limit, marks could take quadratic time. tsmq writes at most three for four characters.
 */
const MAX_KEYS = { each: 1, any: 1_000 };
/** The number of characters that count for the undefined fields of each body, in addition to its own (`sizeOfMissing`). */
const FREE = 4_000;

/** The keys that marks describe, and those of them that are fields that were undefined. */
interface MarkedKeys {
  readonly all: readonly string[];
  readonly missing: readonly string[];
}

const NO_KEYS: MarkedKeys = { all: [], missing: [] };
/** One mark may describe all elements of a list, and on Bun the keys of one object may take 0.3 ms. */
const keysIn = new WeakMap<object, MarkedKeys>();

/** Returns the tag of an object from the wire, if it is a tagged one. */
export function tagIn(value: unknown): string | undefined {
  if (!isRecord(value)) return undefined;
  const { __type: tag, __obj: content, __list: list } = value;
  if (typeof tag !== "string" || tag === "" || !Object.hasOwn(value, "__type")) return undefined;
  if (content === undefined && list === undefined) return tag;
  return Object.keys(value).filter((key) => key !== "__proto__").length === 2 ? tag : undefined;
}

/**
 * Restores the types of the values of one body, from tags (PyMQ and older versions of tsmq write them) and from marks. It changes the
 * arrays and objects of the parser in place.
 */
export class Reviver {
  readonly #classes: Classes;
  readonly #tags: boolean;
  #length = 0;
  /** The number of marked keys, and the size of undefined fields, that the rest of the body may still have. */
  #keys = 0;
  #missing = 0;
  #bytes = 0;
  readonly #collections = new Collections();
  readonly #validations = new Validations();

  /** Creates a reviver for instances of these classes. `tags`: whether bodies may contain tags. */
  constructor(classes: Classes, tags: boolean) {
    this.#classes = classes;
    this.#tags = tags;
  }

  /**
   * About how many bytes the value of the body takes in addition to that of its JSON, because of its types: at most, while a part of it waits
   * for schemas.
   */
  get bytes(): number {
    return this.#validations.waiting ? MOST_TYPED * this.#length : this.#bytes;
  }

  /**
   * Revives the value of a body of this length. Returns a promise if the schema of a class is asynchronous. The reviver is then the body's:
   * it must not revive another one.
   */
  body(value: unknown, mark: Mark | undefined, length: number): unknown {
    this.#length = length;
    this.#keys = MAX_KEYS.any + MAX_KEYS.each * length;
    this.#missing = FREE + length;
    this.#begin();
    const revived = this.revive(value, mark);
    if (revived instanceof Promise) revived.catch((error) => this.#validations.stop(error));
    return revived;
  }

  /** Revives a body that is a tagged list whose elements have no tags. */
  list(tag: string, list: unknown[]): unknown {
    this.#begin();
    this.#bytes += typeBytes(tag);
    return this.apply(tag, list);
  }

  #begin(): void {
    this.#bytes = 0;
    this.#collections.begin();
  }

  /** Revives a value and all values in it. Returns a promise if the schema of a class is asynchronous. */
  revive(value: unknown, mark?: Mark, depth = 0): unknown {
    if (mark === undefined && !this.#tags) return value;
    const kind = mark === undefined ? undefined : kindIn(mark);
    if (kind !== undefined) return this.#marked(kind, value, mark!, depth);
    if (typeof value !== "object" || value === null) return mark === undefined ? value : malformed("mark");
    if (depth >= MAX_DEPTH) tooDeep();
    const within = withinOf(mark);
    if (Array.isArray(value)) return after(this.#elements(value, within, depth), () => value);
    const fields = value as Fields;
    const tag = this.#tags ? tagIn(fields) : undefined;
    if (tag === undefined) return this.#plain(fields, within, depth);
    const inside = depth && depth + 1; // the tag of a whole body does not count as a level
    if (fields.__list !== undefined) return this.#list(tag, fields.__list, markAt(within, "__list"), inside);
    this.#bytes += typeBytes(tag);
    if (fields.__obj !== undefined) return this.#boxed(tag, fields.__obj, markAt(within, "__obj"), inside);
    return this.#flat(tag, fields, within, depth);
  }

  /** Applies a tag to a value whose parts are already revived. An unknown tag has no effect. */
  apply(tag: string, value: unknown): unknown {
    switch (tag) {
      case "set":
        return Array.isArray(value) ? this.#collections.set(value) : value;
      case OWN.set:
        return Array.isArray(value) ? this.#collections.set(value) : malformed(tag);
      case OWN.map:
        return Array.isArray(value) ? this.#map(value) : malformed(tag);
      case OWN.undefined:
        return value === null ? undefined : malformed(tag);
      case OWN.date:
        return date(value);
      case OWN.bigint:
        return bigint(value);
      case OWN.bytes:
        return bytes(value);
      case OWN.number:
        return ["NaN", "Infinity", "-Infinity"].includes(value as string) ? Number(value) : malformed(tag);
    }
    const type = this.#classes.get(tag);
    return type ? this.#instance(type, tag, value) : value;
  }

  /** Revives a value whose mark has a kind, so that its own keys are not a tag. */
  #marked(kind: Kind, value: unknown, mark: Mark, depth: number): unknown {
    const content = this.#content(value, mark, depth);
    const type = this.#classes.ofMark(kind);
    if (type) return after(content, (value) => this.#instance(type, kind.slice(1), value));
    const tag = KINDS.get(kind);
    if (tag === undefined) return content; // a class that is not registered, or a kind of a later version
    this.#bytes += typeBytes(tag);
    if (tag === OWN.map) return after(content, (value) => this.#map(value, Array.isArray(mark) ? mark[2] : undefined));
    return after(content, (value) => this.apply(tag, value));
  }

  /** Revives the values in a value whose own keys are not a tag. */
  #content(value: unknown, mark: Mark | undefined, depth: number): unknown {
    const within = withinOf(mark);
    if (typeof value !== "object" || value === null) return within === undefined ? value : malformed("mark");
    if (depth >= MAX_DEPTH) tooDeep();
    if (Array.isArray(value)) return after(this.#elements(value, within, depth), () => value);
    return this.#copy(value as Fields, {}, within, depth);
  }

  #plain(fields: Fields, within: Within | undefined, depth: number): unknown {
    const missing = this.#tags ? missingIn(fields) : undefined;
    if (missing || Object.hasOwn(fields, "__proto__")) return this.#copy(fields, {}, within, depth, undefined, missing);
    const marked = this.#keysOf(within);
    const keys = this.#tags || Array.isArray(within) ? Object.keys(fields) : marked.all;
    const revived = this.#validations.each(keys.length, (i) => {
      const key = keys[i]!;
      if (!Object.hasOwn(fields, key)) return undefined;
      const child = fields[key];
      const mark = markAt(within, key);
      if (mark === undefined && (typeof child !== "object" || child === null)) return undefined;
      const revived = this.revive(child, mark, depth + 1);
      // the key is an own one of a parsed object, so the assignment reaches no setter
      if (revived instanceof Promise) return later(revived, (value) => fields[key] = value);
      if (revived !== child) fields[key] = revived;
      return undefined;
    });
    return after(revived, () => {
      this.#addMissing(marked, fields);
      return fields;
    });
  }

  /** Revives an object whose tag is among its fields. */
  #flat(tag: string, fields: Fields, within: Within | undefined, depth: number): unknown {
    const type = this.#classes.get(tag);
    const direct = type && !schemaOf(type) && !reviveOf(type);
    const copied = this.#copy(fields, direct ? bare(type) : {}, within, depth, "__type", missingIn(fields));
    return direct ? copied : after(copied, (value) => this.apply(tag, value));
  }

  /** Revives an object that has its value in `__obj`. The keys of that value are not a tag. */
  #boxed(tag: string, content: unknown, mark: Mark | undefined, depth: number): unknown {
    const raw = isRecord(content) && (mark === undefined || kindIn(mark) === undefined);
    const value = raw ? this.#content(content, mark, depth) : this.revive(content, mark, depth);
    return after(value, (value) => this.apply(tag, value));
  }

  /** Returns the revived fields without the tag. `missing` are the keys of fields that were undefined. */
  #copy(
    fields: Fields,
    target: Fields,
    within: Within | undefined,
    depth: number,
    tagKey?: string,
    missing?: string[],
  ): unknown {
    if (depth >= MAX_DEPTH) tooDeep();
    const keys = Object.keys(fields);
    prepare(target, missing ? [...keys, ...missing] : keys);
    const revived = this.#validations.each(keys.length, (i) => {
      const key = keys[i]!;
      if (key === "__proto__" || key === tagKey || missing && key === "__undefined") return undefined;
      const revived = this.revive(fields[key], markAt(within, key), depth + 1);
      // a promise is assigned too, so that the key keeps its place
      put(target, key, revived);
      return revived instanceof Promise ? later(revived, (value) => put(target, key, value)) : undefined;
    });
    return after(revived, () => {
      for (const key of missing ?? []) if (key !== "__proto__") this.#miss(target, key);
      this.#addMissing(this.#keysOf(within), target);
      return target;
    });
  }

  /** Adds the fields that marks show as undefined: JSON leaves them out. */
  #addMissing(marked: MarkedKeys, target: Fields): void {
    if (marked.missing.length === 0) return;
    const missing = marked.missing.filter((key) => !Object.hasOwn(target, key));
    for (const key of missing) this.#missing -= sizeOfMissing(key);
    if (this.#missing < 0) tooManyMarks();
    prepare(target, missing);
    for (const key of missing) this.#miss(target, key);
  }

  #miss(target: Fields, key: string): void {
    put(target, key, undefined);
    this.#bytes += missingBytes(key);
  }

  /** Revives PyMQ's list of instances of one class, which have no tags of their own. */
  #list(tag: string, list: unknown, mark: Mark | undefined, depth: number): unknown {
    if (!Array.isArray(list)) return this.revive(list, mark, depth + 1);
    return after(this.#elements(list, withinOf(mark), depth, tag), () => list);
  }

  /** Revives the elements of a list. `tag` applies to each that has no own one. */
  #elements(list: unknown[], within: Within | undefined, depth: number, tag?: string): Promise<unknown> | undefined {
    const revive = (i: number) => {
      const applies = tag !== undefined && tagIn(list[i]) === undefined;
      if (applies) this.#bytes += typeBytes(tag);
      const revived = this.revive(list[i], markAt(within, i), depth + 1);
      const done = applies ? after(revived, (element) => this.apply(tag, element)) : revived;
      if (done instanceof Promise) return later(done, (element) => list[i] = element);
      list[i] = done;
      return undefined;
    };
    if (this.#tags || Array.isArray(within)) return this.#validations.each(list.length, revive);
    const keys = this.#keysOf(within).all;
    return this.#validations.each(keys.length, (i) => {
      return keys[i] !== "length" && Object.hasOwn(list, keys[i]!) ? revive(Number(keys[i])) : undefined;
    });
  }

  /** Creates a Map from a list of pairs, or from an object and the order of its `keys`. */
  #map(value: unknown, keys?: unknown): Map<unknown, unknown> {
    if (Array.isArray(value) && value.every(isPair)) return this.#collections.map(value);
    if (!isPlain(value)) return malformed(OWN.map);
    if (keys === undefined) return this.#collections.map(Object.entries(value));
    const { length } = Object.keys(value);
    // one mark may give these keys to many values: a longer list than the value needs is refused before the work
    if (!Array.isArray(keys) || keys.length !== length || !keys.every(isString)) return malformed(OWN.map);
    const map = this.#collections.map(keys.map((key) => [key, value[key]]));
    return map.size === length && keys.every((key) => Object.hasOwn(value, key)) ? map : malformed(OWN.map);
  }

  /** Creates an instance of a class from its fields, or from what its schema makes of a value. */
  #instance(type: EventClass, tag: string, value: unknown): unknown {
    if (value instanceof type) return value;
    const schema = schemaOf(type);
    if (!schema) return isPlain(value) ? make(type, tag, value) : value;
    return after(this.#validations.validate(schema, value, `"${tag}"`), (output) => {
      if (output instanceof type) return output;
      if (!isPlain(output)) throw new ValidationError(`Cannot accept "${tag}": its schema did not return an object`);
      return make(type, tag, output);
    });
  }

  /** Returns the keys that marks describe, and counts them. */
  #keysOf(within: Within | undefined): MarkedKeys {
    if (typeof within !== "object" || within === null || Array.isArray(within)) return NO_KEYS;
    let keys = keysIn.get(within);
    if (!keys) {
      const all = Object.keys(within);
      keys = { all, missing: all.filter((key) => markAt(within, key) === "U" && key !== "__proto__") };
      keysIn.set(within, keys);
    }
    this.#keys -= keys.all.length;
    if (this.#keys < 0) tooManyMarks();
    return keys;
  }
}

function missingIn(fields: Fields): string[] | undefined {
  const { __undefined: keys } = fields;
  if (!Array.isArray(keys)) return undefined;
  return keys.every((key) => typeof key === "string" && !Object.hasOwn(fields, key)) ? keys : undefined;
}

function isString(value: unknown): value is string {
  return typeof value === "string";
}

function isPair(value: unknown): value is [unknown, unknown] {
  return Array.isArray(value) && value.length === 2;
}

function tooManyMarks(): never {
  throw new ValidationError("Cannot read a body: its type marks describe more values than it has");
}

function tooDeep(): never {
  throw new ValidationError(`Cannot read a body: nested more than ${MAX_DEPTH} levels deep`);
}
