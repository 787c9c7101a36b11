// run: quiet, kernel-queues, deadline 300, because some of the processors are emulated
import { assertEquals } from "@std/assert";
import { describe } from "@std/testing/bdd";
import { Bus } from "../../src/bus.ts";
import { ipc } from "../../src/providers/ipc/provider.ts";
import { Errno } from "../../src/providers/ipc/errno.ts";
import { Peer } from "../support/peer.ts";
import { ALL, share } from "../support/share.ts";
import { itNeeds } from "../support/skip.ts";
import { missing } from "../support/tools.ts";
import { until } from "../support/until.ts";
import { busesOf, fresh, left, text, whole } from "./ground.ts";

const SMALL = 12;
const LARGE = 100_000;
/** Milliseconds that an emulated processor may take. */
const SLOW = 180_000;

const PLATFORMS = [
  { build: "deno-glibc-2.31", runtime: "deno", arch: "x64", library: "libc-2.31.so" },
  { build: "bun-glibc-2.31", runtime: "bun", arch: "x64", library: "libc-2.31.so" },
  { build: "bun-musl", runtime: "bun", arch: "x64", library: "libc.so" },
  { build: "deno-aarch64", runtime: "deno", arch: "arm64", library: "libc.so.6" },
  { build: "bun-aarch64", runtime: "bun", arch: "arm64", library: "libc.so.6" },
] as const;

// the emulated Deno alone takes 14 s of CPU
const tried = PLATFORMS.filter(({ build }) => ALL || build !== "deno-aarch64");

// Both sides use one kernel, so they must agree on the position of each byte.
describe("a bus on another platform", () => {
  for (const { build, runtime, arch, library } of share(tried)) {
    itNeeds(missing(build))(`${build} and this one understand each other, and leave nothing`, async () => {
      const namespace = fresh();
      await using bus = await Bus.open(ipc(), { namespace });
      const faults: unknown[] = [];
      bus.addEventListener("error", (event) => faults.push(event));
      const queue = bus.queue<string>("jobs");
      const received: number[] = [];
      await bus.subscribe("texts", (event: string) => void received.push(whole(event))).ready;
      await bus.expose("whole here", whole);

      const platform = new URL("platform_peer.ts", import.meta.url);
      await using peer = Peer.start(platform, { build, runtime, args: [namespace] });
      const ask = (verb: string, length?: number) => peer.ask([verb, length], SLOW);
      assertEquals(await peer.next(SLOW), [arch, library, -Errno.ELOOP]);
      const buses = await busesOf(namespace);
      assertEquals(buses.length, 2);

      for (const length of [SMALL, LARGE]) {
        assertEquals(await bus.publish(text(length), "texts"), 2);
        assertEquals(await ask("publish", length), 2);
        assertEquals(await bus.stub<typeof whole>("whole there", { timeout: SLOW })(text(length)), length);
        assertEquals(await ask("call", length), length);
        await queue.put(text(length));
        assertEquals(await ask("get"), length);
        await ask("put", length);
        assertEquals(whole(await queue.get()), length);

        await ask("put", length);
        const lease = await queue.receive();
        assertEquals([whole(lease.item), lease.attempt], [length, 1]);
        await lease.nack();
        assertEquals(await ask("receive"), [length, 2]);
        await ask("nack");
        const again = await queue.receive();
        assertEquals([whole(again.item), again.attempt], [length, 3]);
        await again.nack();
        assertEquals(await ask("receive"), [length, 4]);
        await ask("ack");
        assertEquals(await queue.qsize(), 0);
      }
      const all = [SMALL, SMALL, LARGE, LARGE];
      await until("all is received here", () => received.length === 4);
      assertEquals(received, all);
      await until("all is received there", async () => (await ask("received") as number[]).length === 4, SLOW);
      assertEquals(await ask("received"), all);

      await ask("close");
      peer.end();
      assertEquals((await peer.wait(SLOW)).code, 0);
      await queue.free();
      await bus.close();
      assertEquals(await left(namespace, buses, ["jobs"]), []);
      assertEquals(faults, []);
    });
  }
});
