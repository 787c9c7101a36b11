/** Providers that another process can create. */
import type { Provider } from "../../mod.ts";
import { aws } from "../../src/providers/aws/provider.ts";
import { ipc } from "../../src/providers/ipc/provider.ts";
import { redis } from "../../src/providers/redis/provider.ts";

/** A provider, as JSON. */
export interface Place {
  readonly provider: "redis" | "aws" | "ipc";
  readonly options: object;
}

const MAKE: Record<Place["provider"], (options: object) => Provider> = { redis, aws, ipc };

/** Creates the provider. */
export function providerOf({ provider, options }: Place): Provider {
  return MAKE[provider](options);
}
