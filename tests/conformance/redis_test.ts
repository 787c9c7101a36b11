import { afterAll, beforeAll, describe } from "@std/testing/bdd";
import { redis } from "../../src/providers/redis/provider.ts";
import { RedisServer } from "../support/redis_server.ts";
import { share } from "../support/share.ts";
import { kit } from "./run.ts";

describe("conformance of redis", () => {
  let server: RedisServer;
  beforeAll(async () => server = await RedisServer.start());
  afterAll(() => server.stop());
  kit({
    // before the server runs, only the features are read
    provider: () => redis({ port: server?.port }),
    faults: {
      cut: async () => {
        await server.run("client", "kill", "type", "normal");
        await server.run("client", "kill", "type", "pubsub");
      },
    },
  }, { which: share, lanes: 6 });
});
