/** Each program in `examples/` runs to its end by itself. */
import { assertEquals, assertMatch } from "@std/assert";
import { describe } from "@std/testing/bdd";
import { readdirSync } from "node:fs";
import { Peer } from "./support/peer.ts";
import { itNeeds } from "./support/skip.ts";
import { missing } from "./support/tools.ts";

/** What each says near its end. A new example has to be told here. */
const SAYS: Record<string, RegExp> = {
  "demo.ts": /table 6 gets its cake, made by cook (Ada|Bo)[^]*cashier was called 6 times[^]*everybody has gone home/,
};
/** No program of its own. */
const SHARED = ["providers.ts"];

describe("an example", () => {
  const folder = new URL("../examples/", import.meta.url);
  const it = itNeeds(missing("redis-server"));

  it("is known here", () => {
    const programs = readdirSync(folder).filter((file) => file.endsWith(".ts") && !SHARED.includes(file));
    assertEquals(programs.sort(), Object.keys(SAYS).sort());
  });

  for (const [file, says] of Object.entries(SAYS)) {
    it(`runs to its end: ${file}`, async () => {
      await using peer = Peer.start(new URL(file, folder));
      assertEquals(await peer.wait(60_000), { code: 0, signal: null }, peer.output);
      assertMatch(peer.output, says);
    });
  }
});
