// run: on bun, kernel-queues
import { assertEquals } from "@std/assert";
import { describe, it } from "@std/testing/bdd";
import { Bus } from "../../src/bus.ts";
import { ipc } from "../../src/providers/ipc/provider.ts";
import { Peer } from "../support/peer.ts";
import { fresh } from "./ground.ts";

describe("the first publish of a process over IPC", () => {
  it("reads a pattern for the first time, and later publishes reach subscribers that are new", async () => {
    const namespace = fresh();
    await using bus = await Bus.open(ipc(), { namespace });
    await bus.subscribe("ord*", () => {}, { pattern: true }).ready;
    await using peer = Peer.start(new URL("first_publish_peer.ts", import.meta.url), { args: [namespace] });
    assertEquals(await peer.next(), 1);
    await bus.subscribe("orders", () => {}).ready;
    peer.tell("again");
    assertEquals(await peer.next(), 2);
  });
});
