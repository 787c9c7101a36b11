import { describe } from "@std/testing/bdd";
import { ipc } from "../../src/providers/ipc/provider.ts";
import { kit } from "./run.ts";

// Eight full-sized queues at once take most of what all queues of a user may hold.
// run: lane kernel-queues

describe("conformance of ipc", () => kit({ provider: () => ipc() }, undefined, 1));
