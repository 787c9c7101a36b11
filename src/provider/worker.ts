/**
 * What a provider is made of beside the types of `./provider`: the whole of a worker entry, globs for transports that have
 * none or others, and the errors that both halves reject with.
 *
 * @example The worker of a provider of your own, to which its `worker` URL points
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
export { glob } from "./glob.ts";
export { filterKey, Router } from "./router.ts";
export { serve } from "../port/host.ts";
export type { Emit, Filter, OpenReceiver } from "./provider.ts";
