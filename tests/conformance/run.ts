/** Runs the kit with one test for each case. A skipped test has its reason. */
import { type Case, conformance, type Harness } from "../../src/conformance/mod.ts";
import { sideBySide } from "../support/side_by_side.ts";
import { skip } from "../support/skip.ts";

/** The number of cases that run at once. They wait for half of their time, for leases, for polls, or to see that nothing happens. */
const LANES = 4;

/** Options of {@linkcode kit}. */
export interface KitOptions {
  /** Only the cases that it returns. Default: all. */
  readonly which?: (cases: Case[]) => Case[];
  /** Cases that run at a time. Default 4. */
  readonly lanes?: number;
  /** Returns connections of their own for a case that breaks them. With it such cases run first, beside the others, because they take longest. */
  readonly apart?: () => Promise<Harness & AsyncDisposable>;
}

/** Registers a test for each case of the kit. */
export function kit(harness: Harness, { which = (cases) => cases, lanes = LANES, apart }: KitOptions = {}): void {
  const cases = which(conformance(harness));
  if (!apart) return register(cases, lanes);
  const run = async (name: string) => {
    await using own = await apart();
    await conformance(own).find((one) => one.name === name)!.run();
  };
  const breaking = cases.filter(({ alone }) => alone).map((one) => ({
    ...one,
    alone: false,
    run: () => run(one.name),
  }));
  register([...breaking, ...cases.filter(({ alone }) => !alone)], lanes);
}

/** Registers a test for each case. The cases that must be alone come last, one at a time. */
export function register(cases: readonly Case[], lanes: number = LANES): void {
  for (const last of [false, true]) {
    const it = sideBySide(last ? 1 : lanes);
    for (const { name, skip: reason, run } of cases.filter(({ alone }) => alone === last)) {
      if (reason !== undefined) skip(name, reason);
      else it(name, run);
    }
  }
}
