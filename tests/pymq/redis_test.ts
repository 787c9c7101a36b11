import { afterAll, beforeAll, describe } from "@std/testing/bdd";
import { Redis } from "ioredis";
import { redis } from "../../src/providers/redis/provider.ts";
import { RedisServer } from "../support/redis_server.ts";
import { itNeeds } from "../support/skip.ts";
import { missing } from "../support/tools.ts";
import { suite } from "./suite.ts";

const lacking = missing("redis-server", "python");

describe("PyMQ and tsmq on one Redis", () => {
  let server: RedisServer;
  if (lacking === undefined) {
    beforeAll(async () => {
      server = await RedisServer.start();
    });
    afterAll(() => server.stop());
  }
  const transport = {
    provider: () => redis({ url: server.url }),
    where: () => server.url,
    left: async (namespace: string) => {
      const client = new Redis(server.url);
      try {
        return await client.keys(`*${namespace}*`);
      } finally {
        client.disconnect();
      }
    },
  };
  for (const [name, run] of suite(transport)) itNeeds(lacking)(name, run);
});
