// run: on bun
import { assert, assertEquals, assertRejects } from "@std/assert";
import { Bus, NoSuchRemoteError } from "../../mod.ts";
import { redis } from "../../src/providers/redis/provider.ts";
import { Peer } from "../support/peer.ts";
import { TcpProxy } from "../support/tcp_proxy.ts";
import { timed, until, within } from "../support/until.ts";
import { fresh, onRedis } from "./grounds.ts";

onRedis("a server that is killed", ({ it, server }) => {
  it("stays registered for a while, but single calls go to other servers, and multi-calls do not wait for it", async () => {
    const namespace = fresh();
    const { url } = server();
    await using bus = await Bus.open(redis({ url }), { namespace });
    await bus.expose("whose", () => "ours");
    const peer = Peer.start(new URL("serving_peer.ts", import.meta.url), { args: [url, namespace] });
    await peer.next();
    const whose = bus.stub<() => string>("whose");
    const all = bus.stub<() => string>("whose", { multi: true });
    assertEquals((await all()).length, 2);
    await peer.kill();
    const took = await timed(async () => {
      for (let n = 0; n < 10; n++) assertEquals(await whose(), "ours");
      assertEquals(await all(), [{ status: "fulfilled", value: "ours" }]);
    });
    assert(took < 2_500, `it took ${took} ms`);
    assertEquals(await server().run("zcard", `__tsmq:servers:__eventbus:${namespace}:whose`), 2);
    // the last server dies too; a registered server may reconnect, so callers wait for it, but not for long
    await bus.unexpose("whose");
    await within("it fails", assertRejects(() => whose(), NoSuchRemoteError), 6_000);
  });
});

onRedis("a call", ({ it, server }) => {
  for (const [what, breaks] of [["request", "server"], ["answer", "caller"]] as const) {
    it(`whose ${what} is lost with the ${breaks}'s connection is asked again, and served once`, async () => {
      const namespace = fresh();
      await using proxy = await TcpProxy.to(server().port);
      const port = (side: string) => side === breaks ? proxy.port : server().port;
      await using serving = await Bus.open(redis({ port: port("server") }), { namespace });
      await using calling = await Bus.open(redis({ port: port("caller") }), { namespace });
      for (const bus of [serving, calling]) bus.addEventListener("error", () => {});
      const served: number[] = [];
      await serving.expose("double", (n: number) => {
        served.push(n);
        return 2 * n;
      });
      const double = calling.stub<(n: number) => number>("double", { timeout: 14_000 });
      assertEquals(await double(1), 2);
      // from now on, everything that Redis sends is lost
      proxy.deaf = true;
      const answer = double(2);
      answer.catch(() => {}); // awaited below, unless something else fails first
      if (what === "answer") await until("it is served", () => served.includes(2));
      else await calling.stub("nobody")().catch(() => {}); // a later command of the same connection has its reply
      proxy.deaf = false;
      proxy.cut();
      assertEquals(await answer, 4);
      assertEquals(served, [1, 2]);
    });
  }
});
