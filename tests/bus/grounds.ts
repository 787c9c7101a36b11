import { afterAll, beforeAll, describe } from "@std/testing/bdd";
import { memory } from "../../mod.ts";
import type { Provider } from "../../src/provider/provider.ts";
import { ipc } from "../../src/providers/ipc/provider.ts";
import { redis } from "../../src/providers/redis/provider.ts";
import { RedisServer } from "../support/redis_server.ts";
import { sideBySide } from "../support/side_by_side.ts";
import { itNeeds } from "../support/skip.ts";
import { missing } from "../support/tools.ts";

/** The transport of a test. */
export interface Ground {
  readonly name: "memory" | "redis" | "ipc";
  readonly it: ReturnType<typeof itNeeds>;
  /** The Redis server, if the transport is Redis. */
  server(): RedisServer;
  /** A new provider value. */
  provider(): Provider;
}

/** Runs tests with their own Redis server. */
export function onRedis(what: string, tests: (ground: Ground) => void): void {
  describe(`${what}, on Redis`, () => {
    const lacks = missing("redis-server");
    let server: RedisServer | undefined;
    if (lacks === undefined) {
      beforeAll(async () => void (server = await RedisServer.start()));
      afterAll(async () => await server?.stop());
    }
    const started = () => server!;
    tests({ name: "redis", it: itNeeds(lacks), server: started, provider: () => redis({ url: started().url }) });
  });
}

/** Runs tests with POSIX queues. */
export function onIpc(what: string, tests: (ground: Ground) => void): void {
  describe(`${what}, on POSIX queues`, () => {
    tests({ name: "ipc", it: itNeeds(undefined), server: none, provider: () => ipc() });
  });
}

/** Runs tests in memory, and with their own Redis server. */
export function onEach(what: string, tests: (ground: Ground) => void): void {
  describe(`${what}, in memory`, () => {
    tests({ name: "memory", it: itNeeds(undefined), server: none, provider: () => memory() });
  });
  onRedis(what, tests);
}

function none(): never {
  throw new Error("there is no server here");
}

/** Returns an `it` whose tests run side by side, if the transport can run at all. */
export function beside({ name, it }: Ground): (name: string, run: () => unknown) => void {
  return name === "redis" && missing("redis-server") !== undefined ? it : sideBySide(4);
}

/** Returns a new namespace. */
export function fresh(): string {
  return `test-${crypto.randomUUID()}`;
}
