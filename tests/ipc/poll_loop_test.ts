import { assertEquals } from "@std/assert";
import { describe, it } from "@std/testing/bdd";
import { Loop } from "../../src/providers/ipc/poll_loop.ts";
import { loadPosix } from "../../src/providers/ipc/posix.ts";
import { until } from "../support/until.ts";

describe("the poll loop", () => {
  it("does not call a reader that another one has removed in the same round", async () => {
    const posix = await loadPosix();
    const [bell, first, second] = [posix.bell(), posix.bell(), posix.bell()];
    const faults: unknown[] = [];
    const loop = new Loop(posix, bell, { arrived: 0, due: Infinity, fault: (error) => void faults.push(error) });
    const called: string[] = [];
    const read = (name: string, descriptor: number, other: number) =>
      loop.read(descriptor, () => {
        posix.heard(descriptor);
        loop.read(other, undefined);
        called.push(name);
      });
    read("first", first, second);
    read("second", second, first);
    posix.ring(first);
    posix.ring(second);
    loop.start();
    await until("one is called", () => called.length > 0);
    await loop.close();
    assertEquals([called, faults], [["first"], []]);
    for (const descriptor of [first, second]) posix.close(descriptor);
  });
});
