/** Redis as the transport of the suite. */
import { assert } from "@std/assert";
import { redis } from "../../src/providers/redis/provider.ts";
import type { RedisServer } from "../support/redis_server.ts";
import type { Transport } from "./suite.ts";

/** Returns the transport of a server that has started when the first case runs. */
export function onRedis(server: () => RedisServer): Transport {
  const lapsing = new Set<string>();
  const keys = async (namespace: string) => (await server().keys()).filter((key) => key.includes(namespace));
  return {
    provider: () => redis({ url: server().url }),
    where: () => server().url,
    left: async (namespace) => (await keys(namespace)).filter((key) => !lapsing.has(key)),
    lapsed: async (namespace) => {
      const answers = (await keys(namespace)).filter((key) => key.includes(":__rpc_"));
      for (const key of answers) {
        const life = Number(await server().run("ttl", key));
        assert(life > 0 && life <= 300, `${key} lives ${life} s`);
        lapsing.add(key);
      }
      return answers.length > 0;
    },
  };
}
