// run: on bun, kernel-queues
/** `shutdown()` while `init()` opens the default bus. */
import { assertEquals, assertRejects } from "@std/assert";
import { describe, it } from "@std/testing/bdd";
import { createServer, type Socket } from "node:net";
import { type BusOptions, ClosedError, expose, init, memory, type Provider, publish, shutdown } from "../../mod.ts";
import { aws } from "../../src/providers/aws/provider.ts";
import { ipc } from "../../src/providers/ipc/provider.ts";
import { redis } from "../../src/providers/redis/provider.ts";
import { Peer } from "../support/peer.ts";
import { freePort } from "../support/port.ts";
import { PATIENCE, until, within } from "../support/until.ts";
import { faulty, watchWorkers } from "./faulty.ts";
import { fresh } from "./grounds.ts";

/** Milliseconds: a wait for any of these fails. */
const LONG = 20 * PATIENCE;
const WAITING: BusOptions = { waitOnFirstConnect: true, connectTimeout: LONG };
const CLOSED = "Cannot init: shutdown() has closed the bus";

/** A provider of a server at a port of this machine. */
const AT: Record<string, (port: number) => Provider> = {
  redis: (port) => redis({ port }),
  aws: (port) =>
    aws({
      endpoint: `http://127.0.0.1:${port}`,
      region: "us-east-1",
      credentials: { accessKeyId: "a", secretAccessKey: "b" },
    }),
};

/** Counts the attempts to open a provider. */
function counted(provider: Provider): { provider: Provider; attempts: number } {
  const made: { provider: Provider; attempts: number } = {
    attempts: 0,
    provider: { ...provider, open: (context) => (made.attempts++, provider.open(context)) },
  };
  return made;
}

/** Starts `init`, and shuts down as soon as `when` says so. Both must end, with no worker left. */
async function breaksOff(
  provider: Provider,
  options: BusOptions,
  timeout: number,
  when: () => boolean = () => true,
): Promise<void> {
  const running = new Set<Worker>();
  const unwatch = watchWorkers((worker) => {
    running.add(worker);
    const { terminate } = worker;
    worker.terminate = () => (running.delete(worker), terminate.call(worker));
  });
  try {
    const opening = assertRejects(() => init(provider, { namespace: fresh(), ...options }), ClosedError, CLOSED);
    await until("it is time", when);
    await within("shutdown() resolves", shutdown({ timeout }));
    await within("init() rejects", opening);
    assertEquals(running.size, 0, "workers are left");
    await assertRejects(() => publish(1, "news"), Error, 'Cannot publish to "news": shutdown() has closed the bus');
  } finally {
    unwatch();
  }
}

describe("shutdown() while init() has not finished", () => {
  for (const [name, at] of Object.entries(AT)) {
    it(`cancels the wait for a server: ${name}`, async () => {
      const made = counted(at(await freePort()));
      await breaksOff(made.provider, WAITING, LONG, () => made.attempts > 1);
    });

    it(`cancels an attempt at its deadline if the server does not answer: ${name}`, async () => {
      const sockets = new Set<Socket>();
      const silent = createServer((socket) => {
        sockets.add(socket.on("error", () => {}).on("close", () => sockets.delete(socket)).resume());
      });
      await new Promise<void>((resolve) => silent.listen(0, "127.0.0.1", resolve));
      const { port } = silent.address() as { port: number };
      try {
        await breaksOff(at(port), { connectTimeout: LONG }, 600, () => sockets.size > 0);
        await until("no connection is left", () => sockets.size === 0);
      } finally {
        silent.close();
      }
    });
  }

  it("cancels an attempt if the worker does not open its half", async () => {
    const opened = counted(faulty("hang").provider);
    await breaksOff(opened.provider, { connectTimeout: LONG }, 600, () => opened.attempts > 0);
  });

  for (const [name, provider] of Object.entries({ memory: memory(), ipc: ipc() })) {
    it(`closes the bus that has just opened, and init() may follow: ${name}`, async () => {
      await breaksOff(provider, {}, LONG);
      const namespace = fresh();
      await init(provider, { namespace });
      await publish(1, "news");
      await shutdown();
      await breaksOff(provider, { namespace }, LONG);
      if (name === "memory") return;
      const admin = await provider.admin!.open(namespace);
      assertEquals([await admin.buses(), await admin.leftovers()], [[], []]);
      await admin.close();
    });
  }

  it("closes the bus while init() applies earlier registrations", async () => {
    const ended: Promise<void>[] = [];
    const applying = async () => {
      for (let i = 0; i < 50; i++) await undefined; // it has begun, and no answer of a worker can have come
      ended.push(shutdown());
    };
    await expose("fn", () => 1);
    const log: BusOptions["log"] = ({ event }) => event === "open" && void applying();
    await assertRejects(() => init(memory(), { log }), ClosedError, CLOSED);
    await within("shutdown() resolves", Promise.all(ended));
    assertEquals(ended.length, 1);
    await init(memory());
    await shutdown();
  });

  it("lets a process end whose SIGTERM calls it", async () => {
    await using peer = Peer.start<string>(new URL("opening_peer.ts", import.meta.url), {
      args: [String(await freePort()), String(LONG)],
    });
    assertEquals(await peer.next(), "opening");
    peer.signal("SIGTERM");
    assertEquals(await within("it ends", peer.wait()), { code: 0, signal: null });
    assertEquals([await peer.next(), await peer.next()].sort(), [`ClosedError: ${CLOSED}`, "shutdown() has resolved"]);
    assertEquals(peer.output.replaceAll(/^@.*\n/gm, ""), "");
  });
});
