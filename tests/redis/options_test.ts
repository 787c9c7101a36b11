import { assert, assertEquals, assertRejects, assertThrows } from "@std/assert";
import { describe, it } from "@std/testing/bdd";
import { Buffer } from "node:buffer";
import { Bus } from "../../mod.ts";
import { ValidationError } from "../../src/errors.ts";
import { redis, type RedisOptions } from "../../src/providers/redis/provider.ts";
import { parseOptions } from "../../src/providers/redis/options.ts";

/** Options that JavaScript may pass against the types. */
function given(options: unknown): RedisOptions {
  return options as RedisOptions;
}

describe("redis()", () => {
  it("is one server on this machine by default", () => {
    assertEquals(parseOptions({}), {
      host: "127.0.0.1",
      port: 6379,
      db: 0,
      retry: { min: 50, max: 2_000 },
      maxEvent: 32 * 1024 * 1024,
    });
  });

  it("reads a URL, whose parts other options override", () => {
    const { host, port, username, password, db, tls } = parseOptions({ url: "rediss://me:p%40%2F@example.org:7000/3" });
    assertEquals([host, port, username, password, db, tls], ["example.org", 7000, "me", "p@/", 3, {}]);
    assertEquals(parseOptions({ url: "redis://h:1/2", port: 9, db: 4, tls: { servername: "x" } }).port, 9);
    assertEquals(parseOptions({ url: "redis://[::1]:7000" }).host, "::1");
    assertEquals(parseOptions({ url: "redis://:pw@h" }).password, "pw");
    assertEquals(parseOptions({ url: "rediss://h", tls: false }).tls, undefined);
    assertEquals(parseOptions({ url: "unix:///run/redis.sock" }).path, "/run/redis.sock");
    assertEquals(parseOptions({ url: "unix:///run/my%20app/ü.sock" }).path, "/run/my app/ü.sock");
  });

  it("accepts Sentinels, and the nodes of a Cluster", () => {
    const sentinels = [{ host: "a", port: 1 }];
    assertEquals(parseOptions({ sentinels, name: "main" }).sentinels, sentinels);
    const { cluster, password, tls } = parseOptions({ cluster: ["rediss://:pw@a:1", { host: "b", port: 2 }] });
    assertEquals([cluster, password, tls], [[{ host: "a", port: 1 }, { host: "b", port: 2 }], "pw", {}]);
    const mixed = ["redis://a", "rediss://b", "rediss://:pw@c", "rediss://d"];
    assertEquals(parseOptions({ cluster: mixed, tls: true, password: "x" }).tls, {});
    assertEquals(redis({ cluster: ["redis://a"] }).features.counts, false);
    assertEquals(redis().features.counts, true);
  });

  it("uses TLS with the Sentinels where the master has TLS, unless sentinelTls says otherwise", () => {
    const given = { sentinels: [{ host: "a", port: 1 }], name: "main" };
    const tls = { ca: "x" };
    assertEquals(parseOptions({ ...given, tls }).sentinelTls, tls);
    assertEquals(parseOptions({ ...given, tls: true }).sentinelTls, {});
    assertEquals(parseOptions({ ...given, tls, sentinelTls: { ca: "y" } }).sentinelTls, { ca: "y" });
    assertEquals(parseOptions({ ...given, tls, sentinelTls: false }).sentinelTls, undefined);
    assertEquals(parseOptions(given).sentinelTls, undefined);
    assertEquals(parseOptions({ tls }).sentinelTls, undefined);
  });

  it("is plain data that can be posted to the worker", () => {
    const { options, worker } = redis({ url: "redis://h", tls: { ca: ["x"] } });
    assertEquals(structuredClone(options), options);
    assert(worker.href.endsWith("/workers/redis.ts"));
  });

  for (
    const [options, path, says] of [
      [{ url: "not a url" }, "url", "not a URL"],
      [{ url: "http://h" }, "url", "redis://"],
      [{ url: "redis://h/x" }, "url", "database"],
      [{ url: "redis://h?x=1" }, "url", "?query"],
      [{ url: "redis://%zz@h" }, "url", "percent-encoded"],
      [{ url: "unix:///a%zz" }, "url", "percent-encoded"],
      [{ url: "unix://run/redis.sock" }, "url", "three slashes"],
      [{ url: "redis:/127.0.0.1" }, "url", "must have two slashes after redis:, as in redis://127.0.0.1:6379"],
      [{ url: "rediss:me@h:6379" }, "url", "must have two slashes after rediss:"],
      [{ url: 5 }, "url", "must be a non-empty string, not a number"],
      [{ port: "6379" }, "port", "must be a port, not a string"],
      [{ port: 0 }, "port", "must be a port, not another number"],
      [{ maxEvent: Infinity }, "maxEvent", "must be a number of bytes, above 0, not Infinity"],
      [{ db: -1 }, "db", "whole number"],
      [{ credentials: { password: "x" } }, "credentials", "must be a function"],
      [{ credentials: () => ({}), username: "me" }, "username", "credentials"],
      [{ credentials: () => ({}), password: "x" }, "password", "credentials"],
      [{ prot: 1 }, "prot", "not an option"],
      [{ retry: { min: 0 } }, "retry.min", "milliseconds"],
      [{ retry: { times: 3 } }, "retry.times", "not an option"],
      [{ retry: () => 5 }, "retry", "function"],
      [{ tls: { checkServerIdentity: () => {} } }, "tls.checkServerIdentity", "not an option"],
      [{ tls: { rejectUnauthorized: "no" } }, "tls.rejectUnauthorized", "true or false"],
      [{ password: () => "x" }, "password", "function"],
      [{ sentinels: [{ host: "a", port: 1 }] }, "name", "missing"],
      [{ sentinels: [], name: "m" }, "sentinels", "is empty"],
      [{ sentinels: "a", name: "m" }, "sentinels", "must be a list, not a string"],
      [{ sentinels: [{ host: "a" }], name: "m" }, "sentinels.0.port", "missing"],
      [{ name: "m" }, "sentinels", "missing"],
      [{ cluster: ["redis://a"], url: "redis://b" }, "url", "cluster"],
      [{ cluster: ["redis://a"], db: 1 }, "db", "0"],
      [{ cluster: ["redis://a/1"] }, "cluster.0", "no database but 0"],
      [{ cluster: ["redis://a", "unix:///x"] }, "cluster.1", "not a socket"],
      [{ cluster: ["nonsense"] }, "cluster.0", "URL"],
      [{ cluster: ["redis://a", "rediss://b"] }, "cluster.1", "the tls of the first node"],
      [{ cluster: [{ host: "a", port: 1 }, "redis://u@b"] }, "cluster.1", "the username of the first node"],
      [{ cluster: ["redis://:x@a", "redis://:y@b"] }, "cluster.1", "the password of the first node"],
      [{ path: "/x", host: "h" }, "path", "host"],
      [{ maxEvent: 0 }, "maxEvent", "bytes"],
      [null, "", "object"],
      ["redis://h", "", "object"],
    ] as const
  ) {
    it(`refuses ${JSON.stringify(options)}${path ? `: ${path}` : ""}`, () => {
      const error = assertThrows(() => redis(given(options)), ValidationError, says) as ValidationError;
      assertEquals(error.code, "invalid");
      assert(error.issues.some((issue) => (issue.path ?? []).join(".") === path), JSON.stringify(error.issues));
    });
  }

  it("refuses a namespace with a colon before anything is opened", async () => {
    const opened = Bus.open(redis({ port: 1 }), { namespace: "shop:eu" });
    await assertRejects(() => opened, ValidationError, "colon");
    await assertRejects(() => redis().admin!.open("shop:eu"), ValidationError, "colon");
  });

  it("quotes no password in an error, whatever its type", () => {
    const secret = "geheim";
    const wrong = [
      4711,
      4711n,
      Symbol(secret),
      [secret],
      { secret },
      () => secret,
      new Date(4711),
      Buffer.from(secret),
    ];
    const urls = [`http://me:${secret}@h`, `redis://me:${secret}@h?x`, `redis://me:${secret}%zz@h`, `me:${secret}`];
    const node = { host: "h", port: 1 };
    const faults = [
      ...wrong.flatMap((password) => [{ password }, { sentinelPassword: password }, { tls: { passphrase: password } }]),
      ...urls.flatMap((url) => [{ url }, { cluster: [url] }, { sentinels: [url], name: "m" }]),
      { cluster: [node], url: `redis://:${secret}@h` },
      { password: secret, prot: 1 },
    ];
    for (const options of faults) {
      const error = assertThrows(() => redis(given(options)), ValidationError) as ValidationError;
      const said = error.message + JSON.stringify(error.issues);
      assert(!/geheim|4711|1970/.test(said), said);
    }
  });
});
