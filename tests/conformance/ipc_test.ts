import { afterAll, beforeAll, describe } from "@std/testing/bdd";
import { ipc } from "../../src/providers/ipc/provider.ts";
import { noOtherUser } from "../ipc/ground.ts";
import { keepWorkers, keptKit } from "../ipc/kept_workers.ts";
import { share } from "../support/share.ts";
import { register } from "./run.ts";

// Eight full-sized queues at once take most of what all queues of a user may hold.
// run: kernel-queues, deadline 300

// a plain user runs the other half (ipc/limits_test.ts)
const divided = noOtherUser(new URL("../ipc/plain_user.ts", import.meta.url)) === undefined;

describe("conformance of ipc", () => {
  let endWorkers: (() => void) | undefined;
  beforeAll(() => void (endWorkers = keepWorkers()));
  afterAll(() => endWorkers?.());
  const cases = keptKit((worker) => ipc({ worker }));
  register(divided ? share(cases) : cases, 1);
});
