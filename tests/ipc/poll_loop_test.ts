import { assertEquals } from "@std/assert";
import { describe, it } from "@std/testing/bdd";
import { PollLoop } from "../../src/providers/ipc/poll_loop.ts";
import { loadPosix } from "../../src/providers/ipc/posix.ts";
import { until } from "../support/until.ts";

describe("the poll loop", () => {
  it("does not call a reader that another reader has removed in the same round", async () => {
    const posix = await loadPosix();
    const [eventfd, first, second] = [posix.eventfd(), posix.eventfd(), posix.eventfd()];
    const faults: unknown[] = [];
    const pollLoop = new PollLoop(posix, eventfd, {
      arrived: 0,
      due: Infinity,
      fault: (error) => void faults.push(error),
    });
    const called: string[] = [];
    const read = (name: string, descriptor: number, other: number) =>
      pollLoop.read(descriptor, () => {
        posix.readEventfd(descriptor);
        pollLoop.read(other, undefined);
        called.push(name);
      });
    read("first", first, second);
    read("second", second, first);
    posix.writeEventfd(first);
    posix.writeEventfd(second);
    pollLoop.start();
    await until("one is called", () => called.length > 0);
    await pollLoop.close();
    assertEquals([called, faults], [["first"], []]);
    for (const descriptor of [first, second]) posix.close(descriptor);
  });
});
