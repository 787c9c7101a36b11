import { afterAll, beforeAll, describe } from "@std/testing/bdd";
import { memory } from "../../mod.ts";
import type { Provider } from "../../src/provider/provider.ts";
import { ipc } from "../../src/providers/ipc/provider.ts";
import { redis } from "../../src/providers/redis/provider.ts";
import { RedisServer } from "../support/redis_server.ts";
import { itNeeds } from "../support/skip.ts";
import { missing } from "../support/tools.ts";

/** What buses stand on. */
export interface Ground {
  readonly name: "memory" | "redis" | "ipc";
  readonly it: ReturnType<typeof itNeeds>;
  /** The server, on Redis. */
  server(): RedisServer;
  /** A new provider value. */
  provider(): Provider;
}

/** Runs tests on a Redis server of their own. */
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

/** Runs tests on POSIX queues. */
export function onIpc(what: string, tests: (ground: Ground) => void): void {
  describe(`${what}, on POSIX queues`, () => {
    tests({ name: "ipc", it: itNeeds(undefined), server: none, provider: () => ipc() });
  });
}

/** Runs tests in memory and on a Redis server of their own. */
export function onEach(what: string, tests: (ground: Ground) => void): void {
  describe(`${what}, in memory`, () => {
    tests({ name: "memory", it: itNeeds(undefined), server: none, provider: () => memory() });
  });
  onRedis(what, tests);
}

function none(): never {
  throw new Error("there is no server here");
}

/** A namespace of one test's own. */
export function fresh(): string {
  return `test-${crypto.randomUUID()}`;
}
