/** The ACL rules of docs/redis.md allow every operation of a bus, and nothing else. */
import { assertEquals, assertRejects } from "@std/assert";
import { afterAll, beforeAll, describe, it } from "@std/testing/bdd";
import { readFileSync } from "node:fs";
import process from "node:process";
import { Bus } from "../../mod.ts";
import { BusError } from "../../src/errors.ts";
import type { Case } from "../../src/conformance/mod.ts";
import { Names } from "../../src/providers/redis/names.ts";
import { redis } from "../../src/providers/redis/provider.ts";
import { kit } from "../conformance/run.ts";
import { type RedisGroup, startCluster } from "../support/redis_cluster.ts";
import { RedisServer } from "../support/redis_server.ts";
import { runsHere } from "../support/share.ts";
import { NOW, open } from "./halves.ts";

const PAGE = readFileSync(new URL("../../docs/redis.md", import.meta.url), "utf8");
/** The rules of docs/redis.md. */
const RULES = /ACL SETUSER shop ([^]*?)^```/m.exec(PAGE)![1]!.replace(/[\\\n']/g, " ").trim().split(/\s+/);

describe("the ACL user of docs/redis.md", () => {
  let server: RedisServer;
  beforeAll(async () => server = await RedisServer.start());
  afterAll(() => server.stop());

  async function user(name: string, rules: readonly string[]) {
    await server.run("acl", "setuser", name, ...rules);
    return redis({ url: userUrl(name) });
  }

  function userUrl(name: string): string {
    return `redis://${name}:secret@127.0.0.1:${server.port}`;
  }

  it("may do everything that a bus does in its namespace, but may subscribe only to globs with a rule", async () => {
    const provider = await user("shop", RULES);
    await using bus = await Bus.open(provider, { namespace: "shop" });
    const heard = Promise.withResolvers<unknown>();
    await bus.subscribe("orders", heard.resolve).ready;
    assertEquals(await bus.publish(1, "orders"), 1);
    assertEquals(await heard.promise, 1);
    const member = bus.subscribe("bills", () => {}, { group: "billing" });
    await member.ready;
    await member.free();
    await bus.queue("jobs").put("job");
    await bus.queue("jobs").peek();
    await using lease = await bus.queue("jobs").receive();
    assertEquals(lease.item, "job");
    await lease.ack();
    await bus.expose("add", (a: number, b: number) => a + b);
    assertEquals(await bus.stub("add")(1, 2), 3);
    const refused = await assertRejects(() => bus.subscribe("orders.*", () => {}, { pattern: true }).ready, BusError);
    assertEquals(refused.code, "denied");
    await server.run("acl", "setuser", "shop", "&__eventbus:shop:orders.*");
    await bus.subscribe("orders.*", () => {}, { pattern: true }).ready;
  });

  it("may inspect its namespace, with the rules for the admin", async () => {
    const more = /\*\*To inspect a namespace\*\* [^]*?needs `(.*?)`/.exec(PAGE)![1]!.replaceAll("'", "").split(" ");
    const provider = await user("looker", [...RULES, ...more]);
    await using bus = await Bus.open(provider, { namespace: "shop" });
    await bus.queue("seen").put(1);
    await bus.expose("seen", () => {});
    const admin = await provider.admin!.open("shop");
    try {
      const [buses, functions] = [await admin.buses(), await admin.functions()];
      assertEquals(buses?.map(({ pid }) => pid), [process.pid]);
      assertEquals(functions, [{ name: "seen", servers: [buses![0]!.id] }]);
      assertEquals(await admin.queues(), [{ name: "seen", waiting: 1, leased: 0, delayed: 0 }]);
      assertEquals(await admin.topics(), [{ name: "seen", pattern: false, subscribers: 1 }]);
      assertEquals(await admin.groups(), []);
      await bus.queue("seen").free();
    } finally {
      await admin.close();
    }
  });

  it("may do nothing in another namespace", async () => {
    const provider = await user("shop", RULES);
    const refused = await assertRejects(() => Bus.open(provider, { namespace: "bank" }), BusError);
    assertEquals(refused.code, "denied");
  });

  describe("in a Cluster", () => {
    const more = /\*\*A Cluster\*\* needs `(.*?)`/.exec(PAGE)![1]!.replaceAll("'", "").split(" ");
    let nodes: RedisGroup;
    beforeAll(async () => nodes = await startCluster(2));
    afterAll(() => nodes.stop());

    /** Moves a slot halfway: keys that do not exist yet are requested from the other node. */
    async function move(queue: string): Promise<void> {
      const [one, other] = nodes.servers.map((server) => server.run.bind(server));
      const slot = Number(await one!("cluster", "keyslot", new Names("shop").list(queue)));
      const [from, to] = slot < 8_192 ? [one!, other!] : [other!, one!];
      await to("cluster", "setslot", slot, "importing", String(await from("cluster", "myid")));
      await from("cluster", "setslot", slot, "migrating", String(await to("cluster", "myid")));
    }

    async function user(name: string, rules: readonly string[]) {
      for (const server of nodes.servers) await server.run("acl", "setuser", name, ...rules);
      return redis({ cluster: nodes.nodes.map(({ host, port }) => `redis://${name}:secret@${host}:${port}`) });
    }

    it("may do everything that a bus does, also while a slot moves", async () => {
      await using bus = await Bus.open(await user("shop", [...RULES, ...more]), { namespace: "shop" });
      const heard = Promise.withResolvers<unknown>();
      await bus.subscribe("orders", heard.resolve).ready;
      await bus.publish(1, "orders");
      assertEquals(await heard.promise, 1);
      await bus.expose("add", (a: number, b: number) => a + b);
      assertEquals(await bus.stub("add")(1, 2), 3);
      await bus.queue("jobs").put("job");
      await using lease = await bus.queue("jobs").receive();
      assertEquals(lease.item, "job");
      await lease.ack();
      await move("moving");
      await bus.queue("moving").put("job");
    });

    it("a command that is denied while a slot moves rejects alone", async () => {
      const rules = [...RULES, ...more.filter((rule) => rule !== "+asking")];
      await using bus = await Bus.open(await user("narrow", rules), { namespace: "shop" });
      await move("narrow");
      await assertRejects(() => bus.queue("narrow").put("job"), BusError);
      await bus.queue("jobs").put("job");
    });
  });

  // which commands a bus sends does not depend on the runtime
  if (runsHere(1)) {
    describe("with all namespaces and channels", () => {
      // each case has a namespace of its own, and makes up globs
      const anywhere = [...RULES.map((rule) => rule.replaceAll("shop", "*")), "&*", "~__tsmq:*"];
      let provider = redis();
      beforeAll(async () => provider = await user("kit", anywhere));
      const cut = async () => {
        await server.run("client", "kill", "user", "kit");
      };
      const which = (cases: Case[]) => cases.filter(({ name }) => /^(pubsub|queues|leases|rpc|faults):/.test(name));
      kit({ provider: () => provider, faults: { cut } }, { which });

      it("uses every command that it may use", async () => {
        await using bus = await Bus.open(provider, { namespace: crypto.randomUUID() });
        const member = bus.subscribe("orders", () => {}, { group: "bills" });
        await member.ready;
        await bus.publish(1, "orders");
        await member.free();
        // a bus gives back what its worker took for a `get` that has ended meanwhile: here it happens for certain
        await using halves = await open({ url: userUrl("kit") });
        await halves.sender.send("q", "job", NOW);
        await halves.receiver.restore("q", await halves.receive("q"));
        const used = String(await server.run("info", "commandstats"));
        const commands = RULES.filter((rule) => rule.startsWith("+")).map((rule) => rule.slice(1));
        const unused = commands.filter((command) => !used.includes(`cmdstat_${command}:`));
        // for databases but the first, for a take whose reply was lost, for PyMQ's callers
        assertEquals(unused.filter((command) => command !== "get"), ["select", "expire"]);
      });
    });
  }
});
