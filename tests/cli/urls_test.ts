/** The provider for each kind of URL, and the URLs that are rejected. */
import { assert, assertEquals, assertRejects } from "@std/assert";
import { describe, it } from "@std/testing/bdd";
import { providerFor } from "../../cli/url.ts";
import { ValidationError } from "../../mod.ts";

/** The defined options of the provider for a URL. */
async function options(url: string): Promise<Record<string, unknown>> {
  return JSON.parse(JSON.stringify((await providerFor(url)).options));
}

describe("providerFor()", () => {
  it("parses several hosts, each with the default port of its kind", async () => {
    const { sentinels, name, username, password } = await options("redis+sentinel://a:p%40ss@one,[::1]:7/mymaster");
    assertEquals(sentinels, [{ host: "one", port: 26_379 }, { host: "::1", port: 7 }]);
    assertEquals([name, username, password], ["mymaster", "a", "p@ss"]);
    const { cluster } = await options("redis+cluster://one,two:7001/0");
    assertEquals(cluster, [{ host: "one", port: 6_379 }, { host: "two", port: 7_001 }]);
  });

  it("takes a directory for ipc:, and an endpoint and a region for aws:", async () => {
    assertEquals([(await options("ipc:")).directory, (await options("ipc:/tmp")).directory], ["/dev/shm", "/tmp"]);
    const { region, endpoint } = await options("aws:us-east-1?endpoint=http://localhost:4566");
    assertEquals([region, endpoint], ["us-east-1", "http://localhost:4566"]);
  });

  const wrong: Record<string, string> = {
    "an unknown scheme": "http://secret@host",
    "a host for ipc:, which is not a directory": "ipc://secret",
    "an unknown parameter of aws:": "aws:us-east-1?endpont=http://secret:4566",
    "a database of a Cluster": "redis+cluster://secret@host/2",
    "a password that is not encoded": "redis+cluster://user:%secret@host",
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
