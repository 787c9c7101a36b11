// run: on bun, deadline 300
import { assert, assertEquals } from "@std/assert";
import { describe, it } from "@std/testing/bdd";
import process from "node:process";
import { Codec, type EventClass } from "../../src/codec/codec.ts";
import { BusError } from "../../src/errors.ts";
import { Link } from "../../src/port/link.ts";
import { asUntried, read, readItem as readAwsItem } from "../../src/providers/aws/message.ts";
import { type Frame, readEvents, readItem, writeBatch, writePymq } from "../../src/providers/ipc/frames.ts";
import { readAnswer, readRequest } from "../../src/rpc/wire.ts";
import { withDeadline } from "../../src/internal/time.ts";
import { OneThread } from "../port/one_thread.ts";
import { TestReceiver } from "../port/receiver.ts";
import { Random, SEED } from "../support/random.ts";
import { until, within } from "../support/until.ts";
import { BODIES, garbage } from "./garbage.ts";

/** The number of inputs for each reader. `deno task test:faults --long` uses ten times as many. */
const COUNT = 20_000 * Number(process.env.TSMQ_FAULTS_SCALE || 1);
/** Bytes that reading all of them may leave or hold at once. */
const GROWTH = 256 * 2 ** 20;
/** Milliseconds that reading one of them may take: far more than it does, far less than a runaway. */
const SLOWEST = 2_000;

class OrderPlaced {
  static readonly topic = "shop.OrderPlaced";
  constructor(readonly id: string) {}
}

const decoder = new TextDecoder();

/** Reads garbage. Every error that it throws must be an error of tsmq. */
function fuzz(random: Random, read: (bytes: Uint8Array) => unknown, bodies?: readonly string[]): number {
  const before = process.memoryUsage().rss;
  let refused = 0;
  for (let n = 0; n < COUNT; n++) {
    const bytes = garbage(random, bodies);
    const since = performance.now();
    try {
      read(bytes);
    } catch (error) {
      const input = JSON.stringify(decoder.decode(bytes).slice(0, 2_000));
      assert(error instanceof BusError && error.code === "invalid", `seed ${SEED}, input ${input}: ${error}`);
      refused++;
    }
    assert(performance.now() - since < SLOWEST, `seed ${SEED}, input ${n} took ${performance.now() - since} ms`);
  }
  const grown = process.memoryUsage().rss - before;
  assert(grown < GROWTH, `it took ${Math.round(grown / 2 ** 20)} MiB`);
  return refused;
}

describe(`garbage (seed ${SEED})`, () => {
  it("the codec gives a value or a ValidationError, and the readers of requests and answers give only valid ones", () => {
    const codec = new Codec([OrderPlaced as EventClass]);
    const refused = fuzz(new Random(SEED), (bytes) => {
      const decoded = codec.decode(decoder.decode(bytes));
      assert(!(decoded instanceof Promise));
      const request = readRequest(decoded.value);
      if (request) assert(typeof request.fn === "string" && Array.isArray(request.args));
      if (request?.call) assert(request.call.id.length <= 64 && Number.isFinite(request.call.deadline));
      const answer = readAnswer(decoded.value);
      if (answer) assert(typeof answer.fn === "string" && typeof answer.isError === "boolean");
      assertEquals(({} as Record<string, unknown>).polluted, undefined);
    });
    assert(refused > COUNT / 4 && refused < COUNT, `${refused} of ${COUNT} were refused`);
  });

  it("a kernel message is decoded to events, or refused", () => {
    const message = new Uint8Array(8_192);
    const frames: Frame[] = BODIES.map((body, i) => ({ topic: `topic ${i >> 1}`, body, file: i % 3 === 0 }));
    const batch = decoder.decode(message.subarray(0, writeBatch(frames, message)));
    const pymq = BODIES.map((body) => decoder.decode(writePymq("topic", body)));
    fuzz(new Random(SEED), (bytes) => {
      for (const { topic, body } of readEvents(bytes) ?? []) {
        assert(typeof topic === "string" && typeof body === "string");
        assert(topic.length + body.length <= 2 * bytes.length);
      }
      assert(readItem(bytes).text.length <= bytes.length);
    }, [batch, ...pymq]);
  });

  it("a message of SQS is a message of tsmq, or a body without attributes", () => {
    const labels = [
      '{"topic":"t","all":true}',
      '{"inbox":true,"json":true}',
      '{"topic":{"x":1}}',
      '{"topic":["a"]}',
      '{"attempts":-1}',
      '{"attempts":"x"}',
    ];
    const random = new Random(SEED);
    const value = () => random.chance(0.5) ? decoder.decode(garbage(random, labels)) : random.pick(labels);
    const envelope = JSON.stringify({ Type: "Notification", TopicArn: "arn:aws:sns:x", Message: BODIES[0] });
    fuzz(random, (bytes) => {
      const Body = decoder.decode(bytes);
      const StringValue = random.chance(0.5) ? value() : undefined;
      const message = { Body, MessageAttributes: { tsmq: { DataType: "String", StringValue } } };
      const { label, body } = read(message, true);
      const item = readAwsItem(message);
      assertEquals([typeof body, typeof item.body, item.attempt >= 1], ["string", "string", true]);
      asUntried(message);
      assert(label.topic === undefined || typeof label.topic === "string");
    }, [envelope, ...BODIES]);
  });

  it("an unknown frame between the main thread and the worker is reported, and ends neither", async () => {
    const random = new Random(SEED);
    const receiver = new TestReceiver();
    using thread = new OneThread(() => Promise.resolve(receiver));
    const faults: unknown[] = [];
    const nothing = () => {};
    const events = { died: nothing, state: nothing, gap: nothing, inbox: nothing, requests: nothing, posted: nothing };
    const link = await Link.open(thread.provider, { namespace: "n", connectTimeout: 5_000, maxReceive: Infinity }, {
      ...events,
      fault: (error) => faults.push(error),
    });
    // `receive` is left out: what it asks for has been checked by main
    const kinds = [
      "events",
      "inbox",
      "failed",
      "gap",
      "state",
      "fault",
      "subscribe",
      "unsubscribe",
      "credit",
      "cancel",
    ];
    kinds.push("settle", "ask", "answer", "done", "beat", "none", "__proto__");
    const values: unknown[] = [undefined, null, -1, 1e9, "", "x", {}, [], [null], { topic: 1 }, NaN, true];
    const fields = [
      "subscription",
      "filter",
      "credit",
      "count",
      "queue",
      "max",
      "receipts",
      "delay",
      "topics",
      "bodies",
    ]
      .concat(["error", "reason", "verb", "argument", "value"]);
    for (let n = 0; n < Math.min(COUNT, 20_000); n += 20) {
      const frames = Array.from({ length: 20 }, () => {
        if (random.chance(0.1)) return random.pick(values);
        const some = fields.filter(() => random.chance(0.5)).map((field) => [field, random.pick(values)]);
        // not the id of a pending request
        return { ...Object.fromEntries(some), id: -random.int(1, 1_000), kind: random.pick(kinds) };
      });
      thread.last.say(frames);
      thread.last.tell(frames);
    }
    await until("the unknown frame is reported", () => faults.length > 0);
    const seen: unknown[] = [];
    const stream = link.subscribe({ topic: "t", pattern: false, serves: false }, (_, bodies) => seen.push(...bodies));
    await within("the subscription is made", stream.ready);
    receiver.emits.get("t")!("t", "right");
    await until("an event comes through", () => seen.includes("right"));
    const taken = link.receive("queue", { max: 1, wait: 5_000 });
    await until(
      "the receiver is asked",
      () => receiver.calls.some(([verb, queue]) => verb === "receive" && queue === "queue"),
    );
    receiver.offer("item");
    assertEquals((await within("an item is taken", taken))[0]?.body, "item");
    await within("the link closes", withDeadline(1_000, (over) => link.close(over)));
  });
});
