// run: quiet, kernel-queues, because it measures memory, which is collected late on a busy machine
import { assert, assertEquals } from "@std/assert";
import { describe, it } from "@std/testing/bdd";
import process from "node:process";
import { Bus } from "../../src/bus.ts";
import { ipc } from "../../src/providers/ipc/provider.ts";
import { Peer, there } from "../support/peer.ts";
import { pause, until } from "../support/until.ts";
import { fresh } from "./ground.ts";

const COUNT = 1_000_000;
/** Bytes of all events together; each side holds a small part of them. */
const ALL = COUNT * 210;

describe("a slow subscriber", () => {
  it("gets a million events of another process in order; memory stays flat and its handler's calls succeed", async () => {
    const namespace = fresh();
    await using bus = await Bus.open(ipc(), { namespace });
    await bus.expose("half", (i: number) => i / 2);
    const half = bus.stub<(i: number) => number>("half");
    bus.addEventListener("gap", () => gaps++);
    let gaps = 0;
    let next = 0;
    let wrong = 0;
    let called = 0;
    await bus.subscribe("flow", async ([i]: [number]) => {
      if (i !== next++) wrong++;
      if (i % 200_000 !== 0) return;
      await pause(500);
      called += await half(2);
    }).ready;
    const before = process.memoryUsage().rss;
    await using publisher = Peer.start<{ grown: number }>(new URL("flow_peer.ts", import.meta.url), {
      runtime: there,
      args: [namespace, String(COUNT)],
    });
    let most = before;
    await until("all have come", () => {
      most = Math.max(most, process.memoryUsage().rss);
      return next === COUNT;
    }, 150_000);
    const { grown } = await publisher.next(20_000);
    assertEquals([wrong, gaps, called], [0, 0, COUNT / 200_000]);
    assert(grown < ALL, `the publisher grew by ${grown} bytes`);
    assert(most - before < 2 * ALL, `the subscriber grew by ${most - before} bytes`);
    console.log(`publisher +${Math.round(grown / 1e6)} MB, subscriber +${Math.round((most - before) / 1e6)} MB`);
  });
});
