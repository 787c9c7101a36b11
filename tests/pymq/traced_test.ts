// run: on deno, waiting
/** With a tracer each tsmq message is in an envelope. PyMQ reads the same values as without. */
import { trace } from "@opentelemetry/api";
import { BasicTracerProvider } from "@opentelemetry/sdk-trace-base";
import { assertMatch } from "@std/assert";
import { afterAll, beforeAll, describe } from "@std/testing/bdd";
import { Redis } from "ioredis";
import { Bus } from "../../mod.ts";
import { RedisServer } from "../support/redis_server.ts";
import { share } from "../support/share.ts";
import { itNeeds } from "../support/skip.ts";
import { missing } from "../support/tools.ts";
import { onRedis } from "./on_redis.ts";
import { suite } from "./suite.ts";

const lacking = missing("redis-server", "python");

describe("PyMQ and a traced tsmq on one Redis", () => {
  let server: RedisServer;
  if (lacking === undefined) {
    beforeAll(async () => {
      trace.setGlobalTracerProvider(new BasicTracerProvider());
      server = await RedisServer.start();
    });
    afterAll(async () => {
      trace.disable();
      await server.stop();
    });
  }
  const transport = onRedis(() => server);
  itNeeds(lacking)("what the bus publishes here is in an envelope", async () => {
    await using bus = await Bus.open(transport.provider());
    const subscriber = new Redis(server.url);
    const got = new Promise((resolve) => subscriber.on("message", (_, body) => resolve(body)));
    await subscriber.subscribe("__eventbus:global:topic");
    await bus.publish({ id: 1 }, "topic");
    assertMatch(
      String(await got),
      /^\{"__tsmq":\{"traceparent":"00-[0-9a-f]{32}-[0-9a-f]{16}-01"\},"__obj":\{"id":1\}\}$/,
    );
    subscriber.disconnect();
  });
  // each second one: all of them run without a tracer
  for (const [name, run] of share([...suite(transport)])) itNeeds(lacking)(name, run);
});
