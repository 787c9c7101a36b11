/** A custom provider, `examples/nats`, passes the kit like the providers of tsmq. */
import { JetStreamApiError, jetstreamManager } from "@nats-io/jetstream";
import { connect } from "@nats-io/transport-node";
import { assert, assertEquals, assertRejects } from "@std/assert";
import { afterAll, beforeAll, describe, it } from "@std/testing/bdd";
import { Connection } from "../../examples/nats/connection.ts";
import { nats } from "../../examples/nats/provider.ts";
import { NatsServer } from "../support/nats_server.ts";
import { sample } from "../support/share.ts";
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
  // a transport of another package: an eighth of the cases under each runtime
  kit({
    provider: () => nats({ servers: `127.0.0.1:${proxy?.port}` }),
    faults: {
      cut: () => {
        proxy.cut();
        return Promise.resolve();
      },
    },
  }, { which: sample });

  it("a stream that cannot be created at this moment is created soon afterwards", async () => {
    const connection = await Connection.open({ servers: [server.url], maxPayload: 2 ** 20 }, 10_000, 10_000, {
      up() {},
      down() {},
    });
    const { streams } = connection.manager;
    // another client is creating it; the server is removing the directory of the last stream
    const errors = [10065, 10049].map((err_code) =>
      new JetStreamApiError({ code: 500, err_code, description: "not now" })
    );
    const { add } = streams;
    let tries = 0;
    // it has overloads, of which the compiler infers one or the other
    streams.add = ((...args: unknown[]) => {
      tries++;
      return errors.length > 0 ? Promise.reject(errors.shift()) : Reflect.apply(add, streams, args);
    }) as typeof add;
    await connection.create({ name: "tried", subjects: ["tried"], storage: "memory" });
    assertEquals(tries, 3);
    assert(await streams.delete("tried"));
    await connection.close();
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
