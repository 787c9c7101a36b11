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

/** A user of this run alone, so that no other queues count. */
export const PLAIN_USER: number = 40_000 + Math.floor(Math.random() * 20_000);

/** Runs the program once for each case as {@linkcode PLAIN_USER}. */
export function describePlainUser(program: URL, cases: readonly Shown[]): void {
  describe("a plain user with default limits", () => {
    const missing = noOtherUser(program);
    for (const [name, expected, what, ...counts] of cases) {
      if (missing) {
        skip(name, missing);
        continue;
      }
      it(name, async () => {
        const { output } = await runAs(PLAIN_USER, program, what, fresh(), ...counts.map(String));
        assertMatch(output, /^\{.*\}$/m);
        assertEquals(JSON.parse(/^\{.*\}$/m.exec(output)![0]), expected, output);
      });
    }
    const nothing = "has left nothing behind";
    const blind = missing ?? notMountable();
    if (blind) skip(nothing, blind);
    else it(nothing, () => assertEquals(allOf(PLAIN_USER), []));
  });
}
