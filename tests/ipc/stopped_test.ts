// run: on bun, quiet, kernel-queues, because it compares rates
import { assert, assertEquals } from "@std/assert";
import { describe, it } from "@std/testing/bdd";
import { Bus } from "../../src/bus.ts";
import { ipc } from "../../src/providers/ipc/provider.ts";
import { Peer } from "../support/peer.ts";
import { until } from "../support/until.ts";
import { fresh } from "./ground.ts";

const COUNT = 4_000;
const ROUNDS = 5;

describe("a subscriber whose process is stopped", () => {
  it("delays neither the other subscribers of its publisher nor other publishers in that process", async () => {
    const namespace = fresh();
    await using bus = await Bus.open(ipc(), { namespace, sendTimeout: 120_000 });
    await using other = await Bus.open(ipc(), { namespace, sendTimeout: 120_000 });
    await using reader = await Bus.open(ipc(), { namespace });
    let [seen, theirs] = [0, 0];
    await reader.subscribe("all", () => void seen++).ready;
    await reader.subscribe("other", () => void theirs++).ready;
    await using stopped = Peer.start(new URL("member.ts", import.meta.url), { args: [namespace] });
    await stopped.next();
    const published: Promise<unknown>[] = [];
    /** The milliseconds until the other subscriber has received the events of both publishers. */
    const round = async () => {
      [seen, theirs] = [0, 0];
      const start = performance.now();
      for (let i = 0; i < COUNT; i++) {
        published.push(bus.publish(i, "all"));
        published.push(other.publish(i, "other"));
        if (i % 20 === 0) await new Promise((resolve) => setTimeout(resolve));
      }
      await until("the other subscriber has received all", () => seen === COUNT && theirs === COUNT, 60_000);
      return performance.now() - start;
    };
    const best = async () => {
      const times = [];
      for (let i = 0; i < ROUNDS; i++) times.push(await round());
      return Math.min(...times);
    };
    await round(); // warms up
    const running = await best();
    stopped.signal("SIGSTOP");
    const stoppedTime = await best();
    stopped.signal("SIGCONT");
    const reached = new Set(await Promise.all(published));
    assertEquals([...reached].sort(), [1, 2]);
    console.log(`${(running / stoppedTime).toFixed(2)} of the rate with all running`);
    assert(running / stoppedTime >= 0.8, `${running} ms with all running, ${stoppedTime} ms with one stopped`);
  });
});
