/**
 * The command line: publish, subscribe, queue and call from a shell, watch what goes on, find out what is wrong.
 *
 * ```sh
 * deno run -A jsr:@tsmq/tsmq/cli --help
 * bun node_modules/@tsmq/tsmq/cli/mod.ts --help
 * ```
 *
 * As a module it exports how a URL chooses a provider, for programs that leave the choice to their configuration. `init`
 * itself takes no URL: it would have to know every provider, and so load every transport's client.
 *
 * @example
 * ```ts ignore
 * import { init } from "@tsmq/tsmq";
 * import { providerFor } from "@tsmq/tsmq/cli";
 *
 * await init(await providerFor("redis://localhost"));
 * ```
 *
 * @module
 */
export { providerFor } from "./urls.ts";

if (import.meta.main) await (await import("./app.ts")).main();
