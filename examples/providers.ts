/** Which transport an example runs over: the URL on its command line says. @module */
import type { Provider } from "../mod.ts";
import { redis } from "../src/providers/redis/provider.ts";

/** The provider for `redis://…`. */
export function providerFor(url: string): Provider {
  if (/^rediss?:/.test(url)) return redis({ url });
  throw new Error(`Cannot run over "${url}": give the URL of a Redis server, such as redis://localhost`);
}
