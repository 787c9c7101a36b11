/** A provider from outside of tsmq, `examples/nats`, passes the kit as ours do. */
import { jetstreamManager } from "@nats-io/jetstream";
import { connect } from "@nats-io/transport-node";
import { assertEquals } from "@std/assert";
import { afterAll, beforeAll, describe, it } from "@std/testing/bdd";
import { Bus } from "../../src/bus.ts";
import { nats } from "../../examples/nats/provider.ts";
import { NatsServer } from "../support/nats_server.ts";
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
  kit({
    provider: () => nats({ servers: `127.0.0.1:${proxy?.port}` }),
    faults: {
      cut: () => {
        proxy.cut();
        return Promise.resolve();
      },
    },
  });

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

  it("has left nothing on the server but the empty registry that all share", async () => {
    const nats = await connect({ servers: server.url });
    const { streams } = await jetstreamManager(nats);
    const left = await Array.fromAsync(streams.list());
    await nats.close();
    assertEquals(left.map(({ config, state }) => [config.name, state.messages]), [["tsmq:servers", 0]]);
  });
});
