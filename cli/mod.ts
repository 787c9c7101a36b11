/**
 * The command line of tsmq: publish, subscribe, put, get and call from a shell, watch a bus, and find problems.
 *
 * ```sh
 * deno run -A jsr:@tsmq/tsmq/cli --help
 * bun node_modules/@tsmq/tsmq/cli/mod.ts --help
 * ```
 *
 * As a module it exports {@linkcode providerFor}, which makes a provider from a URL, for programs that configure their
 * transport. `init` takes no URL, because it would have to load the client of every transport.
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
