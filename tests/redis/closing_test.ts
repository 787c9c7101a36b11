// run: on bun
import { assert, assertEquals } from "@std/assert";
import { describe, it } from "@std/testing/bdd";
import { Bus } from "../../mod.ts";
import { redis } from "../../src/providers/redis/provider.ts";
import { RedisServer } from "../support/redis_server.ts";
import { timed } from "../support/until.ts";

describe("closing a bus of a frozen Redis", () => {
  it("ends by its deadline, though Redis answers none of its steps", async () => {
    const server = await RedisServer.start();
    const bus = await Bus.open(redis({ port: server.port }));
    await bus.subscribe("topic", () => {}).ready;
    await bus.expose("fn", () => {});
    server.freeze();
    let clean: boolean | undefined;
    const took = await timed(async () => ({ clean } = await bus.close({ timeout: 1_000 })));
    server.thaw();
    await server.stop();
    assertEquals(clean, false);
    assert(took < 1_500, `it took ${took} ms`); // it was 2,000 and more
  });
});

describe("closing a bus of a slow Redis", () => {
  it("waits for an event that is being published, and for its groups", async () => {
    await using server = await RedisServer.start();
    const provider = redis({ port: server.port });
    await using member = await Bus.open(provider);
    const handled = Promise.withResolvers<unknown>();
    await member.subscribe("topic", handled.resolve, { group: "workers" }).ready;
    const bus = await Bus.open(provider);
    await server.run("client", "pause", "1100", "write"); // after a second, it reads the bindings of groups once more
    const published = bus.publish("event", "topic");
    const { clean } = await bus.close();
    assertEquals([await published, clean, await handled.promise], [0, true, "event"]);
  });
});
