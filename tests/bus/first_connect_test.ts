/** `waitOnFirstConnect`: opening a bus before its transport is there. */
import { assertEquals, assertMatch, assertRejects } from "@std/assert";
import { describe, it } from "@std/testing/bdd";
import { Bus, type BusOptions, memory, type Provider, ProviderError } from "../../mod.ts";
import { aws } from "../../src/providers/aws/provider.ts";
import { redis } from "../../src/providers/redis/provider.ts";
import { freePort } from "../support/port.ts";

/** A provider that fails to open a number of times, and the number of attempts to open it. */
function late(
  failures: number,
  code: "unavailable" | "denied" = "unavailable",
): { provider: Provider; opened: number } {
  const base = memory();
  const made = {
    opened: 0,
    provider: {
      ...base,
      open: (context) => {
        if (made.opened++ >= failures) return base.open(context);
        return Promise.reject(new ProviderError(code, "Cannot connect: on purpose"));
      },
    } as Provider,
  };
  return made;
}

describe("waitOnFirstConnect", () => {
  it("tries again until the transport is reachable", async () => {
    const transport = late(2);
    await using bus = await Bus.open(transport.provider, { waitOnFirstConnect: true });
    assertEquals(transport.opened, 3);
    await bus.queue("jobs").put(1);
    assertEquals(await bus.queue("jobs").get(), 1);
  });

  it("rejects with the last error when connectTimeout has passed", async () => {
    const transport = late(Infinity);
    const options = { waitOnFirstConnect: true, connectTimeout: 400 };
    const error = await assertRejects(() => Bus.open(transport.provider, options), ProviderError, "on purpose");
    assertEquals(error.code, "unavailable");
  });

  it("rejects immediately with another error, and without the option", async () => {
    const refused = late(1, "denied");
    await assertRejects(() => Bus.open(refused.provider, { waitOnFirstConnect: true }), ProviderError, "on purpose");
    const away = late(1);
    await assertRejects(() => Bus.open(away.provider), ProviderError, "on purpose");
    assertEquals([refused.opened, away.opened], [1, 1]);
  });

  it("is named by the error of a server that is down, unless the option was given", async () => {
    const port = await freePort();
    const credentials = { accessKeyId: "a", secretAccessKey: "b" };
    const down: [Provider, string][] = [
      [redis({ port }), `Cannot connect to Redis: Redis at 127.0.0.1:${port} refused the connection (ECONNREFUSED)`],
      [
        aws({ endpoint: `http://127.0.0.1:${port}`, region: "us-east-1", credentials }),
        `Cannot open an AWS bus: AWS at 127.0.0.1:${port} refused the connection (ECONNREFUSED)`,
      ],
    ];
    for (const [provider, text] of down) {
      const messageOf = async (options: BusOptions) =>
        (await assertRejects(() => Bus.open(provider, options), ProviderError)).message;
      assertEquals(await messageOf({}), `${text}; to wait for the transport, pass waitOnFirstConnect: true`);
      assertEquals(await messageOf({ waitOnFirstConnect: false }), text);
      const waited = await messageOf({ waitOnFirstConnect: true, connectTimeout: 300 });
      assertMatch(waited, /^Cannot (?!.*waitOnFirstConnect)/);
    }
    const broken = await assertRejects(() => Bus.open(late(1, "denied").provider), ProviderError);
    assertEquals(broken.message, "Cannot connect: on purpose");
  });
});
