import { describe } from "@std/testing/bdd";
import { ipc } from "../../src/providers/ipc/provider.ts";
import { noOtherUser } from "../ipc/ground.ts";
import { share } from "../support/share.ts";
import { kit } from "./run.ts";

// Eight full-sized queues at once take most of what all queues of a user may hold.
// run: kernel-queues, deadline 300

// a plain user runs the other half (ipc/limits_test.ts), so each runtime runs each case
const divided = noOtherUser(new URL("../ipc/plain_user.ts", import.meta.url)) === undefined;

describe("conformance of ipc", () => kit({ provider: () => ipc() }, { lanes: 1, ...divided && { which: share } }));
