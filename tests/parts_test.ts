/** A part of a large text that is kept must not keep the text: a limit counts the part only. */
// run: on deno
import { assert, assertEquals } from "@std/assert";
import { describe, it } from "@std/testing/bdd";
import { Peer } from "./support/peer.ts";

describe("a small part of a large text", () => {
  it("does not keep the text in memory", async () => {
    await using peer = Peer.start<{ what: string; grown: number }>(new URL("parts_peer.ts", import.meta.url), {
      permissions: ["-A", "--v8-flags=--expose-gc"],
    });
    const all: { what: string; grown: number }[] = [];
    while (all.length < 15) all.push(await peer.next());
    // 32 texts of 512 KiB, or of 180 KB on a POSIX queue
    assertEquals(all.filter(({ grown }) => grown > 3 * 2 ** 20), []);
    assert(all.every(({ grown }) => Number.isFinite(grown)));
  });
});
