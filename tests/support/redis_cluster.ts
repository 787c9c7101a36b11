/** Redis Clusters, and servers with Sentinels. */
import { freePort } from "./port.ts";
import { RedisServer, type RedisServerOptions } from "./redis_server.ts";
import { until } from "./until.ts";

const SLOTS = 16_384;

/** Several servers with one life. */
export class RedisGroup implements AsyncDisposable {
  readonly servers: readonly RedisServer[];

  constructor(servers: readonly RedisServer[]) {
    this.servers = servers;
  }

  /** The addresses for clients. */
  get nodes(): { host: string; port: number }[] {
    return this.servers.map(({ port }) => ({ host: "127.0.0.1", port }));
  }

  /** Ends all. */
  async stop(): Promise<void> {
    await Promise.all(this.servers.map((server) => server.stop()));
  }

  /** Ends all. */
  async [Symbol.asyncDispose](): Promise<void> {
    await this.stop();
  }
}

/** Starts a cluster of `size` masters that serve all slots. */
export async function startCluster(size = 3, options: RedisServerOptions = {}): Promise<RedisGroup> {
  const args = ["--cluster-enabled", "yes", "--cluster-node-timeout", "2000", ...options.args ?? []];
  const group = new RedisGroup(
    // one after the other, because another program may take a free port
    await inTurn(size, async () => {
      // the default bus port is 10,000 higher, which may be in use or above 65,535
      const bus = ["--cluster-port", String(await freePort())];
      return await RedisServer.start({ ...options, args: [...args, ...bus] });
    }),
  );
  try {
    const [first, ...others] = group.servers;
    for (const [index, server] of group.servers.entries()) {
      const from = Math.floor(index * SLOTS / size);
      const to = Math.floor((index + 1) * SLOTS / size) - 1;
      await server.run("cluster", "addslotsrange", from, to);
      await server.run("cluster", "set-config-epoch", index + 1);
    }
    for (const server of others) {
      const bus = String(await server.run("config", "get", "cluster-port")).split(",")[1]!;
      await first!.run("cluster", "meet", "127.0.0.1", server.port, bus);
    }
    for (const server of group.servers) {
      await until("every node knows the whole cluster", async () => {
        const info = String(await server.run("cluster", "info"));
        return info.includes("cluster_state:ok") && info.includes(`cluster_known_nodes:${size}`);
      });
    }
    return group;
  } catch (error) {
    await group.stop();
    throw error;
  }
}

/** Starts a master and a replica that gets its data at once. */
export async function startReplicated(options: RedisServerOptions = {}): Promise<[RedisServer, RedisServer]> {
  const args = [...options.args ?? [], "--repl-diskless-sync-delay", "0"];
  const master = await RedisServer.start({ ...options, args });
  const follows = ["--replicaof", "127.0.0.1", String(master.port)];
  return [master, await RedisServer.start({ ...options, args: [...args, ...follows] })];
}

/** A master, its replica, and Sentinels that watch them under the name `tsmq`. */
export interface Sentinels extends AsyncDisposable {
  readonly name: string;
  readonly master: RedisServer;
  readonly replica: RedisServer;
  readonly sentinels: RedisGroup;
  /** Returns the port of the current master, as the Sentinels report it. */
  masterPort(): Promise<number>;
  /** Ends all. */
  stop(): Promise<void>;
}

/** Starts a master, a replica and Sentinels, which replace a dead master after about a second. */
export async function startSentinels(size = 3, options: RedisServerOptions = {}): Promise<Sentinels> {
  const name = "tsmq";
  const [master, replica] = await startReplicated(options);
  const config = [
    `sentinel monitor ${name} 127.0.0.1 ${master.port} ${Math.floor(size / 2) + 1}`,
    `sentinel down-after-milliseconds ${name} 500`,
    `sentinel failover-timeout ${name} 3000`,
  ];
  const sentinels = new RedisGroup(
    await inTurn(size, () => RedisServer.start({ tool: options.tool, sentinel: true, config })),
  );
  const stop = async () => {
    await Promise.all([master.stop(), replica.stop(), sentinels.stop()]);
  };
  const sees = async (server: RedisServer) => {
    const row = await server.run("sentinel", "master", name) as string[];
    return { slaves: row[row.indexOf("num-slaves") + 1], others: row[row.indexOf("num-other-sentinels") + 1] };
  };
  try {
    for (const server of sentinels.servers) {
      await until("every Sentinel knows the replica and the others", async () => {
        const { slaves, others } = await sees(server);
        return slaves === "1" && others === String(size - 1);
      });
    }
    await until("the replica is in step", async () => {
      return String(await replica.run("info", "replication")).includes("master_link_status:up");
    });
  } catch (error) {
    await stop();
    throw error;
  }
  const masterPort = async () => {
    const [, port] = await sentinels.servers[0]!.run("sentinel", "get-master-addr-by-name", name) as string[];
    return Number(port);
  };
  return { name, master, replica, sentinels, masterPort, stop, [Symbol.asyncDispose]: stop };
}

async function inTurn<T>(times: number, make: () => Promise<T>): Promise<T[]> {
  const made: T[] = [];
  for (let index = 0; index < times; index++) made.push(await make());
  return made;
}
