// run: on bun, waiting
import { assert, assertEquals, assertMatch, assertRejects } from "@std/assert";
import {
  GetQueueAttributesCommand,
  ReceiveMessageCommand,
  SendMessageBatchCommand,
  SendMessageCommand,
  SetQueueAttributesCommand,
} from "@aws-sdk/client-sqs";
import { afterAll, beforeAll, describe, it } from "@std/testing/bdd";
import { Bus } from "../../src/bus.ts";
import { ProviderError, UnsupportedError } from "../../src/errors.ts";
import { aws } from "../../src/providers/aws/provider.ts";
import { Names } from "../../src/providers/aws/names.ts";
import { PATIENCE, pause, quickest, timed, until } from "../support/until.ts";
import { Admin } from "./admin.ts";
import { type Emulator, startEmulator } from "./emulator.ts";
import { fresh, type Halves, NOW, open } from "./halves.ts";

const BYTES = new Uint8Array([0, 1, 255]);

describe("queues over SQS", () => {
  let emulator: Emulator;
  const used: [Halves, string][] = [];
  beforeAll(async () => void (emulator = await startEmulator()));
  afterAll(async () => {
    for (const [{ namespace }, queue] of used) {
      await using halves = await open(emulator.options, { namespace });
      await halves.sender.drop(queue);
    }
    await emulator.stop();
  });

  /** Halves with a queue of this name, freed at the end. */
  async function using(queue: string, namespace = fresh()): Promise<Halves> {
    const halves = await open({ ...emulator.options, poll: 5_000 }, { namespace });
    used.push([halves, queue]);
    return halves;
  }

  const put = (halves: Halves, queue: string, ...bodies: string[]) =>
    Promise.all(bodies.map((body) => halves.sender.send(queue, body, { wait: 0 })));

  it("the first put creates the queue, drop() removes it, size() creates none", async () => {
    await using halves = await using("jobs");
    assertEquals(await halves.sender.size("jobs"), 0);
    await put(halves, "jobs", "1", "2", "3");
    assertEquals(await halves.sender.size("jobs"), 3);
    await halves.sender.drop("jobs");
    await halves.sender.drop("jobs");
    assertEquals(await halves.sender.size("jobs"), 0);
    assertEquals(await halves.bodies("jobs", NOW), []);
  });

  it("post() puts nothing into a queue of items, by its name or its URL", async () => {
    await using halves = await using("jobs");
    using admin = new Admin(emulator.options);
    await put(halves, "jobs", "1");
    const name = new Names(halves.namespace).queue("jobs");
    for (const inbox of ["jobs", name, await admin.url(name)]) {
      assertEquals(await halves.sender.post(inbox, "forged"), false);
    }
    assertEquals(await halves.bodies("jobs", NOW), ["1"]);
    assertEquals(await halves.bodies("jobs", NOW), []);
  });

  it("a queue that another bus freed is created again by the next put and the next receive", async () => {
    const namespace = fresh();
    await using one = await using("jobs", namespace);
    await using two = await using("jobs", namespace);
    await put(one, "jobs", "1");
    assertEquals(await two.bodies("jobs"), ["1"]);
    await one.sender.drop("jobs");
    assertEquals(await two.bodies("jobs"), []);
    await one.sender.drop("jobs");
    await put(one, "jobs", "2");
    assertEquals(await two.bodies("jobs"), ["2"]);
  });

  it("receive() returns more than the ten items of one request", async () => {
    await using halves = await using("many");
    const bodies = Array.from({ length: 64 }, (_, i) => String(i));
    await put(halves, "many", ...bodies);
    const got: string[] = [];
    while (got.length < 64) {
      const brought = await halves.bodies("many", { max: 50, wait: 5_000 });
      if (got.length === 0) assertEquals(brought.length, 50);
      got.push(...brought);
    }
    assertEquals(new Set(got), new Set(bodies));
  });

  it("an item of another program is delivered unchanged, even when it looks like an envelope of SNS", async () => {
    await using halves = await using("raw");
    const envelope = JSON.stringify({ Type: "Notification", TopicArn: "arn:aws:sns:x:1:t", Message: "inner" });
    await put(halves, "raw", envelope, "", "\u0000é😀");
    assertEquals(new Set(await halves.bodies("raw", { max: 10 })), new Set([envelope, "", "\u0000é😀"]));
  });

  it("an expired lease is not settled: another consumer may hold the item", async () => {
    await using halves = await using("held");
    await put(halves, "held", "item");
    const [first] = await halves.receive("held", { lease: 900 });
    const [second] = await halves.receive("held", { lease: 30_000, wait: 10_000 });
    assertEquals({ ...second, receipt: "" }, { receipt: "", body: "item", attempt: 2 });
    assertEquals(await halves.receiver.settle("held", [first!.receipt], "ack", 0), [false]);
    assertEquals(await halves.receiver.extend("held", [first!.receipt], 30_000), [false]);
    assertEquals(await halves.receiver.settle("held", [second!.receipt], "ack", 0), [true]);
    assertEquals(await halves.receiver.settle("held", [second!.receipt], "ack", 0), [false]);
  });

  it("settling items of a freed queue does not create the queue again", async () => {
    await using halves = await using("freed");
    await put(halves, "freed", "1", "2");
    const held = await halves.receive("freed", { max: 2, lease: 30_000, wait: 5_000 });
    assertEquals(held.length, 2);
    await halves.sender.drop("freed");
    for (const { receipt } of held) assertEquals(await halves.receiver.settle("freed", [receipt], "ack", 0), [false]);
    using admin = new Admin(emulator.options);
    assertEquals(await admin.queues(new Names(halves.namespace).queue("freed")), []);
  });

  it("nack() gives the item back after its delay, extend() keeps it", async () => {
    await using halves = await using("held");
    await put(halves, "held", "item");
    const [first] = await halves.receive("held", { lease: 3_000 });
    assertEquals(await halves.receiver.extend("held", [first!.receipt], 10_000), [true]);
    await pause(3_500);
    assertEquals(await halves.bodies("held", NOW), []);
    assertEquals(await halves.receiver.settle("held", [first!.receipt], "nack", 3_000), [true]);
    assertEquals(await halves.bodies("held", NOW), []);
    const [again] = await halves.receive("held", { lease: 10_000, wait: 10_000 });
    assertEquals(again?.attempt, 2);
    assertEquals(await halves.receiver.settle("held", [again!.receipt], "nack", 0), [true]);
    assertEquals(await halves.bodies("held", { wait: 5_000 }), ["item"]);
  });

  it("a cancelled wait ends at once; items of its poll go to the next wait, or are given back", async () => {
    const namespace = fresh();
    await using one = await using("jobs", namespace);
    await using two = await using("jobs", namespace);
    const cancel = new AbortController();
    const waiting = one.receive("jobs", { wait: 60_000, signal: cancel.signal });
    await pause(200);
    cancel.abort();
    const took = await timed(async () => assertEquals(await waiting, []));
    assert(took < 4_000, "the wait did not end before its poll");
    await put(two, "jobs", "given back");
    assertEquals(await two.bodies("jobs", { wait: 5_000 }), ["given back"]);
    const second = new AbortController();
    const again = one.receive("jobs", { wait: 60_000, signal: second.signal });
    await pause(200);
    second.abort();
    await again;
    const next = one.bodies("jobs", { wait: 5_000 });
    await put(two, "jobs", "taken over");
    assertEquals(await next, ["taken over"]);
  });

  it("a wait that is shorter than the shortest poll ends in time", async () => {
    await using halves = await using("jobs");
    await halves.bodies("jobs");
    const waited = await quickest(async () => {
      const start = performance.now();
      assertEquals(await halves.bodies("jobs", { wait: 150 }), []);
      return performance.now() - start;
    });
    assert(waited >= 145 && waited < 950, `${waited} ms`);
  });

  it("close() during a long poll does not wait for it, and loses nothing", async () => {
    const namespace = fresh();
    await using other = await using("jobs", namespace);
    const halves = await using("jobs", namespace);
    const waiting = [
      halves.receive("jobs", { wait: Infinity }),
      halves.receive("jobs", { wait: Infinity, lease: 2_000 }),
    ];
    await pause(300);
    const closed = await timed(() => halves.close());
    assert(closed < 4_000, `${closed} ms`);
    assertEquals(await Promise.all(waiting), [[], []]);
    // SQS redelivers items of a cancelled poll when their visibility timeout ends
    await put(other, "jobs", "1", "2", "3");
    const got: string[] = [];
    await until("all items are there", async () => {
      got.push(...await other.bodies("jobs", { max: 10, wait: 1_000 }));
      return got.length === 3;
    }, 40_000);
    assertEquals(got.toSorted(), ["1", "2", "3"]);
  });

  it("a .fifo queue keeps the order, over batches, nacks and leases", async () => {
    await using halves = await using("order.fifo");
    const bodies = Array.from({ length: 25 }, (_, i) => String(i));
    await put(halves, "order.fifo", ...bodies);
    const [first] = await halves.receive("order.fifo", { lease: 10_000 });
    assertEquals(first?.body, "0");
    assertEquals(await halves.bodies("order.fifo", NOW), []);
    assertEquals(await halves.receiver.settle("order.fifo", [first!.receipt], "nack", 0), [true]);
    const got: string[] = [];
    while (got.length < 25) got.push(...await halves.bodies("order.fifo", { wait: 5_000 }));
    assertEquals(got, bodies);
  });

  it("an item that no handler started is given back unchanged, with its count", async () => {
    await using halves = await using("jobs");
    using admin = new Admin(emulator.options);
    const { receiver } = halves;
    await put(halves, "jobs", "\u0000 in JSON");
    const take = async () => (await halves.receive("jobs", { lease: 30_000, wait: 10_000 }))[0]!;
    const back = async (outcome: "nack" | "untried", attempt: number, delay = 0) => {
      const held = await take();
      assertEquals([held.body, held.attempt], ["\u0000 in JSON", attempt]);
      assertEquals(await receiver.start("jobs", [held.receipt]), [true]);
      assertEquals(await receiver.settle("jobs", [held.receipt], outcome, delay), [true]);
      assertEquals(await receiver.settle("jobs", [held.receipt], "ack", 0), [false]);
      assertEquals(await receiver.start("jobs", [held.receipt]), [false]);
    };
    await back("untried", 1);
    await back("untried", 1, 1_000);
    await back("nack", 1);
    await back("nack", 2);
    await back("untried", 3);
    const [taken] = await halves.receive("jobs", { wait: 10_000 });
    assertEquals(taken!.attempt, 3);
    await receiver.restore("jobs", [taken!]);
    await back("untried", 3);
    assertEquals(await receiver.settle("jobs", [(await take()).receipt], "ack", 0), [true]);

    // an item of another program, with attributes of its own
    const others = { n: { DataType: "Number", StringValue: "1" }, b: { DataType: "Binary", BinaryValue: BYTES } };
    const QueueUrl = await admin.url(new Names(halves.namespace).queue("jobs"));
    await admin.sqs.send(new SendMessageCommand({ QueueUrl, MessageBody: "theirs", MessageAttributes: others }));
    assertEquals(await receiver.settle("jobs", [(await take()).receipt], "untried", 0), [true]);
    const { Messages } = await admin.sqs.send(
      new ReceiveMessageCommand({ QueueUrl, WaitTimeSeconds: 5, MessageAttributeNames: ["n", "b"] }),
    );
    assertEquals(Messages?.map(({ Body, MessageAttributes }) => [Body, MessageAttributes]), [["theirs", others]]);
  });

  it("items with many different names of attributes keep them, and from then on no other program's names are read", async () => {
    await using halves = await using("jobs");
    using admin = new Admin(emulator.options);
    const { receiver, said } = halves;
    await put(halves, "jobs", "first");
    const lease = { lease: 60_000, wait: 10_000, max: 10 };
    const QueueUrl = await admin.url(new Names(halves.namespace).queue("jobs"));
    const named = (names: string[]) =>
      Object.fromEntries(names.map((name) => [name, { DataType: "Number", StringValue: "1" }]));
    const send = (items: number, at: number) =>
      admin.sqs.send(
        new SendMessageBatchCommand({
          QueueUrl,
          Entries: Array.from({ length: items }, (_, item) => ({
            Id: String(item),
            MessageBody: "theirs",
            MessageAttributes: named(Array.from({ length: 10 }, (_, name) => `n-${at}-${item}-${name}`)),
          })),
        }),
      );
    for (let at = 0; at < 10; at++) await send(10, at);
    await send(3, 10); // 1,030 names
    let left = 104;
    while (left > 0) {
      assertEquals(said.filter((text) => text.startsWith("fault")), []);
      const items = await halves.receive("jobs", lease);
      const receipts = items.map(({ receipt }) => receipt);
      assertEquals(await receiver.settle("jobs", receipts, "ack", 0), receipts.map(() => true));
      left -= items.length;
    }
    const faults = said.filter((text) => text.startsWith("fault"));
    assertEquals(faults.length, 1, faults.join());
    assertMatch(faults[0]!, /more than 1024 different names of message attributes/);

    await send(1, 11);
    const [item] = await halves.receive("jobs", lease);
    assertEquals([item!.body, item!.attempt], ["theirs", 1]);
    assertEquals(await receiver.settle("jobs", [item!.receipt], "untried", 0), [true]);
    const { Messages } = await admin.sqs.send(
      new ReceiveMessageCommand({ QueueUrl, WaitTimeSeconds: 5, VisibilityTimeout: 0, MessageAttributeNames: ["All"] }),
    );
    assertEquals(Object.keys(Messages![0]!.MessageAttributes!).length, 10);
    // tsmq's own attribute is read as before
    await put(halves, "jobs", "\0");
    const bodies = new Set<string>();
    await until("both items", async () => {
      for (const { body } of await halves.receive("jobs", lease)) bodies.add(body);
      return bodies.size === 2;
    });
    assertEquals([...bodies].sort(), ["\0", "theirs"]);
    assertEquals(said.filter((text) => text.startsWith("fault")), faults);
  });

  it("a group leaves what a user has allowed in the policy of its queue", async () => {
    await using halves = await using("topic@group");
    using admin = new Admin(emulator.options);
    const topic = { topic: "topic", pattern: false };
    const { sqs } = admin;
    await halves.receiver.binder!.bind(topic, "topic@group");
    const QueueUrl = await admin.url(new Names(halves.namespace).queue("topic@group"));
    const read = async () => {
      const { Attributes } = await sqs.send(new GetQueueAttributesCommand({ QueueUrl, AttributeNames: ["Policy"] }));
      return JSON.parse(Attributes!.Policy!);
    };
    const { Version, Statement: [ours] } = await read();
    const theirs = { ...ours, Sid: "theirs", Principal: { Service: "events.amazonaws.com" } };
    const Policy = JSON.stringify({ Version, Statement: [theirs, ours] });
    await sqs.send(new SetQueueAttributesCommand({ QueueUrl, Attributes: { Policy } }));
    await halves.receiver.binder!.bind(topic, "topic@group");
    assertEquals((await read()).Statement, [ours, theirs]);
    await halves.receiver.binder!.unbind(topic, "topic@group");
  });

  it("an item that a poll returns after its wait was cancelled is not counted", async () => {
    const namespace = fresh();
    await using one = await using("jobs", namespace);
    await using two = await using("jobs", namespace);
    for (const lease of [undefined, 30_000]) {
      const cancel = new AbortController();
      const waiting = one.receive("jobs", { wait: 60_000, lease, signal: cancel.signal });
      await pause(100);
      cancel.abort();
      assertEquals(await waiting, []);
      await put(two, "jobs", "item");
      const [held] = await two.receive("jobs", { lease: 30_000, wait: 10_000 });
      assertEquals([held!.body, held!.attempt], ["item", 1]);
      assertEquals(await two.receiver.settle("jobs", [held!.receipt], "ack", 0), [true]);
    }
  });

  it("giving back items of a freed queue does not create the queue again", async () => {
    await using halves = await using("freed");
    await put(halves, "freed", "item");
    const [held] = await halves.receive("freed", { lease: 30_000, wait: 5_000 });
    await halves.sender.drop("freed");
    assertEquals(await halves.receiver.settle("freed", [held!.receipt], "untried", 0), [false]);
    using admin = new Admin(emulator.options);
    assertEquals(await admin.queues(new Names(halves.namespace).queue("freed")), []);
  });

  it("put({ delay }) into a .fifo queue is refused, and puts nothing", async () => {
    await using halves = await using("order.fifo");
    const { sender } = halves;
    await assertRejects(() => sender.send("order.fifo", "1", { wait: 0, delay: 1 }), UnsupportedError, "FIFO");
    await put(halves, "order.fifo", "2");
    assertEquals(await halves.bodies("order.fifo", { max: 10, wait: PATIENCE }), ["2"]);
  });

  it("an item of a .fifo queue that is given back keeps its place", async () => {
    await using halves = await using("order.fifo");
    await put(halves, "order.fifo", "1", "2");
    const [held] = await halves.receive("order.fifo", { lease: 30_000, wait: 5_000 });
    assertEquals(await halves.receiver.settle("order.fifo", [held!.receipt], "untried", 0), [true]);
    const [again] = await halves.receive("order.fifo", { lease: 30_000, wait: 5_000 });
    assertEquals([again!.body, again!.attempt], ["1", 2], "SQS counts");
    assertEquals(await halves.receiver.settle("order.fifo", [again!.receipt], "ack", 0), [true]);
  });

  it("restore() puts items back that were received without a lease", async () => {
    await using halves = await using("jobs");
    await put(halves, "jobs", "1", "2");
    const taken = await halves.receive("jobs", { max: 10, wait: PATIENCE });
    await halves.receiver.restore("jobs", taken);
    const again = await halves.bodies("jobs", { max: 10, wait: PATIENCE });
    assertEquals(again.toSorted(), ["1", "2"]);
  });

  it("an item over the limit is refused before it is sent; a cancelled put puts nothing", async () => {
    await using halves = await using("jobs");
    const error = await assertRejects(() => put(halves, "jobs", "x".repeat(300_000)), ProviderError);
    assertEquals(error.code, "too_large");
    const reason = new Error("given up");
    const signal = AbortSignal.abort(reason);
    await halves.sender.send("jobs", "x", { wait: 0, signal }).then(
      () => assert(false),
      (error) => assert(error === reason),
    );
    assertEquals(await halves.sender.size("jobs"), 0);
  });

  it("a handler that works three times the lease handles its item once; eleven slow ones work at once", async () => {
    const bus = await Bus.open(aws(emulator.options), { namespace: fresh() });
    try {
      const queue = bus.queue<number>("slow");
      await Promise.all(Array.from({ length: 11 }, (_, i) => queue.put(i)));
      const handled: number[] = [];
      let working = 0;
      let most = 0;
      const consumer = queue.consume(async (item) => {
        most = Math.max(most, ++working);
        await pause(6_500);
        working--;
        handled.push(item);
      }, { lease: 2_000, concurrency: 11 });
      await until("all are handled", () => handled.length >= 11, 30_000);
      await pause(3_000);
      assertEquals(handled.toSorted((a, b) => a - b), Array.from({ length: 11 }, (_, i) => i));
      assertEquals(most, 11);
      await consumer.close();
      assertEquals(await queue.qsize(), 0);
      await queue.free();
    } finally {
      await bus.close();
    }
  });
});
