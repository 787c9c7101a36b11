/** A custom provider, `examples/nats`, passes the kit like the providers of tsmq. */
import { jetstreamManager } from "@nats-io/jetstream";
import { connect } from "@nats-io/transport-node";
import { assertEquals, assertRejects } from "@std/assert";
import { afterAll, beforeAll, describe, it } from "@std/testing/bdd";
import { Connection } from "../../examples/nats/connection.ts";
import { Bus } from "../../src/bus.ts";
import { nats } from "../../examples/nats/provider.ts";
import { NatsServer } from "../support/nats_server.ts";
import { share } from "../support/share.ts";
import { TcpProxy } from "../support/tcp_proxy.ts";
import { kit } from "./run.ts";

describe("conformance of nats", () => {
  let server: NatsServer;
  let proxy: TcpProxy;
  beforeAll(async () => {
    server = await NatsServer.start();
    proxy = await TcpProxy.to(server.port);
  });
  afterAll(async () => {
    await proxy.close();
    await server.stop();
  });
  // a transport of another package: half of the cases under each runtime
  kit({
    provider: () => nats({ servers: `127.0.0.1:${proxy?.port}` }),
    faults: {
      cut: () => {
        proxy.cut();
        return Promise.resolve();
      },
    },
  }, { which: share });

  it("queues are made while others are removed, the last of them with the server's directory for all", async () => {
    await Promise.all(["one", "other"].map(async (name) => {
      await using bus = await Bus.open(nats({ servers: server.url }), { namespace: `kit-${crypto.randomUUID()}` });
      const queue = bus.queue(name);
      for (let i = 0; i < 300; i++) {
        await queue.put(i);
        await queue.free();
      }
    }));
  });

  it("a connection keeps no listener of a finished operation", async () => {
    const settings = { servers: [server.url], maxPayload: 2 ** 20 };
    const connection = await Connection.open(settings, 10_000, 10_000, { up() {}, down() {} });
    // a listener for the end of the connection keeps the connection in memory
    const listeners = new Set<unknown>();
    Object.assign(connection.broken, {
      addEventListener: (_: string, listener: unknown) => listeners.add(listener),
      removeEventListener: (_: string, listener: unknown) => listeners.delete(listener),
    });
    assertEquals(await connection.run("try", () => Promise.resolve(listeners.size)), 1);
    await assertRejects(() => connection.run("fail", () => Promise.reject(new Error("no"))));
    assertEquals(listeners.size, 0);
    await connection.close();
  });

  it("has left nothing on the server but the empty streams that all share", async () => {
    const nats = await connect({ servers: server.url });
    const { streams } = await jetstreamManager(nats);
    const left = await Array.fromAsync(streams.list());
    await nats.close();
    const found = left.map(({ config, state }) => [config.name, state.messages]).toSorted();
    assertEquals(found, [["tsmq:groups", 0], ["tsmq:servers", 0]]);
  });
});
