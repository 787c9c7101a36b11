/** A Redis server that stores acknowledged writes on disk, and a proxy to it. */
import type { Provider } from "../../mod.ts";
import { redis } from "../../src/providers/redis/provider.ts";
import { mkdirSync, rmSync } from "node:fs";
import { join } from "node:path";
import { type Faulty, faulty } from "../bus/faulty.ts";
import { RedisServer } from "../support/redis_server.ts";
import { TcpProxy } from "../support/tcp_proxy.ts";
import { pause, until } from "../support/until.ts";
import { peerEnded } from "./closing.ts";
import { clockStep, COMMON, peerKilled, prefetcherKilled, workerDies } from "./common.ts";
import type { Fault, Ground, Scene } from "./ground.ts";
import { HANG, type Traffic } from "./traffic.ts";

/** A server of its own. */
export class RedisGround implements Ground {
  readonly name: string;
  readonly server: RedisServer;
  readonly wire: TcpProxy;
  #faulty: Faulty | undefined;

  private constructor(server: RedisServer, wire: TcpProxy) {
    this.name = server.ca ? "redis over TLS" : "redis";
    this.server = server;
    this.wire = wire;
  }

  static async open({ tls = false } = {}): Promise<RedisGround> {
    const server = await RedisServer.start({ tls, args: ["--appendonly", "yes", "--appendfsync", "always"] });
    return new RedisGround(server, await TcpProxy.to(server.port));
  }

  get place() {
    const { ca } = this.server;
    return { provider: "redis" as const, options: { port: this.wire.port, ...(ca && { tls: { ca } }) } };
  }

  provider(breakable?: boolean): Provider {
    const provider = redis(this.place.options);
    if (!breakable) return provider;
    this.#faulty = faulty(undefined, provider);
    return this.#faulty.provider;
  }

  breakWorker(...how: Parameters<Faulty["fault"]>): void {
    this.#faulty!.fault(...how);
  }

  /** Changes the configuration of the server for a moment. */
  async configured(name: string, value: string, otherwise: string, ms: number): Promise<void> {
    await this.server.run("config", "set", name, value);
    await pause(ms);
    await this.server.run("config", "set", name, otherwise);
  }

  async connections(): Promise<number> {
    return (await this.server.clients()).length;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.wire.close();
    await this.server.stop();
  }
}

/** Resolves when the buses have lost their connections and reconnected. */
async function back(traffic: Traffic): Promise<void> {
  await until("the buses are up", () => traffic.buses.every((bus) => bus.health().state === "up"), HANG);
}

type Inject = (scene: Scene<RedisGround>) => Promise<void>;

function fault(name: string, times: number, pause: number, inject: Inject): Fault<RedisGround> {
  return { name, times, pause, inject };
}

/** The errors that the server returns instead of running a command. */
const REFUSALS: readonly Fault<RedisGround>[] = [
  fault("out of memory", 12, 60, ({ ground, random }) => ground.configured("maxmemory", "1", "0", random.int(10, 200))),
  fault(
    "no replicas",
    12,
    60,
    ({ ground, random }) => ground.configured("min-replicas-to-write", "1", "0", random.int(10, 200)),
  ),
  fault("disk refuses", 4, 100, async ({ ground: { server }, random }) => {
    // a snapshot cannot replace a directory; until a snapshot succeeds, the server refuses writes
    const file = join(server.dir, "dump.rdb");
    const done = async (status: string) => {
      await server.run("bgsave");
      await until(`the snapshot is ${status}`, async () => {
        const info = String(await server.run("info", "persistence"));
        return info.includes("rdb_bgsave_in_progress:0") && info.includes(`rdb_last_bgsave_status:${status}`);
      });
    };
    await server.run("config", "set", "save", "3600 1");
    rmSync(file, { force: true, recursive: true });
    mkdirSync(join(file, "in the way"), { recursive: true });
    await done("err");
    await pause(random.int(10, 200));
    rmSync(file, { recursive: true });
    await done("ok");
    await server.run("config", "set", "save", "");
  }),
  fault("becomes a replica", 4, 100, async ({ ground: { server }, traffic, random }) => {
    await server.run("replicaof", "127.0.0.1", "1");
    await pause(random.int(10, 200));
    await server.run("replicaof", "no", "one");
    await back(traffic);
  }),
  fault("scripts flushed", 20, 30, async ({ ground: { server } }) => void await server.run("script", "flush")),
  fault("registrations lost", 15, 60, async ({ ground: { server }, namespace }) => {
    const keys = ["echo", "all"].map((fn) => `__tsmq:servers:__eventbus:${namespace}:${fn}`);
    await server.run("del", ...keys);
  }),
  fault("clients paused", 8, 50, async ({ ground: { server }, random }) => {
    const ms = random.int(50, 400);
    await server.run("client", "pause", ms, "all");
    await pause(ms);
  }),
];

/** The faults of the server. */
const SERVER: readonly Fault<RedisGround>[] = [
  fault("server killed", 4, 100, async ({ ground: { server }, traffic, random }) => {
    await server.kill();
    await pause(random.int(0, 500));
    await server.start();
    await back(traffic);
  }),
  fault("server frozen", 5, 100, async ({ ground: { server }, random }) => {
    server.freeze();
    await pause(random.int(50, 2_000));
    server.thaw();
  }),
  fault("client killed", 60, 40, async ({ ground: { server }, random }) => {
    const ids = (await server.clients()).map((line) => /\bid=(\d+)/.exec(line)![1]!);
    if (ids.length > 0) await server.run("client", "kill", "id", random.pick(ids));
  }),
];

/** The faults of the network. */
const WIRE: readonly Fault<RedisGround>[] = [
  fault("wire cut", 60, 40, ({ ground: { wire } }) => Promise.resolve(wire.cut())),
  fault("replies lost", 25, 40, async ({ ground: { wire }, random }) => {
    wire.deaf = true;
    await pause(random.int(5, 100));
    wire.cut();
    wire.deaf = false;
  }),
  fault("half open", 4, 100, async ({ ground: { wire }, random }) => {
    wire.dead = true;
    await pause(random.chance(0.2) ? 7_000 : random.int(10, 1_500));
    wire.cut();
    wire.dead = false;
  }),
  fault("refused", 5, 60, async ({ ground: { wire }, traffic, random }) => {
    await wire.refuse();
    await pause(random.int(10, 300));
    await wire.accept();
    await back(traffic);
  }),
  fault("delayed", 8, 50, async ({ ground: { wire }, random }) => {
    wire.delay = random.int(10, 300);
    await pause(random.int(50, 300));
    wire.delay = 0;
  }),
  fault("cut within a frame", 25, 40, async ({ ground: { wire }, random }) => {
    const cut = Promise.withResolvers<void>();
    wire.alter = (chunk) => {
      wire.alter = (chunk) => chunk.subarray(0, 0);
      setTimeout(() => {
        wire.cut();
        wire.alter = undefined;
        cut.resolve();
      });
      return chunk.subarray(0, random.int(0, chunk.length - 1));
    };
    await cut.promise;
  }),
];

/** The faults that only TLS detects reliably, because the protocol of Redis has no checksum. */
export const tlsFaults: readonly Fault<RedisGround>[] = [{
  name: "corrupted",
  times: 8,
  pause: 80,
  long: true,
  inject: async ({ ground: { wire }, random }) => {
    let chunks = random.int(1, 3);
    wire.alter = (chunk) => chunks-- <= 0 ? chunk : random.bytes(chunk.length);
    await until("some chunks were corrupted", () => chunks <= 0, HANG);
    wire.alter = undefined;
  },
}];

export const redisFaults: readonly Fault<RedisGround>[] = [
  ...COMMON,
  clockStep(3_600_000),
  ...SERVER,
  ...WIRE,
  ...REFUSALS,
  workerDies(3, ["events", "get"]),
  peerEnded(2),
  peerKilled(2),
  prefetcherKilled(2),
];
