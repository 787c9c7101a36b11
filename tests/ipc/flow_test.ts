// run: on deno, kernel-queues
import { assert, assertEquals } from "@std/assert";
import { describe, it } from "@std/testing/bdd";
import { here, Peer, there } from "../support/peer.ts";
import { ALL } from "../support/share.ts";
import { fresh } from "./ground.ts";

/** The number of events, and the length of the text in each. */
const [COUNT, LENGTH] = ALL ? [1_000_000, 200] : [200_000, 1_040];
/** Bytes of all events together; each side holds a small part of them. */
const BYTES = COUNT * (LENGTH + 10);
/** Megabytes of a heap in Deno. Without a limit, garbage grows to several times the size of the live objects. A full heap ends the process. */
const HEAP = 160;

interface Report {
  readonly gaps: number;
  readonly wrong: number;
  readonly called: number;
  readonly grown: number;
}

describe("a slow subscriber", () => {
  it(`gets ${COUNT} events of another process in order; memory stays flat and its handler's calls succeed`, async () => {
    const args = [fresh(), String(COUNT), String(LENGTH)];
    const permissions = ["-A", `--v8-flags=--max-old-space-size=${HEAP}`];
    const start = <Said>(file: string, runtime: "deno" | "bun") =>
      Peer.start<Said>(new URL(file, import.meta.url), { runtime, args, permissions });
    await using subscriber = start<"ready" | Report>("flow_subscriber.ts", here);
    assertEquals(await subscriber.next(), "ready");
    await using publisher = start<{ grown: number }>("flow_peer.ts", there);
    const { gaps, wrong, called, grown } = await subscriber.next(150_000) as Report;
    assertEquals({ gaps, wrong, called }, { gaps: 0, wrong: 0, called: 5 });
    const published = await publisher.next(20_000);
    console.log(`publisher +${Math.round(published.grown / 1e6)} MB, subscriber +${Math.round(grown / 1e6)} MB`);
    assert(published.grown < BYTES, `the publisher grew by ${published.grown} bytes`);
    assert(grown < 2 * BYTES, `the subscriber grew by ${grown} bytes`);
  });
});
