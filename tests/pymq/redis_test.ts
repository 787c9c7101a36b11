import { afterAll, beforeAll, describe } from "@std/testing/bdd";
import { RedisServer } from "../support/redis_server.ts";
import { itNeeds } from "../support/skip.ts";
import { missing } from "../support/tools.ts";
import { onRedis } from "./on_redis.ts";
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
  for (const [name, run] of suite(onRedis(() => server))) itNeeds(lacking)(name, run);
});
