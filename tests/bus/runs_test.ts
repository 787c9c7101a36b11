// run: on deno
import { assert, assertEquals, assertRejects } from "@std/assert";
import process from "node:process";
import { Bus, type BusError, NoSuchRemoteError } from "../../mod.ts";
import { redis } from "../../src/providers/redis/provider.ts";
import { Peer } from "../support/peer.ts";
import { TcpProxy } from "../support/tcp_proxy.ts";
import { timed, until, within } from "../support/until.ts";
import { fresh, onEach, onRedis } from "./grounds.ts";

onRedis("a call that finds no registration", ({ it, server, provider }) => {
  const registered = (namespace: string, fn: string) => `__tsmq:servers:__eventbus:${namespace}:${fn}`;

  it("because Redis lost its data: a call runs once, and the servers register immediately", async () => {
    const namespace = fresh();
    const ran: number[] = [];
    const servers = await Promise.all([1, 2, 3].map(() => Bus.open(provider(), { namespace })));
    await Promise.all(servers.map((bus) => bus.expose("work", (n: number) => ran.push(n))));
    await server().run("flushdb");
    await using caller = await Bus.open(provider(), { namespace });
    const work = caller.stub<(n: number) => number>("work", { timeout: 15_000 });
    const numbers = Array.from({ length: 20 }, (_, n) => n);
    const took = await timed(async () => {
      await work(0);
      await until("all are registered", async () => await server().run("zcard", registered(namespace, "work")) === 3);
    });
    assert(took < 4_000, "they did not wait for the next renewal");
    await server().run("flushdb");
    await Promise.all(numbers.slice(1).map((n) => work(n)));
    await Promise.all(servers.map((bus) => bus.close())); // all calls that they have received have run
    assertEquals(ran.sort((a, b) => a - b), numbers);
  });

  it("because all servers were paused until it expired: a call runs once when they continue", async () => {
    const namespace = fresh();
    const args = [server().url, namespace];
    const start = () => Peer.start<string>(new URL("serving_peer.ts", import.meta.url), { args });
    await using one = start();
    await using two = start();
    await using three = start();
    const peers = [one, two, three];
    await Promise.all(peers.map((peer) => peer.next()));
    for (const { pid } of peers) process.kill(pid, "SIGSTOP");
    await server().run("del", registered(namespace, "whose")); // as 15 s later
    await using caller = await Bus.open(provider(), { namespace });
    const whose = caller.stub("whose", { timeout: 20_000 });
    const calls = [whose(), whose()];
    await until("the calls are on their way", () => caller.health().pending.calls === 2);
    for (const { pid } of peers) process.kill(pid, "SIGCONT");
    assertEquals(await Promise.all(calls), ["the peer's", "the peer's"]);
    assertEquals(await whose(), "the peer's");
    const runs = () => peers.reduce((sum, { output }) => sum + output.split('@"ran"').length - 1, 0);
    await until("each run is printed", () => runs() >= 3); // the answers may arrive earlier
    await Promise.all(peers.map((peer) => peer.kill()));
    assertEquals(runs(), 3);
  });
});

onEach("a bus that is closed while it runs a call", ({ it, provider }) => {
  it("tells the caller at once that the outcome is unknown", async () => {
    const [namespace, transport] = [fresh(), provider()];
    const server = await Bus.open(transport, { namespace });
    await using caller = await Bus.open(transport, { namespace });
    const begun = Promise.withResolvers<void>();
    await server.expose("work", () => {
      begun.resolve();
      return new Promise(() => {});
    });
    const calls = [caller.stub("work", { timeout: 60_000 })(), caller.stub("work", { timeout: 60_000, multi: true })()];
    const outcomes = Promise.allSettled(calls);
    await begun.promise;
    await until("the server runs both calls", () => server.health().pending.handlers === 2);
    assertEquals((await server.close({ timeout: 500 })).abandoned, 2);
    const took = await timed(() => outcomes);
    assert(took < 2_500, "the callers waited until the server was missed");
    const [one, all] = await outcomes;
    const reason = one!.status === "rejected" ? one!.reason as BusError : undefined;
    assertEquals(reason?.code, "unavailable");
    const [result] = all!.status === "fulfilled" ? all!.value as PromiseSettledResult<unknown>[] : [];
    assertEquals(result?.status === "rejected" && (result.reason as BusError).code, "unavailable");
  });
});

onRedis("a call that reaches a server that ends", ({ it, server, provider }) => {
  for (const end of ["unexpose", "close"] as const) {
    it(`by ${end}() is refused, so it does not wait for its deadline`, async () => {
      const namespace = fresh();
      await using proxy = await TcpProxy.to(server().port);
      await using ending = await Bus.open(redis({ url: `redis://127.0.0.1:${proxy.port}` }), { namespace });
      await using caller = await Bus.open(provider(), { namespace });
      await ending.expose("work", () => "done");
      await ending.expose("lost", () => "done");
      await server().run("del", `__tsmq:servers:__eventbus:${namespace}:lost`);
      proxy.delay = 300; // Redis knows later that the server ends
      const ended = end === "close" ? ending.close() : Promise.all([ending.unexpose("work"), ending.unexpose("lost")]);
      const multi = caller.stub("work", { multi: true, timeout: 120_000 })();
      const single = assertRejects(() => caller.stub("lost", { timeout: 120_000 })(), NoSuchRemoteError);
      await within("the calls do not wait for their deadlines", Promise.all([single, multi]));
      assertEquals(await multi, []);
      await ended;
    });
  }
});
