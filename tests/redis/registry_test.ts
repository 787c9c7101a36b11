import { assertEquals } from "@std/assert";
import { describe, it } from "@std/testing/bdd";
import { FakeTime } from "@std/testing/time";
import { ProviderError } from "../../src/errors.ts";
import { Names } from "../../src/providers/redis/names.ts";
import { Registry } from "../../src/providers/redis/registry.ts";
import type { ReplyReader } from "../../src/providers/redis/replies.ts";

/** Longer than the pause between two renewals. */
const RENEWED = 6_000;

/** A client that replies 1 to each command, or rejects it with an error. */
class FakeClient {
  up = true;
  error: Error | undefined;
  readonly sent: string[] = [];

  call<T>(read: ReplyReader<T>, name: string): Promise<T> {
    this.sent.push(name);
    return this.error ? Promise.reject(this.error) : Promise.resolve(read(1));
  }

  close(): Promise<void> {
    return Promise.resolve();
  }
}

describe("the registry of servers", () => {
  it("has no registration after close(), even if the connection reconnects meanwhile", async () => {
    const client = new FakeClient();
    const registry = new Registry(client, new Names("n"), "inbox", () => {});
    await registry.add("t");
    registry.stop();
    const closed = registry.close();
    await registry.renew();
    await closed;
    assertEquals(client.sent, ["evalsha", "zrem"]);
  });

  it("reports a renewal that fails, but not one that fails because the connection is down", async () => {
    using time = new FakeTime();
    const client = new FakeClient();
    const faults: unknown[] = [];
    const registry = new Registry(client, new Names("n"), "inbox", (error) => faults.push(error));
    await registry.add("t");
    const fail = async (up: boolean, error: Error) => {
      Object.assign(client, { up, error });
      await time.tickAsync(RENEWED);
    };
    const [unavailable, denied] = (["unavailable", "denied"] as const).map((code) => new ProviderError(code, code));
    await fail(false, unavailable!);
    assertEquals(faults, []);
    await fail(true, unavailable!);
    await fail(false, denied!);
    assertEquals(faults, [unavailable, denied]);
    registry.stop();
  });
});
