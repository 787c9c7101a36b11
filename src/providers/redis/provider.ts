/**
 * The Redis provider. It uses PyMQ's channels and lists, on one server, behind Sentinels or in a Redis Cluster, from Redis 6.2 on.
 *
 * @module
 */
import type { Provider, Sender, SenderContext } from "../../provider/provider.ts";
import { pause } from "../../internal/time.ts";
import { toProviderError } from "./errors.ts";
import { answer, posted } from "./login.ts";
import { parseOptions, type RedisOptions } from "./options.ts";
import { MAX_BODY, type Settings } from "./settings.ts";

export type { RedisOptions } from "./options.ts";
export type { Address, RedisCredentials, RedisTls } from "./settings.ts";

/**
 * Creates a provider for a Redis server, for a master behind Sentinels, or for a Redis Cluster.
 *
 * A bus has three connections: one for sending, one for receiving events, one for queues. With a Cluster, each thread has one connection
 * for events and one for each node. There `publish` does not return the number of receivers, and waiting for an empty queue polls it five
 * times a second.
 *
 * @param options the address and the login; `redis()` is `redis({ url: "redis://127.0.0.1:6379/0" })`
 * @throws {ValidationError} when an option is invalid
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
      maxPutDelay: Infinity,
      peek: true,
      groups: true,
      latency: settings.cluster === undefined ? 50 : 250,
    },
    worker: options.worker ?? new URL("../../../workers/redis.ts", import.meta.url),
    options: posted(settings),
    open: (context) => open(settings, context),
    askHandler: { answer: (verb) => answer(settings, verb) },
    admin: { open: async (namespace) => new (await import("./admin.ts")).RedisAdmin(settings, namespace) },
  };
}

/** Loads ioredis with the first bus: it reads the environment, and a missing permission must be an error of that bus. */
async function open(settings: Settings, context: SenderContext): Promise<Sender> {
  try {
    await pause(0); // see `Provider.open`
    const { openSender } = await import("./sender.ts");
    return await openSender(settings, context);
  } catch (error) {
    throw toProviderError("open Redis", error);
  }
}
