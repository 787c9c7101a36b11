/** Reads of a hash that others may have filled, with the replies of a server that this file makes up. */
import { assertEquals } from "@std/assert";
import { describe, it } from "@std/testing/bdd";
import { Buffer } from "node:buffer";
import type { Client } from "../../src/providers/redis/client.ts";
import { type FieldLimits, readFields } from "../../src/providers/redis/hash_fields.ts";

const LIMITS: FieldLimits = { step: 2, fields: 10, bytes: 100 };

/** Reads the fields of these pages. Returns them, whether there are more, and the commands. */
async function reading(pages: readonly (readonly (string | Buffer)[])[], limits: Partial<FieldLimits> = {}) {
  const commands: string[] = [];
  const client = {
    call: (read, ...command) => {
      const at = Number(command[2]);
      commands.push(command.join(" "));
      const next = at + 1 < pages.length ? at + 1 : 0;
      return Promise.resolve(read([Buffer.from(String(next)), pages[at]!.map((each) => Buffer.from(each as string))]));
    },
  } as Client;
  const { found, more } = await readFields(client, "key", { ...LIMITS, ...limits });
  return { found, more, commands };
}

describe("the fields of a hash", () => {
  it("are read in pages, each once", async () => {
    const pages = [["a", "", "b", ""], [], ["b", "", "é", "1"], ["a", ""]];
    assertEquals(await reading(pages, { fields: 3, bytes: 5 }), {
      found: [["a", 1], ["b", 1], ["é", 3]],
      more: false,
      commands: ["0", "1", "2", "3"].map((cursor) => `hscan key ${cursor} count 2`),
    });
  });

  it("are read until they are too many", async () => {
    const { found, more, commands } = await reading([["a", "", "b", ""], ["c", ""], ["d", ""]], { fields: 2 });
    assertEquals([found.length, more, commands.length], [2, true, 2]);
  });

  it("are compared by their bytes, also if they are not UTF-8", async () => {
    const pages = [[Buffer.of(0x80), "", Buffer.of(0x81), "1"], [Buffer.of(0x80), "", "\ufffd", ""]];
    assertEquals((await reading(pages)).found, [["\ufffd", 1], ["\ufffd", 2], ["\ufffd", 3]]);
    assertEquals((await reading(pages, { fields: 2 })).more, true);
  });

  it("are read until they and their values have too many bytes", async () => {
    const pages = [["a", "x".repeat(90)], ["b", "x".repeat(20), "c", ""], ["d", ""]];
    const { found, more, commands } = await reading(pages);
    assertEquals([found, more, commands.length], [[["a", 91]], true, 2]);
  });
});
