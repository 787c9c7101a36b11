// run: on deno, kernel-queues
/** Answers to PyMQ, whose queues a request names. */
import { assertEquals } from "@std/assert";
import { describe, it } from "@std/testing/bdd";
import { Bus } from "../../mod.ts";
import { RawClient } from "../../src/conformance/raw_client.ts";
import { Names } from "../../src/providers/ipc/names.ts";
import { loadPosix } from "../../src/providers/ipc/posix.ts";
import { ipc } from "../../src/providers/ipc/provider.ts";
import { until } from "../support/until.ts";
import { fresh } from "./ground.ts";

describe("IPC: a server of PyMQ's calls", () => {
  it("creates no kernel queue, however many queues requests name, and answers into one that exists", async () => {
    const namespace = fresh();
    const posix = await loadPosix();
    const names = new Names(namespace);
    await using bus = await Bus.open(ipc(), { namespace });
    bus.addEventListener("error", () => {});
    let runs = 0;
    await bus.expose("fn", () => ++runs);
    const client = await RawClient.open(ipc(), namespace);
    const request = (channel: string) =>
      client.publish("fn", JSON.stringify({ __obj: ["fn", channel, [], {}], __type: "pymq.core.RpcRequest" }));
    try {
      const channels = Array.from({ length: 300 }, () => `__rpc_${crypto.randomUUID()}`);
      for (const channel of channels) await request(channel);
      await until("all are served", () => runs === channels.length);
      const made = channels.filter((channel) => {
        const descriptor = posix.openQueue(names.queue(channel));
        if (descriptor >= 0) posix.close(descriptor);
        return descriptor >= 0;
      });
      assertEquals(made, []);
      // PyMQ creates the queue after it has sent the request
      const own = `__rpc_${crypto.randomUUID()}`;
      await request(own);
      await until("it is served", () => runs === channels.length + 1);
      await client.sender.replies!.open(own);
      await until("it is answered", async () => await client.sender.size(own) === 1);
      await client.sender.drop(own);
      assertEquals(await bus.queue("x").put(1).then(() => bus.queue("x").get()), 1, "kernel queues are left");
      await bus.queue("x").free();
    } finally {
      await client.close();
    }
  });
});
