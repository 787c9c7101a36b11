/**
 * The command line of tsmq: publish, subscribe, put, get and call from a shell, watch a bus, and find problems.
 *
 * ```sh
 * deno run -A jsr:@tsmq/tsmq/cli --help
 * bun node_modules/@tsmq/tsmq/cli/mod.ts --help
 * ```
 *
 * A program that configures its transport by a URL imports {@linkcode providerFor} from `@tsmq/tsmq/url`. `init` takes no URL, because
 * it would have to load the client of every transport.
 *
 * @module
 */
export { providerFor } from "./urls.ts";

if (import.meta.main) await (await import("./app.ts")).main();
