/** Runs `tsmq doctor` and parses its checks. */
import { assertEquals } from "@std/assert";
import type { Check } from "../../src/provider/admin.ts";
import { type RunOptions, tsmq } from "./run.ts";

/** The checks of `tsmq doctor` and its exit code. */
export interface Diagnosis {
  readonly code: number | null;
  readonly checks: Check[];
  /** The checks that are not "ok", without the given names. */
  notOk(...but: string[]): string[];
  /** The check of this name. */
  of(name: string): Check;
}

/** Runs `tsmq doctor` and asserts that it reports every problem as a check with advice, never as an error. */
export async function diagnose(
  url: string,
  args: readonly string[] = [],
  options: RunOptions = {},
): Promise<Diagnosis> {
  const { code, lines, errors } = await tsmq(["doctor", url, "--json", ...args], options);
  assertEquals(errors, []);
  const checks = lines.filter((line) => line.startsWith("{")).map((line) => JSON.parse(line) as Check);
  for (const { name, state, mend } of checks) assertEquals([name, mend !== undefined], [name, state !== "ok"]);
  assertEquals(code, checks.some(({ state }) => state === "broken") ? 1 : 0);
  return {
    code,
    checks,
    notOk: (...but) =>
      checks.filter(({ name, state }) => state !== "ok" && !but.includes(name)).map(({ name, state }) =>
        `${name}: ${state}`
      ),
    of: (name) => checks.find((check) => check.name === name) ?? { name, state: "ok", detail: "not checked" },
  };
}
