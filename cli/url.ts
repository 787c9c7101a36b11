/**
 * Providers by URL, for programs that configure their transport. The client of a transport is loaded only when its URL is used.
 *
 * @example
 * ```ts ignore
 * import { init } from "@tsmq/tsmq";
 * import { providerFor } from "@tsmq/tsmq/url";
 *
 * await init(await providerFor("redis://localhost"));
 * ```
 *
 * @module
 */
export { providerFor } from "./urls.ts";
