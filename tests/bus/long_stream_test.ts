/** Long streams to slow readers, with the memory of both sides; `TSMQ_TEST_ALL=1`: a million values. */
// run: on bun
import { assert, assertEquals } from "@std/assert";
import { describe, it } from "@std/testing/bdd";
import { Bus } from "../../mod.ts";
import type { Provider } from "../../src/provider/provider.ts";
import { aws } from "../../src/providers/aws/provider.ts";
import { MAX_AHEAD } from "../../src/rpc/stream_messages.ts";
import { startEmulator } from "../aws/emulator.ts";
import { here, Peer, there } from "../support/peer.ts";
import { ALL } from "../support/share.ts";
import { quickest, until } from "../support/until.ts";
import { fresh, onEach, onRedis } from "./grounds.ts";

const COUNT = ALL ? 1_000_000 : 50_000;
/** Bytes by which the live objects of one side may grow. In the short test the values have 5 MB. */
const HEAP = 2 * 2 ** 20;
/** Bytes by which the memory of one side, with its garbage, may grow: fewer than the values of the long test have. */
const RSS = 96 * 2 ** 20;
/** Milliseconds for a million values. */
const PATIENCE = 150_000;
/** Milliseconds from a `break` to the `finally` of the generator. */
const SOON = 1_000;

interface Side {
  readonly heap: number;
  readonly rss: number;
}

interface Read extends Side {
  readonly seen: number;
  readonly wrong: number;
  readonly ahead: number;
  readonly seconds: number;
}

/** Starts a peer whose garbage can be collected. */
function start<Said>(runtime: "deno" | "bun", ...args: string[]): Peer<Said> {
  const permissions = ["-A", "--v8-flags=--expose-gc"];
  const file = new URL("long_stream_peer.ts", import.meta.url);
  return Peer.start<Said>(file, { runtime, permissions, args: [...args, String(COUNT)] });
}

function flat(who: string, { heap, rss }: Side): void {
  const text = `${who} grew by ${(heap / 2 ** 20).toFixed(1)} MiB of live objects, ${
    (rss / 2 ** 20).toFixed(1)
  } MiB in all`;
  console.log(text);
  assert(heap < HEAP && rss < RSS, text);
}

describe("a long stream to a slow reader", () => {
  it("has all values in order and needs no memory, in memory", async () => {
    await using peer = start<Read>(here, "both", "", fresh());
    const { seen, wrong, ahead, seconds, ...side } = await peer.next(PATIENCE);
    console.log(`${seen} values in ${seconds} s`);
    assertEquals({ seen, wrong }, { seen: COUNT, wrong: 0 });
    assert(ahead <= MAX_AHEAD, `the generator was ${ahead} values ahead`);
    flat("the process", side);
  });

  it("has all values in order, on AWS", async () => {
    await using emulator = await startEmulator();
    const provider: Provider = aws(emulator.options);
    const namespace = fresh();
    await using server = await Bus.open(provider, { namespace });
    await using caller = await Bus.open(provider, { namespace });
    await server.expose("values", async function* () {
      for (let i = 0; i < 1_000; i++) yield String(i).padStart(100, "x");
    });
    let seen = 0;
    for await (const value of caller.stream("values")()) assertEquals(value, String(seen++).padStart(100, "x"));
    assertEquals(seen, 1_000);
  });
});

onRedis("a long stream to a slow reader", ({ it, server }) => {
  it("has all values in order and needs no memory", async () => {
    const namespace = fresh();
    await using serving = start<"ready" | Side>(there, "server", server().url, namespace);
    assertEquals(await serving.next(), "ready");
    await using reading = start<Read>(here, "reader", server().url, namespace);
    const { seen, wrong, seconds, ...side } = await reading.next(PATIENCE);
    console.log(`${seen} values in ${seconds} s`);
    assertEquals({ seen, wrong }, { seen: COUNT, wrong: 0 });
    flat("the reader", side);
    flat("the server", await serving.next() as Side);
  });
});

onEach("a break after ten values", ({ it, provider }) => {
  it(`runs the generator's finally within ${SOON} ms`, async () => {
    const [shared, namespace] = [provider(), fresh()];
    await using server = await Bus.open(shared, { namespace });
    await using caller = await Bus.open(shared, { namespace });
    let ended = 0;
    await server.expose("numbers", async function* () {
      try {
        for (let i = 0;; i++) yield i;
      } finally {
        ended = performance.now();
      }
    });
    const took = await quickest(async () => {
      ended = 0;
      let seen = 0;
      for await (const _ of caller.stream("numbers")()) if (++seen === 10) break;
      const left = performance.now();
      await until("the generator has ended", () => ended > 0);
      return ended - left;
    });
    console.log(`The generator ended ${took.toFixed(1)} ms after the break`);
    assert(took < SOON, `${took} ms`);
  });
});
