/** The provider for each kind of URL, and the URLs that are rejected. */
import { assert, assertEquals, assertMatch, assertRejects } from "@std/assert";
import { afterAll, describe, it } from "@std/testing/bdd";
import { stub } from "@std/testing/mock";
import { chmodSync, chownSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import process from "node:process";
import { providerFor } from "../../cli/url.ts";
import { withoutUser } from "../../cli/urls.ts";
import { ValidationError } from "../../mod.ts";
import { makeDir, removeDir } from "../support/child.ts";
import { Random, SEED } from "../support/random.ts";
import { warnings } from "../support/warnings.ts";

/** The defined options of the provider for a URL. */
async function options(url: string): Promise<Record<string, unknown>> {
  return JSON.parse(JSON.stringify((await providerFor(url)).options));
}

/** The settings that the worker of a Redis bus receives, with the secrets. */
async function secrets(url: string): Promise<Record<string, unknown>> {
  return await (await providerFor(url)).askHandler!.answer("settings", undefined) as Record<string, unknown>;
}

describe("withoutUser()", () => {
  it("leaves out what is between the first // and the last @", () => {
    const random = new Random(SEED);
    for (let i = 0; i < 20_000; i++) {
      const text = Array.from({ length: random.int(0, 12) }, () => "//@a:\n$"[random.int(0, 6)]).join("");
      assertEquals(withoutUser(text), text.replace(/\/\/.*@/s, "//"), `seed ${SEED}: ${JSON.stringify(text)}`);
    }
  });
});

describe("providerFor()", () => {
  const dir = makeDir("urls");
  afterAll(() => removeDir(dir));

  it("parses several hosts, each with the default port of its kind", async () => {
    const { sentinels, name, username } = await options("redis+sentinel://a:p%40ss@one,[::1]:7/mymaster");
    assertEquals(sentinels, [{ host: "one", port: 26_379 }, { host: "::1", port: 7 }]);
    assertEquals([name, username], ["mymaster", "a"]);
    assertEquals((await secrets("redis+sentinel://a:p%40ss@one/mymaster")).password, "p@ss");
    const { cluster } = await options("redis+cluster://one,two:7001/0");
    assertEquals(cluster, [{ host: "one", port: 6_379 }, { host: "two", port: 7_001 }]);
  });

  it("takes a directory for ipc:, and an endpoint and a region for aws:", async () => {
    assertEquals([(await options("ipc:")).directory, (await options("ipc:/tmp")).directory], ["/dev/shm", "/tmp"]);
    assertEquals((await options("ipc:?group=1000")).group, 1_000);
    const { region, endpoint } = await options("aws:us-east-1?endpoint=http://localhost:4566");
    assertEquals([region, endpoint], ["us-east-1", "http://localhost:4566"]);
  });

  it("returns the same provider for each memory:, so that its buses share a broker", async () => {
    const [one, two] = await Promise.all([providerFor("memory:"), providerFor("memory:")]);
    assert(one === two);
  });

  it("uses TLS for every server of rediss+sentinel: and rediss+cluster:", async () => {
    const { tls, sentinelTls } = await secrets("rediss+sentinel://:p@one/mymaster");
    assertEquals([tls, sentinelTls], [{}, {}]);
    assertEquals((await secrets("rediss+cluster://:p@one")).tls, {});
    assertEquals((await secrets("redis+sentinel://:p@one/mymaster")).sentinelTls, undefined);
  });

  it("reads the URL from the environment or from a file", async () => {
    const file = join(dir, "url");
    writeFileSync(file, "redis://:s3cret@one:7/2\n");
    process.env.TSMQ_TEST_URL = "redis://:s3cret@one:7/2";
    for (const url of ["env:TSMQ_TEST_URL", `file:${file}`]) {
      const { host, port, db, password } = await secrets(url);
      assertEquals([host, port, db, password], ["one", 7, 2, "s3cret"]);
    }
    process.env.TSMQ_TEST_URL = "http://:secret@one";
    writeFileSync(file, "env:TSMQ_TEST_URL");
    for (const url of ["env:TSMQ_TEST_URL", `file:${file}`, "env:TSMQ_TEST_NONE", "env:", `file:${file}.none`]) {
      const error = await assertRejects(() => providerFor(url), ValidationError, "Cannot use a URL");
      assert(!error.message.includes("secret"), error.message);
    }
    delete process.env.TSMQ_TEST_URL;
  });

  it("warns about a file with a password that others may read, and repeats no secret", async () => {
    const warned = (name: string) => warnings(() => providerFor(`file:${join(dir, name)}`));
    for (const [name, url, mode] of [["a", "redis://one", 0o644], ["b", "redis://:s3cret@one", 0o600]] as const) {
      writeFileSync(join(dir, name), url);
      chmodSync(join(dir, name), mode);
      assertEquals(await warned(name), []);
    }
    chmodSync(join(dir, "b"), 0o644);
    const written = await warned("b");
    const own = process.getuid!();
    using _ = stub(process as { getuid(): number }, "getuid", () => own + 1); // the file then belongs to another user, if that is not root
    writeFileSync(join(dir, "c"), "redis://:s3cret@one", { mode: 0o600 });
    if (own === 0) { // only root can give a file to another user
      assertEquals(await warned("c"), [], "root's file is no other user's");
      chownSync(join(dir, "c"), 2, 0);
    }
    written.push(...await warned("c"));
    assertEquals(written.length, 2);
    assertMatch(written[0]!, /has a URL with a password: other users may read or change it; run: chmod 600 /);
    assertMatch(written[1]!, /has a URL with a password: it belongs to another user, who may read and change it/);
    assert(!written.join().includes("s3cret"));
  });

  const wrong: Record<string, string> = {
    "an unknown scheme": "http://secret@host",
    "a host for ipc:, which is not a directory": "ipc://secret",
    "another parameter for ipc:": "ipc:?secret=1",
    "the name of a group for ipc:": "ipc:?group=secret",
    "an unknown parameter of aws:": "aws:us-east-1?endpont=http://secret:4566",
    "a database of a Cluster": "redis+cluster://secret@host/2",
    "a password that is not encoded": "redis+cluster://user:%secret@host",
    "a password that is not encoded, with an @": "redis+sentinel://user:pa@secret@host/m",
    "a password that is not encoded, with a slash": "redis+sentinel://user:pa/secret@host:7/m",
    "a password that is not encoded, with a slash after a number": "redis+cluster://user:7/secret@host",
    "a port that is not a number": "redis+cluster://host:secret",
    "a parameter of Sentinels": "redis+sentinel://host/m?sentinelPassword=secret",
    "a parameter of a Cluster": "redis+cluster://host?password=secret",
    "a fragment": "redis+cluster://host#secret",
    "a password of the endpoint of aws:": "aws:us-east-1?endpoint=http://user:secret@host",
    "no hosts": "redis+sentinel://",
    "no master": "redis+sentinel://secret@host",
  };
  for (const [what, url] of Object.entries(wrong)) {
    it(`rejects ${what}, and does not quote it`, async () => {
      const error = await assertRejects(() => providerFor(url), ValidationError);
      assert(!error.message.includes("secret"), error.message);
    });
  }
});
