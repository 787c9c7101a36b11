import { assert, assertEquals } from "@std/assert";
import { Buffer } from "node:buffer";
import { describe, it } from "@std/testing/bdd";
import {
  BATCH_BYTES,
  type Frame,
  LENGTHS_BYTES,
  readEvents,
  readItem,
  readLarge,
  writeBatch,
  writeItem,
  writeLarge,
  writePymq,
} from "../../src/providers/ipc/frames.ts";
import { Random, SEED } from "../support/random.ts";
import { kept } from "../support/spy.ts";

const encoder = new TextEncoder();

/** The parts of frames, and texts that look like them. */
const PIECES = [
  "",
  "a",
  "topic",
  "\n",
  ":",
  ",",
  "@",
  "\x01",
  "\x02",
  "\x03",
  "\n\t ",
  "é",
  "😀",
  "1:1,",
  "{",
  '"',
  "\0",
];

function text(random: Random): string {
  return Array.from({ length: random.int(0, 12) }, () => random.pick(PIECES)).join("");
}

function frames(random: Random): Frame[] {
  const topics = [text(random), text(random)].map((topic) => topic || "t");
  return Array.from({ length: random.int(1, 8) }, () => ({
    topic: random.pick(topics),
    body: text(random) || "0",
    file: random.chance(0.2),
  }));
}

describe(`kernel messages (seed ${SEED})`, () => {
  it("decode to the events that were written, and have at most the estimated bytes", () => {
    const random = new Random(SEED);
    for (let i = 0; i < 3_000; i++) {
      const written = frames(random);
      const message = new Uint8Array(8_192);
      const length = writeBatch(written, message);
      assertEquals(readEvents(message.subarray(0, length)), written);
      const reckoned = written.reduce(
        (sum, { topic, body }) => sum + LENGTHS_BYTES + Buffer.byteLength(topic) + Buffer.byteLength(body),
        BATCH_BYTES,
      );
      assert(length <= reckoned, `${length} bytes were reckoned as ${reckoned}`);
    }
  });

  it("are refused when they are truncated", () => {
    const random = new Random(SEED);
    for (let i = 0; i < 300; i++) {
      const message = new Uint8Array(8_192);
      const length = writeBatch(frames(random), message);
      for (let cut = 0; cut < length; cut++) {
        // a truncated character decodes to the replacement character
        if ((message[cut]! & 0xc0) === 0x80) continue;
        assertEquals(readEvents(message.subarray(0, cut)), undefined, `the first ${cut} of ${length} bytes were read`);
      }
    }
  });

  it("are refused when a body is empty, which no bus writes", () => {
    for (const lengths of ["1:0,", "1:1,:0,", `1:1,${":0,".repeat(600)}`, "1:@0,"]) {
      assertEquals(
        readEvents(encoder.encode(`\x01${lengths}\ntb`.slice(0, lengths.includes(":1,") ? undefined : -1))),
        undefined,
      );
    }
    assertEquals(readEvents(encoder.encode("\x01\n")), [], "a message without events");
  });

  it("are refused, or decode to events of the same bytes, when they are changed", () => {
    const random = new Random(SEED);
    for (let i = 0; i < 3_000; i++) {
      const message = new Uint8Array(8_192);
      const bytes = message.slice(0, writeBatch(frames(random), message));
      bytes.set(random.bytes(random.int(1, 3)), random.int(0, Math.max(0, bytes.length - 3)));
      for (const { topic, body } of readEvents(bytes) ?? []) {
        assert(Buffer.byteLength(topic) + Buffer.byteLength(body) <= 3 * bytes.length);
      }
    }
  });

  it("in files decode to the event that was written; a file that is truncated within the topic is refused", () => {
    const random = new Random(SEED);
    for (let i = 0; i < 300; i++) {
      const [topic, body] = [text(random), text(random)];
      const file = writeLarge(topic, body);
      assertEquals(readLarge(file), { topic, body, file: false });
      for (let cut = 0; cut < file.length - body.length; cut++) assertEquals(readLarge(file.slice(0, cut)), undefined);
    }
    for (const file of ["", "x", "\n", "-1\nx", "1e1\nx", `${"9".repeat(400)}\nx`]) {
      assertEquals(readLarge(file), undefined);
    }
  });

  it("to PyMQ have its format", () => {
    const random = new Random(SEED);
    for (let i = 0; i < 300; i++) {
      const [topic, body] = [text(random), text(random)];
      assertEquals(readEvents(writePymq(topic, body)), [{ topic, body, file: false }]);
    }
  });

  it("from PyMQ are read without the engine's parser, with all escape sequences of JSON, or refused", () => {
    const write = (topic: string, body: string) =>
      encoder.encode(`{"__obj": [0, ${topic}, ${body}], "__type": "pymq.provider.ipc.IpcEvent"}`);
    const literals = ['""', '"a/b"', String.raw`"\"\\\/\b\f\n\r\tn\u00e9\uD83d\ude00\\u0041\\\\"`, '"é😀\u2028"'];
    for (const literal of literals) {
      const message = write('"t"', literal);
      const [topic, body]: string[] = ["t", JSON.parse(literal)];
      assertEquals(readEvents(message), [{ topic, body, file: false }]);
      assertEquals(readEvents(write(literal, '"b"'))?.[0]?.topic, body);
      assertEquals(kept(() => readEvents(message)), []);
    }
    for (
      const literal of [
        "",
        "a",
        '"',
        '"""',
        String.raw`"\"`,
        String.raw`"\x"`,
        String.raw`"\u12g4"`,
        '"a", "b"',
        "null",
      ]
    ) {
      assertEquals(readEvents(write('"t"', literal)), undefined, literal);
      assertEquals(readEvents(write(literal, '"b"')), undefined, literal);
    }
    assertEquals(kept(() => readEvents(encoder.encode('{"name": 0}'))), []);
  });

  it("decode to the items that were written, also those that begin like a file name", () => {
    const random = new Random(SEED);
    for (let i = 0; i < 3_000; i++) {
      const item = text(random);
      const { text: read, file, deliveries } = readItem(writeItem(`${item}.`, false));
      assertEquals({ read, file, deliveries }, { read: `${item}.`, file: false, deliveries: 0 });
    }
    assertEquals(readItem(writeItem("name", true)), { text: "name", file: true, deliveries: 0 });
  });
});
