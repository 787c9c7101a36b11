/**
 * Cases that a program shows as a plain user with default limits.
 *
 * @module
 */
import { assertEquals, assertMatch } from "@std/assert";
import { describe, it } from "@std/testing/bdd";
import { skip } from "../support/skip.ts";
import { allOf, fresh, noOtherUser, notMountable, runAs } from "./ground.ts";

/** A case: the value that the program prints as JSON, and its arguments `what`, the namespace and the counts. */
export type Shown = readonly [name: string, expected: unknown, what: string, ...counts: number[]];

/** Runs the program once for each case as a user of this run alone, so that no other queues count. */
export function describePlainUser(program: URL, cases: readonly Shown[]): void {
  const user = 40_000 + Math.floor(Math.random() * 20_000);
  describe("a plain user with default limits", () => {
    const missing = noOtherUser(program);
    for (const [name, expected, what, ...counts] of cases) {
      if (missing) {
        skip(name, missing);
        continue;
      }
      it(name, async () => {
        const { output } = await runAs(user, program, what, fresh(), ...counts.map(String));
        assertMatch(output, /^\{.*\}$/m);
        assertEquals(JSON.parse(/^\{.*\}$/m.exec(output)![0]), expected, output);
      });
    }
    const nothing = "has left nothing behind";
    const blind = missing ?? notMountable();
    if (blind) skip(nothing, blind);
    else it(nothing, () => assertEquals(allOf(user), []));
  });
}
