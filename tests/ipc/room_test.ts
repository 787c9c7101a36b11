/** Operations that need a kernel queue while others hold all that the kernel allows a user. */
// run: on bun, kernel-queues
import { describePlainUser } from "./as_plain_user.ts";

const ROOM = new URL("room.ts", import.meta.url);

describePlainUser(ROOM, [
  ["opens buses as soon as there is room", { waited: true }, "open"],
  [
    "has queues for the answers of PyMQ's servers in the order of the calls; one that is not needed any more is left out",
    { early: 0, opened: [3, 0, 1, 2, 4, 5, 6, 7] },
    "answers",
  ],
  [
    "has groups, whose events are in files",
    { seen: Array.from({ length: 30 }, (_, i) => i) },
    "group",
  ],
]);
