/** The login of connections: a refused one is never used, and a function is asked for the login at each connection. */
// run: on deno
import { assert, assertEquals, assertMatch } from "@std/assert";
import { afterAll, beforeAll, describe, it } from "@std/testing/bdd";
import { createServer } from "node:net";
import { Bus, BusError, ProviderError } from "../../mod.ts";
import { redis, type RedisOptions } from "../../src/providers/redis/provider.ts";
import { Peer } from "../support/peer.ts";
import { startSentinels } from "../support/redis_cluster.ts";
import { RedisServer } from "../support/redis_server.ts";
import { until } from "../support/until.ts";

/** The context of a sending half alone. */
const CONTEXT = {
  namespace: "n",
  connectTimeout: 10_000,
  sendTimeout: 2_000,
  maxReceive: Infinity,
  ask: () => Promise.reject(new Error("nothing to ask")),
  state: () => {},
};

/** A login as libraries return it: an object with accessors and methods. */
class Token {
  readonly username = "me";
  readonly #password: string;
  readonly renew = () => {};
  constructor(password: string) {
    this.#password = password;
  }
  get password() {
    return this.#password;
  }
}

/** Uses two buses in one process with a password that no server needs. Checks that they work, and which servers it warned of. */
async function worksWithoutNeed(options: RedisOptions, ports: readonly number[]): Promise<void> {
  await using peer = Peer.start(new URL("needless_peer.ts", import.meta.url), { args: [JSON.stringify(options)] });
  for (let i = 0; i < 2; i++) assertEquals(await peer.next(), ["event", "item"]);
  await until("it ends", () => peer.exit);
  const warned = peer.output.split("\n").filter((line) => /password/.test(line));
  const expected = ports.map((port) =>
    `tsmq: Redis at 127.0.0.1:${port} has no password, but one was given: remove it`
  );
  assertEquals(warned.sort(), expected.sort());
}

/** Opens the sending half alone, and resolves with its error. */
async function senderError(options: RedisOptions): Promise<BusError> {
  const opened = await redis(options).open(CONTEXT).catch((error) => error);
  if (opened instanceof BusError) return opened;
  await opened.close();
  throw new Error("it opened");
}

describe("a login to Redis", () => {
  let server: RedisServer;
  let cluster: RedisServer;
  beforeAll(async () => {
    server = await RedisServer.start();
    cluster = await RedisServer.start({ config: ["cluster-enabled yes", "cluster-announce-ip 127.0.0.1"] });
    await cluster.run("cluster", "addslotsrange", "0", "16383");
    for (const one of [server, cluster]) await one.run("acl", "setuser", "me", "on", ">right", "~*", "&*", "+@all");
    await until("the Cluster is ready", async () => /state:ok/.test(String(await cluster.run("cluster", "info"))));
  });
  afterAll(() => Promise.all([server.stop(), cluster.stop()]));

  const addresses: Record<string, () => RedisOptions> = {
    "a server": () => ({ port: server.port }),
    "a Cluster": () => ({ cluster: [{ host: "127.0.0.1", port: cluster.port }] }),
  };
  for (const [what, address] of Object.entries(addresses)) {
    it(`that ${what} refuses is not used, even if the default user has no password`, async () => {
      const wrong: Partial<RedisOptions>[] = [
        { username: "me", password: "wrong" },
        { username: "nobody", password: "right" },
        { username: "me" },
        { credentials: () => ({ username: "me", password: "wrong" }) },
      ];
      for (let round = 0; round < 3; round++) {
        for (const login of wrong) {
          const error = await senderError({ ...address(), ...login });
          assertEquals(error.code, "denied", error.message);
          assertMatch(error.message, /WRONGPASS/);
        }
      }
    });

    it(`is asked for at each connection to ${what}, so that a password can change`, async () => {
      const of = what === "a server" ? server : cluster;
      let asked = 0;
      let password = "right";
      const credentials = () => {
        asked++;
        return Promise.resolve(new Token(password));
      };
      const options = { ...address(), credentials, retry: { min: 10, max: 100 } };
      await using bus = await Bus.open(redis(options), { namespace: crypto.randomUUID() });
      const events: unknown[] = [];
      await bus.subscribe("t", (event) => void events.push(event)).ready;
      assert(asked >= 2, `${asked} times, at least once in each thread`);
      password = "new";
      await of.run("acl", "setuser", "me", "resetpass", ">new");
      const before = asked;
      await of.run("client", "kill", "user", "me");
      await until("the bus works again, with the new password", async () => {
        await bus.publish("x", "t").catch(() => {});
        await bus.queue("q").put(1, { timeout: 1_000 }).catch(() => {});
        return events.length > 0 && asked > before + 1 && bus.health().state === "up";
      });
      assertEquals(await bus.queue("q").get({ timeout: 5_000 }), 1);
      await bus.queue("q").free();
      await of.run("acl", "setuser", "me", "resetpass", ">right");
    });

    it(`that ${what} does not need is left out, with one warning in a process`, async () => {
      await worksWithoutNeed({ ...address(), password: "needless" }, [(what === "a server" ? server : cluster).port]);
    });

    it(`that is still asked for when the bus closes opens no connection to ${what} any more`, async () => {
      const of = what === "a server" ? server : cluster;
      const { promise: given, resolve: give } = Promise.withResolvers<void>();
      let [asked, held] = [0, Infinity];
      const credentials = async () => {
        if (++asked >= held) await given;
        return { username: "me", password: "right" };
      };
      const sender = await redis({ ...address(), credentials, retry: { min: 10, max: 100 } }).open(CONTEXT);
      // a connection for events; in a Cluster also one to read the slots, then one to the node
      held = asked + (of === cluster ? 3 : 1);
      await of.run("client", "kill", "user", "me");
      await until("it is asked again", () => asked >= held);
      await sender.close();
      give();
      await until("its connections are closed", async () => (await of.clients()).length === 0);
      for (let i = 0; i < 30; i++) assertEquals(await of.clients(), []);
    });
  }

  it("that neither Sentinels nor their master need is left out", async () => {
    await using group = await startSentinels(1);
    const { name, master, sentinels } = group;
    const options = { name, sentinels: sentinels.nodes, password: "needless", sentinelPassword: "needless" };
    await worksWithoutNeed(options, [master.port, ...sentinels.nodes.map(({ port }) => port)]);
  });

  it("is not sent to a Sentinel that only other Sentinels know", async () => {
    await using group = await startSentinels(1);
    const { name, master, sentinels } = group;
    let heard = "";
    const forged = createServer((socket) => {
      socket.on("error", () => {});
      socket.on("data", (bytes) => {
        heard += bytes;
        socket.write("+PONG\r\n".repeat(String(bytes).match(/^\*\d/gm)?.length ?? 0));
      });
    });
    await new Promise<void>((resolve) => forged.listen(0, "127.0.0.1", resolve));
    try {
      const { port } = forged.address() as { port: number };
      const hello = ["127.0.0.1", port, "f".repeat(40), 0, name, "127.0.0.1", master.port, 0];
      await master.run("publish", "__sentinel__:hello", hello.join());
      await until("the Sentinel knows the forged one", async () => {
        const known = String(await sentinels.servers[0]!.run("sentinel", "sentinels", name));
        return known.includes(`,port,${port},`) && !known.includes("disconnected");
      });
      const options = { name, sentinels: sentinels.nodes, sentinelPassword: "geheim", retry: { min: 10, max: 20 } };
      await using bus = await Bus.open(redis(options));
      const states: string[] = [];
      bus.addEventListener("state", () => states.push(bus.health().state));
      await master.run("client", "kill", "type", "pubsub"); // the bus asks the Sentinels again
      await until("the bus is up again", () => states.includes("down") && states.at(-1) === "up");
      assert(/ping/i.test(heard) && !/auth|geheim/i.test(heard), heard);
    } finally {
      forged.close();
    }
  });

  it("that cannot be obtained makes opening fail with the reason, and is asked for again later", async () => {
    const failing: Record<string, () => unknown> = {
      throws: () => {
        throw new Error("the vault is closed");
      },
      rejects: () => Promise.reject(new Error("the vault is closed")),
      "returns nothing": () => undefined,
      "returns null": () => null,
      "returns a text": () => "right",
      "returns a number": () => ({ username: "me", password: 7 }),
      "never returns": () => new Promise(() => {}),
    };
    for (const [what, credentials] of Object.entries(failing)) {
      const options = { port: server.port, credentials: credentials as () => Record<never, never> };
      const error = await Bus.open(redis(options), { connectTimeout: 1_000, sendTimeout: 500 }).then(
        () => undefined,
        (error) => error,
      );
      assert(error instanceof ProviderError && error.code === "unavailable", `${what}: ${error}`);
    }
  });
});
