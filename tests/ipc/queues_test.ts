import { assert, assertEquals } from "@std/assert";
import { describe, it } from "@std/testing/bdd";
import { fresh, HandmadeBus } from "./ground.ts";

describe("queues that a thread holds open", () => {
  it("are closed when there are many, but for the one that is asked for", async () => {
    using bus = await HandmadeBus.open(fresh());
    const { names, posix, queues } = bus.space;
    const item = new TextEncoder().encode("item");
    const all = Array.from({ length: 70 }, (_, i) => names.queue(`${i}`));
    try {
      for (const name of all) {
        const { descriptor } = queues.use(name, [{ messages: 1, size: 128 }])!;
        assertEquals(posix.send(descriptor, item, item.length), 0);
      }
      const open = (posix.list("/proc/self/fd") as string[]).filter((descriptor) =>
        all.includes(String(posix.readLink(`/proc/self/fd/${descriptor}`)))
      );
      assert(open.length < all.length, `${open.length} are open`);
    } finally {
      for (const name of all) posix.unlinkQueue(name);
    }
  });
});
