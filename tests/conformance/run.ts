/** Runs the kit: one test for each case, the skipped ones with their reason. */
import { it } from "@std/testing/bdd";
import { conformance, type Harness } from "../../src/conformance.ts";
import { skip } from "../support/skip.ts";

/** Registers the kit's cases for this harness. */
export function kit(harness: Harness): void {
  for (const { name, skip: reason, run } of conformance(harness)) {
    if (reason === undefined) it(name, run);
    else skip(name, reason);
  }
}
