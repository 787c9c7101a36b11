// run: on deno, waiting
import { assert, assertEquals, assertMatch, assertRejects } from "@std/assert";
import { afterAll, beforeAll, describe, it } from "@std/testing/bdd";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { ProviderError } from "../../src/errors.ts";
import { Names } from "../../src/providers/redis/names.ts";
import type { RedisOptions } from "../../src/providers/redis/provider.ts";
import { freePort } from "../support/port.ts";
import { certificate } from "../support/certificate.ts";
import { makeDir, removeDir } from "../support/child.ts";
import { type RedisGroup, type Sentinels, startCluster, startSentinels } from "../support/redis_cluster.ts";
import { RedisServer } from "../support/redis_server.ts";
import { TcpProxy } from "../support/tcp_proxy.ts";
import { itNeeds } from "../support/skip.ts";
import { missing } from "../support/tools.ts";
import { pause, until } from "../support/until.ts";
import { assertWoken, delivery, type Halves, NOW, open } from "./halves.ts";

/** Uses every operation, which must work with every topology. */
async function works(options: RedisOptions, counts = true): Promise<void> {
  await using bus = await open(options);
  await using other = await open(options, { namespace: bus.namespace });
  const seen: string[] = [];
  await bus.receiver.subscribe({ topic: "t", pattern: false, serves: true }, (_, body) => seen.push(body));
  await bus.receiver.subscribe({ topic: "t?", pattern: true, serves: false }, (topic) => seen.push(topic));
  assertEquals(await other.sender.publish("t", "event"), counts ? 1 : undefined);
  await other.sender.publish("tt", "x");
  await until("events come", () => seen.length === 2);
  assertEquals(seen, ["event", "tt"]);
  const [server] = await other.sender.servers("t");
  await other.sender.post(server!.inbox, "letter");
  await until("the letter comes", () => bus.inbox.length === 1);
  for (const queue of ["q", "{a}b", "a}b", "{}", "x".repeat(300)]) {
    const waits = bus.receive(queue, { wait: 10_000, lease: 5_000 });
    await other.sender.send(queue, "x", NOW);
    const [held] = await waits;
    assertEquals(held?.body, "x");
    assertEquals(await bus.receiver.settle(queue, [held!.receipt], "nack", 0), [true]);
    assertEquals(await other.sender.size(queue), 1);
    const again = await other.receive(queue);
    assertEquals(again[0]?.attempt, 2);
    await other.receiver.restore(queue, again);
    assertEquals(await bus.bodies(queue), ["x"]);
    await bus.sender.drop(queue);
  }
}

/** Checks that both halves reconnect to the current master. */
async function recovers(bus: Halves): Promise<void> {
  const seen: string[] = [];
  await until(
    "a subscription is taken",
    () =>
      bus.receiver.subscribe({ topic: "r", pattern: false, serves: false }, (_, body) => seen.push(body)).then(
        () => true,
        () => false,
      ),
    40_000,
  );
  await until("an event arrives", async () => {
    await bus.sender.publish("r", "x").catch(() => {});
    return seen.length > 0;
  }, 40_000);
  await until("an item is taken", () => bus.sender.send("r", "x", NOW).then(() => true, () => false), 40_000);
  assertEquals((await bus.bodies("r", { wait: 20_000 }))[0], "x");
}

for (const version of ["redis-server", "redis-server-6.2", "redis-server-8.2", "valkey-server-9.1"] as const) {
  describe(`The server ${version}`, () => {
    itNeeds(missing(version))("works, and wakes who waits", async () => {
      await using server = await RedisServer.start({ tool: version });
      await works({ port: server.port });
      await using bus = await open({ port: server.port });
      for (const lease of [undefined, 5_000]) {
        const put = () => server.run("lpush", `__eventbus:${bus.namespace}:q`, "x");
        await assertWoken(server, bus, put, lease);
      }
    });

    itNeeds(missing(version))("is left for a master when it becomes a replica", async () => {
      await using server = await RedisServer.start({ tool: version });
      await using bus = await open({ port: server.port });
      await bus.sender.send("q", "x", NOW);
      await server.run("replicaof", "127.0.0.1", await freePort());
      const taken = await assertRejects(() => bus.receive("q"), ProviderError) as ProviderError;
      const sent = await assertRejects(() => bus.sender.send("q", "y", NOW), ProviderError) as ProviderError;
      for (const { code, retryable } of [taken, sent]) assertEquals([code, retryable], ["unavailable", true]);
      await until("both looked for another", () => bus.said.includes("down") && bus.senderSaid.includes("down"));
      await server.run("replicaof", "no", "one");
      await until("it can take again", () => bus.receive("q").then(({ length }) => length === 1, () => false));
      await until("it can send again", () => bus.sender.send("q", "z", NOW).then(() => true, () => false));
    });
  });
}

describe("Redis over TLS", () => {
  let server: RedisServer;
  beforeAll(async () => server = await RedisServer.start({ tls: true }));
  afterAll(() => server.stop());

  it("works with a custom certificate authority", () => works({ url: server.url, tls: { ca: server.ca } }));

  it("works without checking the certificate, if the options say so", () =>
    works({ url: server.url, tls: { rejectUnauthorized: false } }));

  it("sends a client certificate to a server that requires one", async () => {
    const dir = makeDir("mutual");
    const { ca, certFile, keyFile } = certificate(dir);
    const [cert, key] = [certFile, keyFile].map((file) => readFileSync(file, "utf8"));
    const strict = ["--tls-ca-cert-file", certFile, "--tls-auth-clients", "yes"];
    // the administrator has no client certificate, so it sends no command
    await using asking = await RedisServer.start({ tls: true, args: strict });
    await works({ url: asking.url, tls: { ca: [ca, asking.ca!], cert, key } });
    const error = await assertRejects(() => open({ url: asking.url, tls: { ca: asking.ca } }), ProviderError);
    assertEquals((error as ProviderError).code, "unavailable");
    removeDir(dir);
  });

  it("finds the nodes of a Cluster by the names in their certificates", async () => {
    const names = ["--cluster-announce-hostname", "localhost", "--cluster-preferred-endpoint-type", "hostname"];
    await using group = await startCluster(1, { tls: true, args: ["--tls-cluster", "yes", ...names] });
    const [node] = group.servers;
    // its administrator calls it by its address, so only now
    const { ca, certFile, keyFile } = certificate(node!.dir, "DNS:localhost");
    await node!.run("config", "set", "tls-cert-file", certFile, "tls-key-file", keyFile);
    await works({ cluster: [`rediss://localhost:${node!.port}`], tls: { ca } }, false);
  });

  it("refuses a certificate of an unknown authority", async () => {
    const error = await assertRejects(() => open({ url: server.url }), ProviderError) as ProviderError;
    assertEquals(error.code, "unavailable");
    assertMatch(error.message, /certificate|self.signed|UnknownIssuer|CaUsedAsEndEntity/i);
  });
});

describe("Redis on a Unix socket", () => {
  it("works", async () => {
    const dir = makeDir("unix");
    await using _server = await RedisServer.start({ args: ["--unixsocket", join(dir, "redis.sock")] });
    await works({ url: `unix://${join(dir, "redis.sock")}` });
    removeDir(dir);
  });
});

describe("Redis with a database and a password", () => {
  it("works", async () => {
    await using server = await RedisServer.start({ password: "geheim" });
    await works({ url: `${server.url}/3` });
    await works({ port: server.port, password: "geheim", db: 5 });
  });
});

describe("Redis behind Sentinels", () => {
  let ground: Sentinels;
  const options = () => ({ sentinels: ground.sentinels.nodes, name: ground.name });
  beforeAll(async () => ground = await startSentinels());
  afterAll(() => ground.stop());

  it("works, and rejects if no Sentinel answers or knows the name", async () => {
    await works(options());
    await assertRejects(() => open({ ...options(), name: "other" }, { connectTimeout: 2_000 }), ProviderError);
    const nobody = { sentinels: [{ host: "127.0.0.1", port: await freePort() }], name: "main" };
    const error = await assertRejects(() => open(nobody), ProviderError, "entinel");
    assertEquals((error as ProviderError).code, "unavailable");
  });

  it("asks the next Sentinel when one is frozen", async () => {
    const [first] = ground.sentinels.servers;
    first!.freeze();
    try {
      await works(options());
    } finally {
      first!.thaw();
    }
  });

  it("follows the master when it dies", async () => {
    await using bus = await open(options());
    const waits = bus.bodies("q", { wait: 60_000 });
    await pause(50);
    await ground.master.kill();
    await recovers(bus);
    await bus.sender.send("q", "x", NOW);
    assertEquals(await waits, ["x"]);
    assert(bus.said.includes("gap"));
    const channel = `__eventbus:${bus.namespace}:r`;
    assertEquals(await ground.replica.run("pubsub", "numsub", channel), [channel, 1]);
  });
});

describe("Redis Cluster", () => {
  let masters: RedisGroup;
  const replicas: RedisServer[] = [];
  const options = () => ({ cluster: masters.nodes.map(({ host, port }) => `redis://${host}:${port}`) });
  beforeAll(async () => {
    masters = await startCluster(3);
    for (const master of masters.servers) {
      const args = ["--cluster-enabled", "yes", "--cluster-node-timeout", "2000"];
      const replica = await RedisServer.start({ args: [...args, "--cluster-port", String(await freePort())] });
      replicas.push(replica);
      const bus = String(await master.run("config", "get", "cluster-port")).split(",")[1]!;
      await replica.run("cluster", "meet", "127.0.0.1", master.port, bus);
      const id = String(await master.run("cluster", "myid"));
      await until("the replica knows its master", () => replica.run("cluster", "replicate", id).then(() => true));
    }
    for (const replica of replicas) {
      await until("the replicas are in step, and all know all", async () => {
        const info = `${await replica.run("info", "replication")}${await replica.run("cluster", "info")}`;
        return /master_link_status:up[\s\S]*cluster_state:ok[\s\S]*cluster_known_nodes:6/.test(info);
      });
    }
  });
  afterAll(() => Promise.all([masters, ...replicas].map((group) => group.stop())));

  it("works with any node as the address", () => works(options(), false));

  it("works when some of the given nodes are gone", async () => {
    const gone = `redis://127.0.0.1:${await freePort()}`;
    await works({ cluster: [gone, ...options().cluster] }, false);
  });

  it("accepts many commands at once while it connects to the nodes", async () => {
    await using bus = await open(options());
    const topics = Array.from({ length: 12 }, (_, n) => ({ topic: `f${n}`, pattern: false, serves: true }));
    const sent = Array.from({ length: 36 }, (_, n) => bus.sender.send(`q${n % 12}`, "x", NOW));
    await Promise.all([...sent, ...topics.map((filter) => bus.receiver.subscribe(filter, () => {}))]);
    const taken = await Promise.all(topics.map((_, n) => bus.bodies(`q${n}`, { max: 9 })));
    assertEquals(taken.flat().length, sent.length);
  });

  it("every key of a queue is in the slot of its list", async () => {
    const names = new Names("n{s}");
    const plain = new Names("global");
    for (const name of ["q", "{a}b", "a}b", "{}", "{}{a}", "}{", "{", "a{b}c{d}", "ü😀", "{ü}", ""]) {
      for (const { list, due, items, prefix } of [names.queue(name), plain.queue(name)]) {
        const slot = await masters.servers[0]!.run("cluster", "keyslot", list);
        for (const key of [list, due, items, `${prefix}record:x`]) {
          assertEquals(await masters.servers[0]!.run("cluster", "keyslot", key), slot, key);
        }
      }
    }
  });

  it("keeps the order of a publisher, and finds new items by polls that are at most 250 ms apart", async () => {
    await using bus = await open(options());
    const seen: string[] = [];
    await bus.receiver.subscribe({ topic: "t", pattern: false, serves: false }, (_, body) => seen.push(body));
    const sent = Array.from({ length: 2_000 }, (_, n) => `${n}`);
    await Promise.all(sent.map((body) => bus.sender.publish("t", body)));
    await until("all have come", () => seen.length === sent.length);
    assertEquals(seen, sent);
    const took = await delivery(bus, () => bus.sender.send("q", "x", NOW), () => 130);
    assert(took < 500, `${took} ms`); // polls are 250 ms apart at most
  });

  it("replaces a half-open connection to a node", async () => {
    await using wire = await TcpProxy.to(await freePort());
    const announced = ["--cluster-announce-ip", "127.0.0.1", "--cluster-announce-port", String(wire.port)];
    await using node = await startCluster(1, { port: wire.target, args: announced });
    await using bus = await open({ cluster: node.nodes.map(({ host }) => ({ host, port: wire.port })) });
    await bus.sender.send("q", "x", NOW);
    wire.forget();
    const waits = bus.bodies("p", { wait: 60_000 });
    await until("it is sent", () => bus.sender.send("p", "x", NOW).then(() => true, () => false), 40_000);
    assertEquals(await waits, ["x"]);
    assertEquals(await bus.bodies("q", { wait: 20_000 }), ["x"]);
  });

  it("continues when a master dies", async () => {
    await using bus = await open(options());
    const waits = Array.from({ length: 6 }, (_, n) => bus.bodies(`q${n}`, { wait: 60_000 }));
    await pause(50);
    await masters.servers[0]!.kill();
    await recovers(bus);
    for (let n = 0; n < 6; n++) {
      await until("it is sent", () => bus.sender.send(`q${n}`, `${n}`, NOW).then(() => true, () => false), 40_000);
    }
    assertEquals((await Promise.all(waits)).flat(), waits.map((_, n) => `${n}`));
  });
});
