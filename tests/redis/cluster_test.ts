// run: on bun
import { assert, assertEquals, assertRejects } from "@std/assert";
import { afterAll, beforeAll, describe, it } from "@std/testing/bdd";
import { BusError } from "../../src/errors.ts";
import { ClusterClient } from "../../src/providers/redis/cluster.ts";
import { parseOptions } from "../../src/providers/redis/options.ts";
import { count, text } from "../../src/providers/redis/replies.ts";
import { type RedisGroup, startCluster } from "../support/redis_cluster.ts";
import { until } from "../support/until.ts";

describe("ClusterClient", () => {
  let nodes: RedisGroup;
  beforeAll(async () => nodes = await startCluster(2));
  afterAll(() => nodes.stop());

  async function open(timeout: number): Promise<{ client: ClusterClient; states: string[] }> {
    const states: string[] = [];
    const client = new ClusterClient(parseOptions({ cluster: nodes.nodes }), timeout, {
      up: () => states.push("up"),
      down: () => states.push("down"),
    });
    await client.open(5_000);
    return { client, states };
  }

  it("close() rejects sent commands with an unknown outcome, and later ones with 'closed'", async () => {
    const { client } = await open(10_000);
    for (const server of nodes.servers) server.freeze();
    try {
      const sent = assertRejects(() => client.call(count, "lpush", "sent", "x"), BusError, "Cannot tell");
      await client.close();
      assertEquals([(await sent).code, (await sent).retryable], ["unavailable", true]);
    } finally {
      for (const server of nodes.servers) server.thaw();
    }
    const after = await assertRejects(() => client.call(count, "lpush", "after", "x"), BusError);
    assertEquals(after.code, "closed");
  });

  it("close() rejects commands that wait for the Cluster with 'closed'", async () => {
    const { client, states } = await open(10_000);
    const nonsense = () => {
      throw new Error("wrong reply");
    };
    await client.askAll(nonsense, "ping");
    await until("it is down", () => states.includes("down"));
    const waiting = assertRejects(() => client.call(count, "lpush", "waiting", "x"), BusError);
    await client.close();
    assertEquals((await waiting).code, "closed");
  });

  it("askAll() drops the connections at a wrong reply, though another node does not answer", async () => {
    const { client, states } = await open(5_000);
    const [first, second] = nodes.servers;
    const ports: number[] = [];
    second!.freeze();
    try {
      const asked = client.askAll(
        (reply) => {
          ports.push(Number(text(reply)));
          throw new Error("wrong reply");
        },
        "echo",
        String(first!.port),
      );
      await until("it is down", () => states.includes("down"));
      assertEquals(await asked, undefined);
      assert(ports.length > 0);
    } finally {
      second!.thaw();
    }
    await until("it is up again", () => states.at(-1) === "up");
    await client.close();
  });
});
