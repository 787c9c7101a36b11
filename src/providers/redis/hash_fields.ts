/**
 * Reads the fields of a hash that other clients may have filled. It uses HSCAN, because a script would put each name into Lua's table of
 * strings, whose hash has no secret: names can be chosen so that each is compared with all before it, while the server does nothing else.
 *
 * @module
 */
import { textSet } from "../../internal/text_map.ts";
import { utf8 } from "../../internal/utf8.ts";
import type { Client } from "./client.ts";
import { page, pairs } from "./replies.ts";

/** The limits of {@linkcode readFields}. */
export interface FieldLimits {
  /** The number of fields that the server looks at for each reply. */
  readonly step: number;
  /** The largest number of fields. */
  readonly fields: number;
  /** The largest number of bytes of all fields and their values. */
  readonly bytes: number;
}

/** The fields of a hash. */
export interface Fields {
  /** The text of each field, and the bytes of the field and its value. Fields that are not UTF-8 may have the same text. */
  readonly found: readonly (readonly [field: string, bytes: number])[];
  /** Whether there are more than the limits allow. */
  readonly more: boolean;
}

/** Reads the fields of a hash, up to the first one that exceeds the limits. */
export async function readFields(client: Client, key: string, { step, fields, bytes }: FieldLimits): Promise<Fields> {
  const found: [field: string, bytes: number][] = [];
  const seen = textSet([]);
  let [cursor, size] = ["0", 0];
  do {
    const { next, elements } = await client.call(page(pairs), "hscan", key, cursor, "count", String(step));
    for (const [name, value] of elements) {
      const exact = name.toString("latin1"); // the text of bytes that are not UTF-8 is also that of others
      if (seen.has(exact)) continue; // a scan may return fields twice while their number changes
      seen.set(exact, true);
      const length = name.length + value.length;
      size += length;
      if (found.length >= fields || size > bytes) return { found, more: true };
      found.push([utf8(name), length]);
    }
    cursor = next;
  } while (cursor !== "0");
  return { found, more: false };
}
