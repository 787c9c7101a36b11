// run: on bun
import { assertEquals } from "@std/assert";
import { describe, it } from "@std/testing/bdd";
import { writeBatch } from "../../src/providers/ipc/frames.ts";
import { MessageReader } from "../../src/providers/ipc/message_reader.ts";
import type { Namespace } from "../../src/providers/ipc/namespace.ts";

const SIZE = 8_192;

/** Returns how many messages and events are read in a row from a queue that is always full, of these events. */
function readInRow(events: { topic: string; body: string }[], work?: number): [messages: number, events: number] {
  const buffer = new Uint8Array(SIZE);
  const message = buffer.slice(0, writeBatch(events.map((event) => ({ ...event, file: false })), buffer));
  let messages = 0;
  const receive = (_: number, target: Uint8Array) => {
    messages++;
    target.set(message);
    return message.length;
  };
  let taken = 0;
  const reader = new MessageReader({ posix: { receive } } as unknown as Namespace, "", () => {}, () => {});
  const queue = { descriptor: 0, size: SIZE };
  assertEquals(reader.read(queue, () => void taken++, work), 64); // there may be more
  return [messages, taken];
}

describe("messages that are read in a row", () => {
  it("have about 1,024 events, because the event loop must run meanwhile", () => {
    const many = Array.from({ length: 1_021 }, () => ({ topic: "/".repeat(4_096), body: "1" }));
    assertEquals(readInRow(many), [1, 1_021]);
    assertEquals(readInRow(many.slice(0, 100).map(({ body }) => ({ topic: "t", body }))), [11, 1_100]);
  });

  it("are at most 64", () => {
    assertEquals(readInRow([{ topic: "t", body: "x".repeat(4_000) }]), [64, 64]);
    assertEquals(readInRow(Array(100).fill({ topic: "t", body: "1" }), Infinity), [64, 6_400]);
  });
});
