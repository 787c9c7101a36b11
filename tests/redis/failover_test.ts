/** All connections of a bus use one master, and follow it together after a failover. */
// run: on bun
import { assert, assertEquals } from "@std/assert";
import { describe, it } from "@std/testing/bdd";
import { Names } from "../../src/providers/redis/names.ts";
import type { RedisOptions } from "../../src/providers/redis/provider.ts";
import { failover } from "../faults/failover.ts";
import { startReplicated, startSentinels } from "../support/redis_cluster.ts";
import { RedisServer } from "../support/redis_server.ts";
import { TcpProxy } from "../support/tcp_proxy.ts";
import { pause, until } from "../support/until.ts";
import { type Halves, NOW, open } from "./halves.ts";

const SERVES = { topic: "t", pattern: false, serves: true };

/** A master and its replica behind one address, which leads to the master. */
async function pair(stack: AsyncDisposableStack) {
  const [master, replica] = await startReplicated();
  stack.use(master);
  stack.use(replica);
  await until(
    "the replica is in step",
    async () => String(await replica.run("info", "replication")).includes("master_link_status:up"),
  );
  const wire = stack.use(await TcpProxy.to(master.port));
  return { master, replica, wire };
}

/** Whether the connections are subscribed, registered and publishing on this server. */
async function isOn(server: RedisServer, bus: Halves): Promise<void> {
  const channel = new Names(bus.namespace).channel("t");
  const numsub = async () => (await server.run("pubsub", "numsub", channel) as [string, number])[1];
  await until("the events' connection is there", async () => await numsub() === 1);
  await until("the sender is there", async () => await bus.sender.publish("t", "x").catch(() => 0) === 1);
  await until(
    "it is registered there",
    async () =>
      (await server.run("zrange", new Names(bus.namespace).servers("t"), 0, -1) as string[]).includes(
        bus.receiver.inbox,
      ),
  );
}

describe("Redis failover", () => {
  it("Sentinels, planned, under load: nothing is lost or received twice, and a gap is reported", async () => {
    await using ground = await startSentinels();
    const cost = await failover(ground, "planned");
    assert(cost.risk <= 1_500, JSON.stringify(cost));
    assertEquals([cost.twice, cost.unsaid], [0, 0], JSON.stringify(cost));
  });

  it("one address, the old master demoted, connections left open: all connections move, though nothing is written", async () => {
    await using stack = new AsyncDisposableStack();
    const { master, replica, wire } = await pair(stack);
    const bus = stack.use(await open({ port: wire.port }));
    await bus.receiver.subscribe(SERVES, () => {});
    await isOn(master, bus);
    await replica.run("replicaof", "no", "one");
    wire.target = replica.port;
    await master.run("replicaof", "127.0.0.1", replica.port);
    await isOn(replica, bus);
    await until("the gap is reported", () => bus.said.includes("gap"));
  });

  it("one address, a master without its replicas: NOREPLICAS makes the bus find the new master", async () => {
    await using stack = new AsyncDisposableStack();
    const { master, replica, wire } = await pair(stack);
    await master.run("config", "set", "min-replicas-to-write", 1);
    await until("the replica counts", () => master.run("set", "k", "v").then(() => true));
    const bus = stack.use(await open({ port: wire.port }));
    await bus.receiver.subscribe(SERVES, () => {});
    await bus.sender.send("q", "x", NOW);
    const items = () => replica.run("llen", new Names(bus.namespace).list("q"));
    await until("the replica has the item", async () => await items() === 1);
    await replica.run("replicaof", "no", "one");
    wire.target = replica.port;
    const refuses = () => master.run("set", "k", "v").then(() => false, () => true);
    await until("the master has noticed that its replica is gone", refuses);
    await until("it can be put", () => bus.sender.send("q", "y", NOW).then(() => true, () => false));
    assertEquals(await items(), 2);
  });

  it("one connection reaches another master: the others follow", async () => {
    await using stack = new AsyncDisposableStack();
    const { master, replica, wire } = await pair(stack);
    const bus = stack.use(await open({ port: wire.port }));
    await bus.receiver.subscribe(SERVES, () => {});
    await replica.run("replicaof", "no", "one");
    wire.target = replica.port;
    await master.run("client", "kill", "type", "normal", "skipme", "yes");
    await isOn(replica, bus);
  });

  for (const hidden of [false, true]) {
    const how = hidden ? "which its user may not see" : "which it says";
    it(`a server stays a replica, ${how}: attempts become rare`, async () => {
      await using server = await RedisServer.start();
      await server.run("acl", "setuser", "few", "on", ">pw", "~*", "&*", "+@all", ...hidden ? ["-info"] : []);
      await using wire = await TcpProxy.to(server.port);
      const options: RedisOptions = { port: wire.port, username: "few", password: "pw" };
      await using bus = await open(options, { sendTimeout: 200 });
      await bus.receiver.subscribe(SERVES, () => {});
      await server.run("replicaof", "127.0.0.1", server.port);
      const before = wire.accepted;
      const end = performance.now() + 1_500;
      while (performance.now() < end) {
        await bus.sender.send("q", "x", NOW).catch(() => {});
        await pause(5);
      }
      // three connections, after 50 ms, 100, 200, 400, 800
      assert(wire.accepted - before <= 30, `${wire.accepted - before} attempts`);
      assert(!bus.said.some((said) => said.startsWith("fault")), bus.said.join());
      await server.run("replicaof", "no", "one");
      await isOn(server, bus);
    });
  }
});
