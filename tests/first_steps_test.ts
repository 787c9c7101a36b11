/** The errors and warnings of a user's first steps: each names the verb and what to write instead. */
import { assertEquals, assertRejects, assertThrows } from "@std/assert";
import { describe, it } from "@std/testing/bdd";
import { z } from "zod";
import * as tsmq from "../mod.ts";
import { redis } from "../src/providers/redis/provider.ts";
import { warnings } from "./support/warnings.ts";

/** Returns the message of the error that work throws or rejects with. */
async function messageOf(work: () => unknown): Promise<string> {
  return (await assertRejects(async () => void await work(), tsmq.BusError)).message;
}

describe("the default bus", () => {
  it("says which verb was used, and whether init() was called, awaited, has failed, or shutdown() followed", async () => {
    assertEquals(
      await messageOf(() => tsmq.publish("x", "news")),
      'Cannot publish to "news": init() has not been called',
    );
    const opening = tsmq.init(tsmq.memory());
    assertEquals(
      await messageOf(() => tsmq.queue("jobs")),
      'Cannot use queue "jobs": init() has not finished: await it',
    );
    await opening;
    await tsmq.shutdown();
    const again = 'Cannot create a stub of "add": shutdown() has closed the bus';
    assertEquals(await messageOf(() => tsmq.stub("add")), again);
    await assertRejects(() => tsmq.init({ ...tsmq.memory(), open: () => Promise.reject(new Error("no")) }));
    assertEquals(await messageOf(() => tsmq.publish({ a: 1 })), "Cannot publish: init() has failed");
  });
});

describe("a name that is missing", () => {
  it("is asked for", async () => {
    assertEquals(
      assertThrows(() => redis({ url: "" }), tsmq.ValidationError).message,
      "Cannot create a Redis provider: url is empty; leave it out for redis://127.0.0.1:6379",
    );
    await using bus = await tsmq.Bus.open(tsmq.memory());
    const nameless = Object.assign(() => 1);
    const table: [() => unknown, string][] = [
      [() => bus.queue(""), 'Cannot use "" as a queue: it is empty; pass a name'],
      [
        () => bus.queue("mails", { deadLetter: "mails" }),
        'Cannot use queue "mails": deadLetter is the queue itself: pass another name',
      ],
      [
        () => bus.queue("mails").consume(() => {}, { deadLetter: "mails" }),
        'Cannot consume queue "mails": deadLetter is the queue itself: pass another name',
      ],
      [
        () => bus.subscribe("mails", () => {}, { group: "log", deadLetter: "mails@log" }),
        'Cannot subscribe to "mails": deadLetter is the queue itself: pass another name',
      ],
      [
        () => bus.expose(nameless),
        'Cannot expose a function that has no name: pass one, as in expose("add", fn)',
      ],
      [
        () => bus.stub(nameless),
        'Cannot create a stub of a function that has no name: pass one, as in stub("add")',
      ],
      [
        () => bus.publish({ id: 1 }),
        'Cannot publish an object without a topic: pass one, as in publish(event, "orders")',
      ],
      [
        () => bus.publish("x" as never),
        'Cannot publish a string without a topic: pass one, as in publish(event, "orders")',
      ],
      [
        () => bus.subscribe(undefined as never, () => {}),
        "Cannot use undefined as a topic: pass its name, a topic or an event class",
      ],
      [
        () => bus.subscribe(class {}, () => {}),
        "Cannot use a class that has neither a name nor a `static topic`: add a `static topic`",
      ],
    ];
    for (const [work, message] of table) assertEquals(await messageOf(work), message);
  });
});

describe("a mistake in the order or the kind of the arguments", () => {
  it("is named, with what to write", async () => {
    await using bus = await tsmq.Bus.open(tsmq.memory());
    const shape = z.object({ id: z.number() });
    const estimate = tsmq.procedure("estimate");
    const subscribe = 'Cannot subscribe: the topic comes first, as in subscribe("orders", handler)';
    const expose = 'the name or the procedure comes first, as in expose("add", fn)';
    const tuple = "args must be a schema of a tuple (the list of arguments)";
    const table: [() => unknown, string][] = [
      [() => bus.subscribe((() => {}) as never, "orders" as never), subscribe],
      [() => bus.subscribe(function handle() {} as never, "orders" as never), subscribe],
      [() => bus.subscribe((() => {}) as never, bus.topic("orders") as never), subscribe],
      [() => tsmq.subscribe((() => {}) as never, "orders" as never), subscribe],
      [() => bus.expose(() => 1, estimate as never), `Cannot expose: ${expose}`],
      [() => bus.expose(function add() {}, "add" as never), `Cannot expose "add": ${expose}`],
      [() => tsmq.expose(() => 1, estimate as never), `Cannot expose: ${expose}`],
      [() => bus.queue("y", shape as never), 'Cannot use queue "y": pass the schema as { schema }'],
      [() => bus.topic("y", shape as never), 'Cannot use topic "y": pass the schema as { schema }'],
      [
        () => bus.subscribe("y", () => {}, shape as never),
        'Cannot subscribe to "y": pass the schema as { schema }',
      ],
      [
        () => tsmq.procedure("p", z.tuple([]) as never),
        'Cannot create procedure "p": pass the schemas as { args, returns }',
      ],
      [
        () => tsmq.procedure("p", { args: [z.number()] as never }),
        `Cannot create procedure "p": ${tuple}, as z.tuple([z.number()]) is, not an array of schemas`,
      ],
      [() => tsmq.procedure("p", { args: shape as never }), `Cannot create procedure "p": ${tuple}, not of an object`],
    ];
    for (const [work, message] of table) assertEquals(await messageOf(work), message);
  });
});

describe("a likely mistake that is valid", () => {
  it("is a warning, once in a process", async () => {
    await using bus = await tsmq.Bus.open(tsmq.memory());
    const lines = await warnings(async () => {
      for (const pattern of ["a.*", "b.*"]) {
        await bus.subscribe(pattern, () => {}).ready;
        await bus.subscribe(pattern, () => {}, { pattern: true }).ready;
        await bus.publish("greetings", "hello to all");
      }
    });
    assertEquals(lines, [
      'subscribe("a.*") receives only events of the topic with exactly this name; ' +
      "for all topics that match it, pass { pattern: true }",
      "publish(event, topic) received a topic that contains white space, and an event that does not: the event is the first argument",
    ]);
  });

  it("is no warning where the topic has no white space, or the event has some", async () => {
    await using bus = await tsmq.Bus.open(tsmq.memory());
    const lines = await warnings(async () => {
      await bus.publish("hello to all", "greetings");
      await bus.publish("hello to all", "good morning");
      await bus.publish(12, "good morning");
      await bus.subscribe("*", () => {}, { pattern: false }).ready;
    });
    assertEquals(lines, []);
  });
});

describe("a call that ends by a timeout", () => {
  it("rejects with a TimeoutError of tsmq, and with a DOMException for a signal of the user", async () => {
    await using bus = await tsmq.Bus.open(tsmq.memory());
    await bus.expose("slow", () => new Promise((resolve) => setTimeout(resolve, 1_000)));
    const own = await assertRejects(() => bus.stub("slow", { timeout: 20 })(), tsmq.TimeoutError);
    assertEquals([own.name, own.code, own instanceof DOMException], ["TimeoutError", "timeout", false]);
    const signals = await assertRejects(() => bus.stub("slow", { signal: AbortSignal.timeout(20) })(), DOMException);
    assertEquals([signals.name, signals instanceof (tsmq.TimeoutError as never)], ["TimeoutError", false]);
    await bus.close({ timeout: 0 });
  });
});
