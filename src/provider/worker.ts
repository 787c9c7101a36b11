/**
 * The functions and errors that a custom provider uses, in addition to the types of `./provider`: `serve` for its worker entry, globs,
 * groups, and the errors of both halves.
 *
 * @example The worker entry of a custom provider, to which its `worker` URL points
 * ```ts ignore
 * import { serve } from "@tsmq/tsmq/worker";
 * import { openReceiver } from "./receiver.ts";
 *
 * serve(openReceiver);
 * ```
 *
 * @module
 */
export * from "../errors.ts";
export { writeBinding } from "./bindings.ts";
export { BINDING_DELAY, type EventPuts, GroupPuts, type GroupQueues } from "./group_puts.ts";
export { glob } from "./glob.ts";
export { filterKey, Router } from "./router.ts";
export { readTopic, writeTopic } from "./topic_mark.ts";
export { serve } from "../port/host.ts";
export type { Emit, Filter, OpenReceiver } from "./provider.ts";
