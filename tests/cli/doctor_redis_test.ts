// run: on deno
import { assertEquals, assertMatch, assertRejects } from "@std/assert";
import { describe, it } from "@std/testing/bdd";
import { Redis } from "ioredis";
import { rmSync } from "node:fs";
import { createServer } from "node:net";
import { RedisServer, type RedisServerOptions } from "../support/redis_server.ts";
import { here } from "../support/peer.ts";
import { itNeeds } from "../support/skip.ts";
import { missing } from "../support/tools.ts";
import { until } from "../support/until.ts";
import { diagnose } from "./doctor.ts";

/** The check of durability fails on the servers of these tests, which store nothing on disk. */
const VOLATILE = "persistence";

async function broken(options: RedisServerOptions, name: string, state: string, mend: RegExp, url?: string) {
  await using server = await RedisServer.start(options);
  const diagnosis = await diagnose(url ?? server.url);
  assertEquals(diagnosis.notOk(VOLATILE), [`${name}: ${state}`]);
  assertMatch(diagnosis.of(name).mend!, mend);
}

describe("tsmq doctor redis:", () => {
  it("finds no problem on a healthy server", async () => {
    await using server = await RedisServer.start({ config: ["appendonly yes"], args: ["--appendonly", "yes"] });
    const diagnosis = await diagnose(server.url);
    assertEquals(diagnosis.notOk(), []);
    assertEquals(diagnosis.checks.map(({ name }) => name), [
      ...["server", "version", "role", "memory", "persistence", "clients", "pub/sub buffer"],
      ...["leftovers", "permissions", "bus"],
    ]);
    assertEquals(await server.keys(), []);
  });

  for (const name of ["redis-server-6.2", "redis-server-8.2", "valkey-server-9.1"] as const) {
    itNeeds(missing(name))(`finds nothing on ${name}`, async () => {
      await using server = await RedisServer.start({ tool: name });
      assertEquals((await diagnose(server.url)).notOk(VOLATILE), []);
    });
  }

  it("reports a named namespace in which nothing is", async () => {
    await using server = await RedisServer.start();
    const typo = await diagnose(server.url, ["-n", "shpo"]);
    assertEquals([typo.code, typo.notOk(VOLATILE)], [0, ["namespace: risk"]]);
    assertMatch(typo.of("namespace").detail, /"shpo"/);
    await server.run("lpush", "__eventbus:shop:jobs", "1");
    assertEquals((await diagnose(server.url, ["-n", "shop"])).notOk(VOLATILE), []);
  });

  it("reports a refused connection, or an unknown host", async () => {
    const down = await diagnose("redis://127.0.0.1:1");
    assertEquals(down.notOk(), ["server: broken"]);
    assertMatch(down.of("server").mend!, /start redis-server/);
    const lost = await diagnose("redis://no-such-host.invalid");
    assertEquals(lost.notOk(), ["address: broken"]);
    assertMatch(lost.of("address").mend!, /DNS/);
    const socket = await diagnose("unix:///no/such/socket");
    assertEquals(socket.notOk(), ["address: broken"]);
  });

  it("reports that the server does not answer", async () => {
    await using server = await RedisServer.start();
    server.freeze();
    const { notOk, of } = await diagnose(server.url);
    server.thaw();
    assertEquals(notOk(), ["server: broken"]);
    assertMatch(of("server").mend!, /frozen/);
  });

  it("reports that the password is wrong, or missing", async () => {
    await using server = await RedisServer.start({ password: "right" });
    const wrong = await diagnose(`redis://:wrong@127.0.0.1:${server.port}`);
    assertEquals(wrong.notOk(), ["login: broken"]);
    assertMatch(wrong.of("login").mend!, /password is wrong/);
    const none = await diagnose(`redis://127.0.0.1:${server.port}`);
    assertEquals(none.notOk(), ["login: broken"]);
    assertMatch(none.of("login").mend!, /requires a password/);
  });

  it("reports that the server is too old", async () => {
    await using old = await oldServer("5.0.14");
    const { of, code } = await diagnose(`redis://127.0.0.1:${old.port}`);
    assertEquals([code, of("version").state, of("version").detail], [1, "broken", "Redis 5.0.14"]);
    assertMatch(of("version").mend!, /6\.2 or later/);
  });

  it("reports that the server is a replica", async () => {
    await using master = await RedisServer.start();
    await using replica = await RedisServer.start({ args: ["--replicaof", "127.0.0.1", String(master.port)] });
    await until("the replica is in step", async () => /link_status:up/.test(String(await replica.run("info"))));
    const { of, code } = await diagnose(replica.url);
    assertEquals([code, of("role").state], [1, "broken"]);
    assertMatch(of("role").mend!, new RegExp(`redis://127.0.0.1:${master.port}`));
  });

  it("reports that the server is a node of a Cluster", () =>
    RedisServer.start({ args: ["--cluster-enabled", "yes"] }).then(async (server) => {
      await using _ = server;
      const { of } = await diagnose(server.url);
      assertEquals(of("cluster").state, "broken");
      assertMatch(of("cluster").mend!, /redis\+cluster:/);
    }));

  it("reports that a full server evicts queues", () =>
    broken({ args: ["--maxmemory", "100mb", "--maxmemory-policy", "allkeys-lru"] }, "memory", "risk", /noeviction/));

  it("reports that a full server evicts registrations", () =>
    broken({ args: ["--maxmemory", "100mb", "--maxmemory-policy", "volatile-lru"] }, "memory", "risk", /noeviction/));

  it("reports that the server is full", async () => {
    await using server = await RedisServer.start({ args: ["--maxmemory", "1kb"] });
    const { of, code } = await diagnose(server.url);
    assertEquals([code, of("memory").state, of("may put").state], [1, "broken", "broken"]);
    assertMatch(of("memory").mend!, /maxmemory higher/);
    assertMatch(of("may put").detail, /OOM/);
    assertMatch(of("may put").mend!, /^not a permission/); // an ACL would not help
  });

  it("reports that the server cannot write to its disk", async () => {
    await using server = await RedisServer.start();
    rmSync(server.dir, { recursive: true });
    await server.run("bgsave");
    await until("it failed", async () => /bgsave_status:err/.test(String(await server.run("info"))));
    const { of, code } = await diagnose(server.url);
    assertEquals([code, of("persistence").state], [1, "broken"]);
    assertMatch(of("persistence").mend!, /disk has space/);
  });

  it("reports that large events would disconnect subscribers", () =>
    broken(
      { args: ["--client-output-buffer-limit", "pubsub 1mb 512kb 60"] },
      "pub/sub buffer",
      "risk",
      /client-output-buffer-limit|maxEvent/,
    ));

  it("reports that the server accepts no more clients", async () => {
    await using server = await RedisServer.start({ args: ["--maxclients", "2"] });
    const held = [1, 2].map(() => new Redis(server.port, { lazyConnect: true, retryStrategy: () => null }));
    try {
      await Promise.all(held.map((client) => client.connect()));
      const { checks } = await diagnose(server.url);
      // the server's error may be lost with the connection that it closes
      assertEquals(checks.map(({ state }) => state), ["broken"]);
      assertMatch(checks[0]!.mend!, /maxclients/);
    } finally {
      for (const client of held) client.disconnect();
    }
  });

  itNeeds(missing("openssl"))("says that the certificate is not trusted, or that the server speaks TLS", async () => {
    await using server = await RedisServer.start({ tls: true });
    const untrusted = await diagnose(server.url);
    assertEquals(untrusted.notOk(), ["TLS: broken"]);
    const plain = await diagnose(server.url.replace("rediss", "redis"));
    assertEquals(plain.notOk(), ["server: broken"]);
    assertMatch(plain.of("server").mend!, /rediss:/);
  });

  const user = "bus";
  const FULL = ["on", ">secret", "+@all", "~*", "&*"];
  const denials: readonly [title: string, rules: string[], checks: string[], mend: RegExp][] = [
    ["a command", ["-lpush"], ["may put: broken", "may answer PyMQ: risk"], /^ACL SETUSER bus \+lpush/],
    ["channels", ["resetchannels", "&__eventbus:*"], [
      ...["may watch empty queues: risk", "may subscribe to globs: risk"],
      ...["may have an inbox: broken", "may post to an inbox: broken"],
    ], /'&__eventbus:global:\*' '&__tsmq:inbox:__eventbus:global:\*'/],
    ["keys", ["resetkeys", "~__eventbus:*"], [
      ...["may publish: broken", "may have groups: risk"],
      ...["may take, extend, give back and acknowledge: broken", "may register as a server: broken"],
    ], /'~__eventbus:global:\*' '~__tsmq:\{__eventbus:global:\*'/],
    ["INFO", ["-info"], ["version: risk"], /^ACL SETUSER bus \+info/],
    ["HSCAN", ["-hscan"], ["may publish: broken"], /^ACL SETUSER bus \+hscan/],
    ["PUBSUB", ["-pubsub"], ["may count subscribers: broken"], /^ACL SETUSER bus \+pubsub/],
  ];
  for (const [title, rules, checks, mend] of denials) {
    it(`reports that the user may not use ${title}`, async () => {
      await using server = await RedisServer.start();
      await server.run("acl", "setuser", user, ...FULL, ...rules);
      const diagnosis = await diagnose(`redis://${user}:secret@127.0.0.1:${server.port}`);
      const found = diagnosis.notOk(VOLATILE, "bus", "leftovers");
      assertEquals(found, checks);
      assertMatch(diagnosis.of(checks[0]!.split(": ")[0]!).mend!, mend);
    });
  }

  it("advises rules that mean a namespace literally", async () => {
    await using server = await RedisServer.start();
    await server.run("acl", "setuser", user, "on", ">secret", "+@all", "resetkeys", "resetchannels");
    const { checks } = await diagnose(`redis://${user}:secret@127.0.0.1:${server.port}`, ["-n", "s*'[h]?\\"]);
    const mend = checks.map(({ mend = "" }) => mend).join("\n");
    assertMatch(mend, /'~__eventbus:s\\\*\\'\\\[h\\\]\\\?\\\\:\*' /);
    const rules = [...mend.matchAll(/'([~&](?:[^'\\]|\\.)+)'/g)].map(([, rule]) => rule!.replaceAll("\\'", "'"));
    await server.run("acl", "setuser", user, ...rules);
    const client = new Redis({ port: server.port, username: user, password: "secret" });
    try {
      assertEquals(await client.type("__eventbus:s*'[h]?\\:jobs"), "none");
      for (const key of ["__eventbus:shop'hop\\:jobs", "__eventbus:s*'hx\\:jobs"]) {
        await assertRejects(() => client.type(key), Error, "NOPERM");
      }
    } finally {
      client.disconnect();
    }
  });

  it("advises rules that allow one namespace, and no other", async () => {
    await using server = await RedisServer.start();
    await server.run("acl", "setuser", user, "on", ">secret", "+@all", "resetkeys", "resetchannels");
    const applied = new Set<string>();
    for (let before = -1; before < applied.size;) {
      before = applied.size;
      const { checks } = await diagnose(`redis://${user}:secret@127.0.0.1:${server.port}`, ["-n", "shop"]);
      const rules = checks.flatMap(({ mend = "" }) => [...mend.matchAll(/'([~&][^']+)'/g)].map(([, rule]) => rule!));
      for (const rule of rules) applied.add(rule);
      await server.run("acl", "setuser", user, ...applied);
      const notOk = checks.filter(({ state }) => state !== "ok").map(({ name, state }) => `${name}: ${state}`);
      if (before === applied.size) {
        assertEquals(notOk, ["persistence: risk", "may subscribe to globs: risk", "namespace: risk", "bus: risk"]);
      }
    }
    const client = new Redis({ port: server.port, username: user, password: "secret" });
    try {
      for (
        const key of [
          "__tsmq:{__eventbus:other:jobs}items",
          "__tsmq:servers:__eventbus:other:fn",
          "__eventbus:other:jobs",
        ]
      ) {
        await assertRejects(() => client.type(key), Error, "NOPERM");
      }
      await assertRejects(() => client.subscribe("__tsmq:inbox:__eventbus:other:a"), Error, "NOPERM");
    } finally {
      client.disconnect();
    }
  });

  it("reports the registrations of dead servers", async () => {
    await using server = await RedisServer.start();
    await server.run("zadd", "__tsmq:servers:__eventbus:global:add", 1, "__tsmq:inbox:dead");
    const { notOk, of, code } = await diagnose(server.url);
    assertEquals([code, notOk(VOLATILE)], [0, ["leftovers: risk"]]);
    assertMatch(of("leftovers").mend!, /tsmq reap/);
  });

  if (here === "deno") {
    it("names the missing permission of Deno", async () => {
      const missing = async (...permissions: string[]) => {
        const { checks } = await diagnose("redis://127.0.0.1:1", [], { permissions });
        assertEquals(checks.length, 1);
        return `${checks[0]!.name}: ${/--allow-\w+/.exec(checks[0]!.detail)?.[0]}`;
      };
      assertEquals(await missing("--allow-env", "--allow-read"), "runtime permission: --allow-net");
      assertEquals(await missing("--allow-net", "--allow-read"), "runtime permission: --allow-env");
    });
  }
});

/** Answers like a Redis server of an old version, which is not available here. */
async function oldServer(version: string): Promise<AsyncDisposable & { readonly port: number }> {
  const server = createServer((socket) => {
    socket.on("error", () => {});
    socket.on("data", (data) => {
      const words = new TextDecoder().decode(data).toLowerCase();
      // a pipeline has one reply for each of its commands
      for (const [, command] of words.matchAll(/\*\d+\r\n\$\d+\r\n(\w+)/g)) {
        const info = `# Server\r\nredis_version:${version}\r\nloading:0\r\nrole:master\r\n`;
        if (command === "info") socket.write(`$${info.length}\r\n${info}\r\n`);
        else if (command === "quit") socket.end("+OK\r\n");
        else if (command === "ping") socket.write("+PONG\r\n");
        else socket.write("-ERR unknown command\r\n");
      }
    });
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  return {
    port: (server.address() as { port: number }).port,
    [Symbol.asyncDispose]: () => new Promise((resolve) => server.close(() => resolve())),
  };
}
