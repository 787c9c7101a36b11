import { describe } from "@std/testing/bdd";
import { ipc } from "../../src/providers/ipc/provider.ts";
import { kit } from "./run.ts";

// Eight full-sized queues at once take most of what all queues of a user may hold.
// One lane of 253 cases: 60 s on a quiet machine, three times that on a loaded one.
// run: kernel-queues, deadline 300

describe("conformance of ipc", () => kit({ provider: () => ipc() }, { lanes: 1 }));
