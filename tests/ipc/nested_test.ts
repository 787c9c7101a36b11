// The queues of a user share one limit.
// run: on bun, kernel-queues
import { onIpc } from "../bus/grounds.ts";
import { nested } from "../bus/nested.ts";

onIpc("a bus", nested);
