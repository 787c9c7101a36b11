/**
 * All mutants, and whether each one still has its place in the source.
 *
 * @module
 */
import { existsSync, readFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { casesOf } from "../../src/conformance/case_list.ts";
import { conformance, type Harness } from "../../src/conformance/mod.ts";
import { memory } from "../../src/providers/memory/provider.ts";
import { CORE } from "../../tests/core/subjects.ts";
import { BUS } from "./bus.ts";
import { KEYS } from "./keys.ts";
import type { Mutant } from "./mutant.ts";
import { EVENTS } from "./pubsub.ts";
import { QUEUES } from "./queue.ts";
import { CALLS } from "./rpc.ts";
import { STREAMS } from "./streams.ts";

/** All mutants. */
export const MUTANTS: readonly Mutant[] = [...EVENTS, ...QUEUES, ...CALLS, ...STREAMS, ...KEYS, ...BUS];

const ROOT = fileURLToPath(new URL("../../", import.meta.url));
const HARNESS: Harness = { provider: memory, faults: { cut: () => Promise.resolve() } };
/** All cases. Which of them a transport skips makes no difference to their names. */
const CASES = [...conformance(HARNESS), ...casesOf(CORE, HARNESS)];

/** Returns what is wrong with each mutant whose text does not stand in its file exactly once, or whose tests do not exist. */
export function misplaced(): string[] {
  return MUTANTS.flatMap(({ subject, file, text, tests }) => {
    const content = existsSync(ROOT + file) ? readFileSync(ROOT + file, "utf8") : "";
    const times = content.split(text).length - 1;
    if (times !== 1) return [`"${subject}": its text stands in ${file} ${times} times:\n${text}`];
    const found = typeof tests === "string"
      ? existsSync(ROOT + tests)
      : CASES.some(({ name }) => tests.cases.test(name));
    return found ? [] : [`"${subject}": no test is ${typeof tests === "string" ? tests : tests.cases}`];
  });
}
