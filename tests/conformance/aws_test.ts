import { afterAll, beforeAll, describe } from "@std/testing/bdd";
import { aws, type AwsOptions } from "../../src/providers/aws/provider.ts";
import { type Emulator, startEmulator } from "../aws/emulator.ts";
import { kit } from "./run.ts";

/** Short, so that what a case leaves dead is soon seen to be dead, and what a dead poll took soon comes back. */
const QUICK: AwsOptions = { lease: 3_000, poll: 2_000 };

describe("conformance of aws", () => {
  let emulator: Emulator;
  beforeAll(async () => emulator = await startEmulator());
  afterAll(() => emulator.stop());
  kit({ provider: () => aws({ ...QUICK, ...emulator?.options }) });
});
