// run: on bun
import { assert, assertEquals, assertRejects } from "@std/assert";
import { describe, it } from "@std/testing/bdd";
import { Redis } from "ioredis";
import { existsSync, readFileSync } from "node:fs";
import { FauxqsServer } from "./fauxqs_server.ts";
import { here, Peer, there } from "./peer.ts";
import { startCluster, startSentinels } from "./redis_cluster.ts";
import { RedisServer } from "./redis_server.ts";
import { itNeeds } from "./skip.ts";
import { TcpProxy } from "./tcp_proxy.ts";
import { missing } from "./tools.ts";
import { pause, timed, until, within } from "./until.ts";

const echo = new URL("echo_peer.ts", import.meta.url);

describe("timed()", () => {
  it("leaves out the time for which this thread was busy", async () => {
    const took = await timed(async () => {
      await pause(100);
      for (const end = performance.now() + 2_000; performance.now() < end;);
      await pause(100);
    });
    assert(took < 1_000, `${took} ms`);
  });
});

describe("RedisServer", () => {
  const it = itNeeds(missing("redis-server"));

  it("start() waits until the server answers; kill() and start() keep the port; stop() leaves nothing", async () => {
    const server = await RedisServer.start({ password: "secret", config: ["maxclients 77"] });
    assertEquals(await server.run("config", "get", "maxclients"), ["maxclients", "77"]);
    const { pid, port } = server;
    await server.kill();
    await assertRejects(() => server.run("ping"));
    await server.start();
    assertEquals(await server.run("ping"), "PONG");
    assertEquals(server.port, port);
    await server.stop();
    assert(!runs(pid) && !runs(server.pid) && !existsSync(server.dir));
  });

  it("freeze() stops it from answering until thaw()", async () => {
    await using server = await RedisServer.start();
    server.freeze();
    const answer = server.run("ping");
    await assertRejects(() => within("an answer", answer, 200));
    server.thaw();
    assertEquals(await answer, "PONG");
    assertEquals(await server.clients(), []);
  });

  it("start() rejects with the output of the server", async () => {
    await assertRejects(() => RedisServer.start({ config: ["nonsense 1"] }), Error, "nonsense");
  });

  it("uses TLS with a certificate that clients can verify", async () => {
    await using server = await RedisServer.start({ tls: true });
    assertEquals(await server.run("ping"), "PONG");
    assert(server.url.startsWith("rediss://"));
  });

  it("startCluster() gives three nodes that serve all slots", async () => {
    await using cluster = await startCluster();
    const { Cluster } = await import("ioredis");
    const client = new Cluster(cluster.nodes);
    for (const key of ["a", "b", "c", "d"]) assertEquals(await client.set(key, key), "OK");
    client.disconnect();
  });

  it("startSentinels() fails over when the master dies", async () => {
    await using group = await startSentinels();
    assertEquals(await group.masterPort(), group.master.port);
    await group.master.kill();
    await until("the replica is master", async () => await group.masterPort() === group.replica.port);
    await until("it takes writes", () => group.replica.run("set", "a", "b").catch(() => false));
  });

  for (const name of ["redis-server-6.2", "redis-server-8.2", "valkey-server-9.1"] as const) {
    itNeeds(missing(name))(`runs ${name} too`, async () => {
      await using server = await RedisServer.start({ tool: name });
      assert(String(await server.run("info", "server")).includes(`_version:${name.split("-").at(-1)}`));
    });
  }
});

describe("TcpProxy", () => {
  it("passes, delays, cuts, refuses, corrupts and half-opens", async () => {
    await using server = await RedisServer.start();
    await using proxy = await TcpProxy.to(server.port);
    const client = new Redis({ port: proxy.port, retryStrategy: () => 20, maxRetriesPerRequest: null });
    client.on("error", () => {});
    assertEquals(await client.ping(), "PONG");
    assertEquals([proxy.connections, proxy.accepted], [1, 1]);
    proxy.delay = 100;
    const start = performance.now();
    await client.ping();
    assert(performance.now() - start >= 199);
    proxy.delay = 0;
    proxy.cut();
    assertEquals(await client.ping(), "PONG");
    assertEquals(proxy.accepted, 2);
    await proxy.refuse();
    await until("the client sees that it is refused", () => client.status === "reconnecting");
    assertEquals(proxy.accepted, 2);
    await proxy.accept();
    assertEquals(await client.ping(), "PONG");
    proxy.alter = (chunk, direction) => direction === "down" ? chunk.map((byte) => byte === 0x50 ? 0x70 : byte) : chunk;
    assertEquals(await client.ping(), "pONG");
    proxy.dead = true;
    const never = client.ping();
    await assertRejects(() => within("an answer", never, 200));
    client.disconnect();
    await never.catch(() => {});
  });
});

describe("Peer", () => {
  for (const runtime of [here, there]) {
    it(`exchanges values with a process under ${runtime === here ? "the same" : "the other"} runtime`, async () => {
      await using peer = Peer.start<unknown>(echo, { runtime, args: ["x"], env: { TSMQ_WORD: "w" } });
      assertEquals(await peer.next(), { runtime, args: ["x"], word: "w" });
      assertEquals(await peer.ask({ text: "ü\n" }), { text: "ü\n" });
      peer.end();
      assertEquals(await peer.wait(), { code: 0, signal: null });
    });
  }

  it("next() rejects with the output of a peer that dies", async () => {
    await using peer = Peer.start(echo);
    await peer.next();
    await assertRejects(() => peer.ask("throw"), Error, "thrown on request");
  });

  itNeeds(missing("python"))("runs Python with PyMQ", async () => {
    await using peer = Peer.start(new URL("echo_peer.py", import.meta.url));
    assertEquals(await peer.next(), { pymq: true });
    assertEquals(await peer.ask([1]), [1]);
  });

  it("the child processes of a killed process are killed, and its directories removed", async () => {
    await using peer = Peer.start<{ pid: number; dir: string; guard?: number }>(
      new URL("server_peer.ts", import.meta.url),
    );
    const { pid, dir } = await peer.next();
    assert(runs(pid) && existsSync(dir));
    await peer.kill();
    await until("server and directory are gone", () => !runs(pid) && !existsSync(dir));
  });
});

describe("FauxqsServer", () => {
  it("answers, and ends", async () => {
    const server = await FauxqsServer.start();
    const url = `${server.endpoint}/?Action=ListQueues`;
    assert((await fetch(url)).status < 500);
    await server.stop();
    if (server.ours) await assertRejects(() => fetch(url));
  });
});

/** Whether a process runs. A zombie does not. */
function runs(pid: number): boolean {
  try {
    return !/^State:\s+[ZX]/m.test(readFileSync(`/proc/${pid}/status`, "utf8"));
  } catch {
    return false;
  }
}
