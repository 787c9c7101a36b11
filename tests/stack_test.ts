/** A step that fails because the stack is full, as in a program that recurses, leaves nothing that waits for a step that never comes. */
import { assertEquals, assertThrows } from "@std/assert";
import { describe, it } from "@std/testing/bdd";
import { UNSIGNED } from "../src/codec/envelope.ts";
import { Outbox } from "../src/port/outbox.ts";
import type { ToWorker } from "../src/port/protocol.ts";
import type { Sender } from "../src/provider/provider.ts";
import { Posts } from "../src/rpc/posts.ts";

/** Runs a step during which no microtask can be queued. */
function full(step: () => unknown): void {
  const queue = globalThis.queueMicrotask;
  globalThis.queueMicrotask = () => {
    throw new RangeError("Maximum call stack size exceeded");
  };
  try {
    assertThrows(step, RangeError);
  } finally {
    globalThis.queueMicrotask = queue;
  }
}

describe("after a microtask could not be queued", () => {
  it("the frames to the worker are posted with the next one", async () => {
    const posted: number[] = [];
    const outbox = new Outbox((frames) => posted.push(frames.length) > 0, () => {});
    full(() => outbox.add({} as ToWorker, false));
    outbox.add({} as ToWorker, false);
    await Promise.resolve();
    assertEquals(posted, [2]);
  });

  it("the messages to an inbox are posted", async () => {
    const sent: string[] = [];
    const post = (inbox: string) => Promise.resolve(sent.push(inbox) > 0);
    const posts = new Posts({ post, maxJoined: 10_000 } as unknown as Sender, UNSIGNED);
    for (const inbox of ["a", "b"]) posts.joins(inbox);
    full(() => posts.post("a", "{}"));
    void posts.post("a", "{}");
    void posts.post("b", "{}");
    await Promise.resolve();
    assertEquals(sent, ["a", "b"]);
  });
});
