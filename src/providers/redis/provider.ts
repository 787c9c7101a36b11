/**
 * The Redis provider: PyMQ's channels and lists, on one server, behind Sentinels or in a Cluster. Redis 6.2 or later.
 *
 * @module
 */
import type { Provider, Sender, SenderContext } from "../../provider/provider.ts";
import { toProviderError } from "./errors.ts";
import { parseOptions, type RedisOptions } from "./options.ts";
import { MAX_BODY, type Settings } from "./settings.ts";

export type { RedisOptions } from "./options.ts";
export type { Address, RedisTls } from "./settings.ts";

/**
 * Makes a provider for a Redis server, for a master behind Sentinels, or for a Redis Cluster.
 *
 * A bus holds three connections: one for sending, one for events, one for queues. With a Cluster it is one for events
 * here and there each, and one more for each node. There `publish` cannot tell how many were reached, and empty queues are
 * looked at five times a second instead of being watched.
 *
 * @param options where the server is, and who we are; `redis()` is `redis({ url: "redis://127.0.0.1:6379/0" })`
 * @throws {ValidationError} when an option is not what it must be
 *
 * @example
 * ```ts
 * import { init } from "@tsmq/tsmq";
 * import { redis } from "@tsmq/tsmq/redis";
 *
 * await init(redis({ url: "redis://127.0.0.1:6379" }));
 * ```
 */
export function redis(options: RedisOptions = {}): Provider {
  const settings = parseOptions(options);
  return {
    name: "redis",
    features: {
      // a node of a Cluster counts its own subscribers only
      counts: settings.cluster === undefined,
      ordered: true,
      durable: true,
      shared: true,
      capacity: Infinity,
      maxBody: MAX_BODY,
      exactSize: true,
      exactAttempts: true,
      maxDelay: Infinity,
      latency: settings.cluster === undefined ? 50 : 250,
    },
    worker: new URL("../../../workers/redis.ts", import.meta.url),
    options: settings,
    open: (context) => open(settings, context),
  };
}

/** ioredis is loaded with the first bus: it reads the environment, and what it is denied is to be the bus's error. */
async function open(settings: Settings, context: SenderContext): Promise<Sender> {
  try {
    const { openSender } = await import("./sender.ts");
    return await openSender(settings, context);
  } catch (error) {
    throw toProviderError("open Redis", error);
  }
}
