import { assert, assertEquals, assertRejects } from "@std/assert";
import { afterAll, beforeAll, describe, it } from "@std/testing/bdd";
import { execFileSync } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { ProviderError } from "../../src/errors.ts";
import { Names, slotOf } from "../../src/providers/redis/keys.ts";
import type { RedisOptions } from "../../src/providers/redis/provider.ts";
import { type Halves, NOW, open } from "./halves.ts";
import { pause, RedisServer, until } from "./server.ts";

/** What must work whatever the server looks like. */
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
  const [inbox] = await other.sender.servers("t");
  await other.sender.post(inbox!, "letter");
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

/** The halves find back to where the events and queues are now. */
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

describe("Redis over TLS", () => {
  const dir = mkdtempSync(join(tmpdir(), "tsmq-tls-"));
  const file = (name: string) => join(dir, name);
  const ssl = (...args: string[]) => execFileSync("openssl", args, { cwd: dir, stdio: "pipe" });
  let server: RedisServer;
  beforeAll(async () => {
    const subject = ["-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost,IP:127.0.0.1"];
    ssl(
      "req",
      "-x509",
      "-newkey",
      "rsa:2048",
      "-nodes",
      "-keyout",
      "key.pem",
      "-out",
      "cert.pem",
      "-days",
      "2",
      ...subject,
    );
    const port = await RedisServer.freePort();
    server = await RedisServer.start(
      ...["--tls-port", `${port}`, "--tls-cert-file", file("cert.pem"), "--tls-key-file", file("key.pem")],
      ...["--tls-ca-cert-file", file("cert.pem"), "--tls-auth-clients", "optional"],
    );
    url = `rediss://localhost:${port}`;
  });
  let url = "";
  afterAll(async () => {
    await server.stop();
    rmSync(dir, { recursive: true });
  });

  it("works with an authority of our own", () => works({ url, tls: { ca: readFileSync(file("cert.pem"), "utf8") } }));

  it("works with a certificate of our own", () =>
    works({
      url,
      tls: {
        ca: readFileSync(file("cert.pem"), "utf8"),
        cert: readFileSync(file("cert.pem"), "utf8"),
        key: readFileSync(file("key.pem"), "utf8"),
      },
    }));

  it("works without looking at the certificate, if told so", () => works({ url, tls: { rejectUnauthorized: false } }));

  it("refuses a certificate that nobody vouches for", async () => {
    const error = await assertRejects(() => open({ url }), ProviderError);
    assertEquals((error as ProviderError).code, "unavailable");
    assert(
      /certificate|self.signed|UnknownIssuer|CaUsedAsEndEntity/i.test((error as Error).message),
      (error as Error).message,
    );
  });
});

describe("Redis on a Unix socket", () => {
  it("works", async () => {
    const dir = mkdtempSync(join(tmpdir(), "tsmq-unix-"));
    const server = await RedisServer.start("--unixsocket", join(dir, "redis.sock"));
    try {
      await works({ url: `unix://${join(dir, "redis.sock")}` });
    } finally {
      await server.stop();
      rmSync(dir, { recursive: true });
    }
  });
});

describe("Redis with a database and a password", () => {
  it("works", async () => {
    const server = await RedisServer.start("--requirepass", "geheim");
    try {
      await works({ url: `redis://:geheim@127.0.0.1:${server.port}/3` });
    } finally {
      await server.stop();
    }
  });
});

describe("Redis behind Sentinels", () => {
  let master: RedisServer;
  let replica: RedisServer;
  const sentinels: RedisServer[] = [];
  const options = () => ({ sentinels: sentinels.map(({ port }) => ({ host: "127.0.0.1", port })), name: "main" });
  beforeAll(async () => {
    master = await RedisServer.start();
    replica = await RedisServer.start(
      "--replicaof",
      "127.0.0.1",
      String(master.port),
      "--repl-diskless-sync-delay",
      "0",
    );
    for (let n = 0; n < 3; n++) sentinels.push(await RedisServer.sentinel("main", master.port));
    await until("the Sentinels know all", async () => {
      const told = await Promise.all(sentinels.map((one) => one.run("sentinel", "master", "main")));
      return told.every((one) => /num-slaves,1,.*num-other-sentinels,2/.test(String(one)));
    }, 30_000);
  });
  afterAll(() => Promise.all([master, replica, ...sentinels].map((server) => server.stop())));

  it("works, and tells when no Sentinel is there or knows the name", async () => {
    await works(options());
    await assertRejects(() => open({ ...options(), name: "other" }, { connectTimeout: 2_000 }), ProviderError);
    const nobody = { sentinels: [{ host: "127.0.0.1", port: await RedisServer.freePort() }], name: "main" };
    const error = await assertRejects(() => open(nobody), ProviderError, "entinel");
    assertEquals((error as ProviderError).code, "unavailable");
  });

  it("follows the master when it dies", async () => {
    await using bus = await open(options());
    const waits = bus.bodies("q", { wait: 60_000 });
    await pause(50);
    await master.kill();
    await recovers(bus);
    await bus.sender.send("q", "x", NOW);
    assertEquals(await waits, ["x"]);
    assert(bus.said.includes("gap"));
    assertEquals(await replica.run("pubsub", "numsub", `__eventbus:${bus.namespace}:r`), [
      `__eventbus:${bus.namespace}:r`,
      1,
    ]);
  });
});

describe("Redis Cluster", () => {
  const nodes: RedisServer[] = [];
  const options = () => ({ cluster: nodes.map(({ port }) => `redis://127.0.0.1:${port}`) });
  beforeAll(async () => {
    for (let n = 0; n < 6; n++) {
      nodes.push(
        await RedisServer.start(
          "--cluster-enabled",
          "yes",
          "--repl-diskless-sync-delay",
          "0",
          "--cluster-node-timeout",
          "1000",
        ),
      );
    }
    const addresses = nodes.map(({ port }) => `127.0.0.1:${port}`);
    execFileSync("redis-cli", ["--cluster", "create", ...addresses, "--cluster-replicas", "1", "--cluster-yes"], {
      stdio: "pipe",
    });
    await until("the cluster is whole", async () => {
      const told = await Promise.all(
        nodes.flatMap((node) => [node.run("cluster", "info"), node.run("info", "replication")]),
      );
      const text = told.join();
      const count = (pattern: RegExp) => text.match(pattern)?.length;
      return count(/cluster_state:ok/g) === 6 && count(/cluster_known_nodes:6/g) === 6 &&
        count(/master_link_status:up/g) === 3;
    }, 30_000);
  });
  afterAll(() => Promise.all(nodes.map((node) => node.stop())));

  it("works, whichever node is told", () => works(options(), false));

  it("works when some of the nodes that it was told are gone", async () => {
    const gone = `redis://127.0.0.1:${await RedisServer.freePort()}`;
    await works({ cluster: [gone, ...options().cluster] }, false);
  });

  it("every key of a queue is in the slot of its list", async () => {
    const names = new Names("n{s}");
    const plain = new Names("global");
    for (const name of ["q", "{a}b", "a}b", "{}", "{}{a}", "}{", "{", "a{b}c{d}", "ü😀", "{ü}", ""]) {
      for (const { list, due, items, prefix } of [names.queue(name), plain.queue(name)]) {
        const slot = await nodes[0]!.run("cluster", "keyslot", list);
        for (const key of [list, due, items, `${prefix}record:x`]) {
          assertEquals(await nodes[0]!.run("cluster", "keyslot", key), slot, key);
          assertEquals(slotOf(key), slot);
        }
      }
    }
  });

  it("keeps the order of a publisher, and finds what others put within 250 ms", async () => {
    await using bus = await open(options());
    const seen: string[] = [];
    await bus.receiver.subscribe({ topic: "t", pattern: false, serves: false }, (_, body) => seen.push(body));
    const sent = Array.from({ length: 2_000 }, (_, n) => `${n}`);
    await Promise.all(sent.map((body) => bus.sender.publish("t", body)));
    await until("all have come", () => seen.length === sent.length);
    assertEquals(seen, sent);
    const waits = bus.bodies("q", { wait: 10_000 });
    await pause(130);
    const start = performance.now();
    await bus.sender.send("q", "x", NOW);
    assertEquals(await waits, ["x"]);
    assert(performance.now() - start < 250);
  });

  it("goes on when a master dies", async () => {
    await using bus = await open(options());
    const waits = Array.from({ length: 6 }, (_, n) => bus.bodies(`q${n}`, { wait: 60_000 }));
    await pause(50);
    await nodes[0]!.kill();
    await recovers(bus);
    for (let n = 0; n < 6; n++) {
      await until("it is sent", () => bus.sender.send(`q${n}`, `${n}`, NOW).then(() => true, () => false), 40_000);
    }
    assertEquals((await Promise.all(waits)).flat(), waits.map((_, n) => `${n}`));
  });
});
