// run: on deno
import { assertEquals } from "@std/assert";
import { describe, it } from "@std/testing/bdd";
import { Buffer } from "node:buffer";
import { PubSubParser } from "../../src/providers/redis/pubsub_parser.ts";

const bulk = (text: string) => `$${Buffer.byteLength(text)}\r\n${text}\r\n`;
const array = (...items: string[]) => `*${items.length}\r\n${items.join("")}`;

/** The parts of a stream: messages, and other replies, some of which look like messages. */
const TEXTS = ["", "x", "event", "é€\u{1f4a9}", "*3\r\n$7\r\nmessage\r\n", "\r\n", "$5\r\n", "y".repeat(3_000)];
/** Bodies that are not read as text at once. */
const LONG = ["é".repeat(40_000), `${"\r\n$5\r\n".repeat(20_000)}x`, "w".repeat(300_000)];
const OTHERS = [
  "+OK\r\n",
  "-ERR no\r\n",
  ":42\r\n",
  "$-1\r\n",
  "*-1\r\n",
  "*0\r\n",
  bulk("message"),
  array(bulk("subscribe"), bulk("a channel"), ":1\r\n"),
  array(bulk("pong"), bulk("")),
  array(bulk("message"), bulk("__redis__:invalidate"), array(bulk("key"))),
  array(bulk("message"), bulk("__redis__:invalidate"), "*-1\r\n"),
  array(array(array(), bulk("z".repeat(500))), ":1\r\n"),
];

/** A stream of random replies, and the expected result of parsing it. */
function stream(random: () => number, texts = TEXTS): { bytes: Buffer; expected: string[] } {
  const pick = <T>(list: readonly T[]) => list[Math.floor(random() * list.length)]!;
  const replies = Array.from({ length: 60 }, (): [string, string] => {
    const [channel, body] = [pick(texts), pick(texts)];
    const kind = random();
    if (kind < 0.4) return [array(bulk("message"), bulk(channel), bulk(body)), `message ${channel} ${body}`];
    if (kind < 0.7) {
      const pattern = pick(texts);
      const reply = array(bulk("pmessage"), bulk(pattern), bulk(channel), bulk(body));
      return [reply, `pattern ${pattern} ${channel} ${body}`];
    }
    const other = pick(OTHERS);
    return [other, `other ${other}`];
  });
  return {
    bytes: Buffer.from(replies.map(([reply]) => reply).join("")),
    expected: replies.map(([, expected]) => expected),
  };
}

describe("PubSubParser", () => {
  it("finds the messages of a stream and passes the other replies on, whole and in order, wherever the chunks end", () => {
    let seed = 7;
    const random = () => (seed = seed * 48_271 % 2_147_483_647) / 2_147_483_647;
    for (let round = 0; round < 330; round++) {
      const long = round >= 300;
      const { bytes, expected } = stream(random, long ? [...TEXTS, ...LONG] : TEXTS);
      const seen: string[] = [];
      const parser = new PubSubParser({
        message: (channel, body) => seen.push(`message ${channel} ${body}`),
        patternMessage: (pattern, channel, body) => seen.push(`pattern ${pattern} ${channel} ${body}`),
      }, (other) => seen.push(`other ${other.toString()}`));
      const largest = (long ? [5_000, 70_000, 400_000, 5_000_000] : [1, 7, 100, 5_000])[round % 4]!;
      for (let at = 0; at < bytes.length;) {
        const size = 1 + Math.floor(random() * largest);
        parser.parse(bytes.subarray(at, at + size));
        at += size;
      }
      assertEquals(seen, expected, `seed of round ${round}`);
    }
  });

  it("parses a long message in small chunks without scanning them again", () => {
    const body = "x".repeat(20_000_000);
    const bytes = Buffer.from(array(bulk("message"), bulk("channel"), bulk(body)));
    const lengths: number[] = [];
    const parser = new PubSubParser({ message: (_, body) => lengths.push(body.length) }, () => {});
    for (let at = 0; at < bytes.length; at += 4_096) parser.parse(bytes.subarray(at, at + 4_096));
    assertEquals(lengths, [body.length]);
  });
});
