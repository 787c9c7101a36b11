/** `waitOnFirstConnect`: opening a bus before its transport is there. */
// run: on bun
import { assert, assertEquals, assertMatch, assertRejects } from "@std/assert";
import { describe, it } from "@std/testing/bdd";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { pathToFileURL } from "node:url";
import { Bus, type BusOptions, memory, type Provider, ProviderError } from "../../mod.ts";
import { aws } from "../../src/providers/aws/provider.ts";
import { redis } from "../../src/providers/redis/provider.ts";
import { WorkerError } from "../../src/port/spawn.ts";
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

  it("tries until connectTimeout has nearly passed, and rejects with the last error, that time and the option", async () => {
    const { provider } = late(Infinity);
    const started = performance.now();
    const options = { waitOnFirstConnect: true, connectTimeout: 1_400 };
    const error = await assertRejects(() => Bus.open(provider, options), ProviderError);
    const ended = performance.now() - started;
    assertEquals(error.message, "Cannot connect: on purpose, for 1400 ms (connectTimeout)");
    assertEquals(error.code, "unavailable");
    assert(ended > 1_000, `the last attempt ended after ${ended} ms`); // the pauses alone lead to 700 ms
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
    await Promise.all(down.map(async ([provider, text]) => {
      const messageOf = async (options: BusOptions) =>
        (await assertRejects(() => Bus.open(provider, options), ProviderError)).message;
      assertEquals(await messageOf({}), `${text}; to wait for the transport, pass waitOnFirstConnect: true`);
      assertEquals(await messageOf({ waitOnFirstConnect: false }), text);
      // on a busy machine, the start of the worker takes several seconds of this time
      const waited = await messageOf({ waitOnFirstConnect: true, connectTimeout: 10_000 });
      assertEquals(waited, `${text}, for 10000 ms (connectTimeout)`);
    }));
    const broken = await assertRejects(() => Bus.open(late(1, "denied").provider), ProviderError);
    assertEquals(broken.message, "Cannot connect: on purpose");
  });

  it("is not hidden by the worker of the last attempt, which may be too slow to say it", async () => {
    let attempts = 0;
    const open = () => {
      const error = attempts++ === 0
        ? new ProviderError("unavailable", "Cannot connect: on purpose")
        : new WorkerError("unavailable", "the worker is slow");
      return Promise.reject(error);
    };
    const options = { waitOnFirstConnect: true, connectTimeout: 500 };
    const error = await assertRejects(() => Bus.open({ ...memory(), open } as Provider, options), ProviderError);
    assertEquals(error.message, "Cannot connect: on purpose, for 500 ms (connectTimeout)");
    assert(attempts > 1);
  });

  it("is not named by the error of a worker that starts slowly: the transport was not asked", async () => {
    const dir = mkdtempSync(join(tmpdir(), "tsmq-"));
    try {
      const file = join(dir, "silent.js");
      writeFileSync(file, "setInterval(() => {}, 1_000);");
      const opening = Bus.open(memory({ worker: pathToFileURL(file) }), { connectTimeout: 1 });
      const { code, message } = await assertRejects(() => opening, ProviderError);
      assertEquals(code, "unavailable");
      assertMatch(message, /^Cannot open "memory": its worker did not start in time; on a busy machine, .*--no-check$/);
    } finally {
      rmSync(dir, { recursive: true });
    }
  });
});
