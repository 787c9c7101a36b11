// run: on deno, deadline 240
import { assert, assertEquals } from "@std/assert";
import { Redis } from "ioredis";
import { Buffer } from "node:buffer";
import { Bus, type BusError, type DeadLetter } from "../../mod.ts";
import { fresh, onRedis } from "../bus/grounds.ts";
import { Random, SEED } from "../support/random.ts";
import { until } from "../support/until.ts";
import { garbage } from "./garbage.ts";
import { victim } from "./victim.ts";

onRedis(`a hostile peer (seed ${SEED})`, ({ it, server, provider }) => {
  const open = (namespace: string) => Bus.open(provider(), { namespace, timeout: 60_000 });
  const peer = () => new Redis({ port: server().port, host: "127.0.0.1" });

  it("that writes garbage to every channel and every key: valid messages arrive, rejected ones are reported", async () => {
    const random = new Random(SEED);
    const namespace = fresh();
    await using all = await victim(open, namespace);
    await all.works();
    const held = await (async () => {
      await all.caller.queue("held").put("item");
      return await all.bus.queue("held").receive();
    })();
    const redis = peer();
    try {
      const channels = (await redis.call("pubsub", "channels", "*") as string[]).filter((name) =>
        name.includes(namespace)
      );
      assert(channels.length >= 4, `it finds ${channels}`);
      for (let round = 0; round < 50; round++) {
        for (const channel of channels) await redis.publish(channel, Buffer.from(garbage(random)));
        await redis.lpush(`__eventbus:${namespace}:jobs`, Buffer.from(garbage(random)));
        await redis.lpush(`__eventbus:${namespace}:got`, Buffer.from(garbage(random)));
        for (const key of (await redis.keys(`*${namespace}*`)).filter((key) => key.startsWith("__tsmq:"))) {
          const text = Buffer.from(garbage(random)).toString("latin1");
          const type = await redis.type(key);
          if (type === "zset") await redis.zadd(key, random.pick([0, Date.now() + random.int(-500, 500)]), text);
          else if (type === "hash") await redis.hset(key, text, text);
        }
        await redis.zadd(`__tsmq:servers:__eventbus:${namespace}:echo`, Date.now() + 1_000, `garbage ${round}`);
      }
      await all.works();
      await held.ack();
      assert(all.refused.get("invalid")! > 50, `it said ${JSON.stringify([...all.refused])}`);
      const letter = await all.bus.queue<DeadLetter>("jobs.dead").get({ timeout: 5_000 });
      assertEquals(letter.queue, "jobs");
    } finally {
      redis.disconnect();
    }
  });

  it("that stores other values under tsmq's keys: the bus reports it, and continues when they are removed", async () => {
    const namespace = fresh();
    await using all = await victim(open, namespace);
    const redis = peer();
    try {
      const error = async (work: Promise<unknown>) => (await work.catch((error) => error) as BusError).code;
      await redis.set(`__eventbus:${namespace}:odd`, "a string");
      assertEquals(await error(all.caller.queue("odd").put("x")), "internal");
      assertEquals(await error(all.bus.queue("odd").get()), "internal");
      // a consumer asks again
      await redis.del(`__eventbus:${namespace}:jobs`);
      await redis.set(`__eventbus:${namespace}:jobs`, "a string");
      await until("its consumer has said so", () => (all.refused.get("internal") ?? 0) > 0);
      await redis.del(`__eventbus:${namespace}:odd`, `__eventbus:${namespace}:jobs`);
      await all.caller.queue("odd").put("x");
      assertEquals(await all.bus.queue("odd").get(), "x");
      await all.works();
    } finally {
      redis.disconnect();
    }
  });

  it("that forges answers to pending calls: none is accepted", async () => {
    const random = new Random(SEED);
    const namespace = fresh();
    await using all = await victim(open, namespace);
    const { promise, resolve } = Promise.withResolvers<string>();
    await all.bus.expose("slow", () => promise);
    const calls = [all.caller.stub("slow")(), all.caller.stub("slow", { multi: true })()];
    await until("they are served", () => all.bus.health().pending.handlers === 2);
    const redis = peer();
    try {
      // a client that may list the channels finds the inboxes, which is not enough: each bus has an inbox and, beside it, a channel for
      // the items that are handed over, and the caller an inbox for answers
      let inboxes: string[] = [];
      await until("all are found", async () => {
        inboxes = await redis.call("pubsub", "channels", `__tsmq:inbox:*${namespace}*`) as string[];
        return inboxes.length === 5;
      });
      const [server] = await redis.zrange(`__tsmq:servers:__eventbus:${namespace}:slow`, 0, 0);
      for (let i = 0; i < 2_000; i++) {
        const id = random.pick<unknown>([crypto.randomUUID(), "", "0", 0, null, {}, "__proto__", ["x"]]);
        const call = random.pick([{ id, server }, { id, server, refused: "gone" }, { id, server: null }, undefined]);
        const answer = { __obj: ["slow", "forged", "str", false, call], __type: "pymq.core.RpcResponse" };
        await Promise.all(inboxes.map((inbox) => redis.publish(inbox, JSON.stringify(answer))));
      }
      // nor a cancellation with a guessed id
      for (const inbox of inboxes) await redis.publish(inbox, '{"__obj":["x"],"__type":"tsmq:cancel"}');
    } finally {
      redis.disconnect();
    }
    resolve("true");
    assertEquals(await Promise.all(calls), ["true", [{ status: "fulfilled", value: "true" }]]);
    await all.works();
  });

  it("that sends bodies of 8 and 40 MiB: those that the server accepts arrive or are refused, and everything continues", async () => {
    const namespace = fresh();
    await using all = await victim(open, namespace);
    const sizes: number[] = [];
    await all.bus.subscribe<string>("large", (text) => sizes.push(text.length)).ready;
    const redis = peer();
    try {
      const large = (mib: number) => JSON.stringify("x".repeat(mib * 2 ** 20));
      await redis.publish(`__eventbus:${namespace}:large`, large(8));
      await until("8 MiB arrive", () => sizes.length === 1);
      // this exceeds the output buffer of a subscriber, so Redis closes the connection
      await redis.publish(`__eventbus:${namespace}:large`, large(40));
      for (const channel of await redis.call("pubsub", "channels", `__tsmq:inbox:*${namespace}*`) as string[]) {
        await redis.publish(channel, large(40));
      }
      await redis.lpush(`__eventbus:${namespace}:jobs`, "[".repeat(40 * 2 ** 20));
      await redis.lpush(`__eventbus:${namespace}:jobs`, large(8));
      await all.works();
      assert(all.refused.get("invalid")! > 0);
    } finally {
      redis.disconnect();
    }
  });
});
