/** A peer that sends many bad messages does not fill the log of a process. */
// run: on deno
import { assert, assertEquals, assertInstanceOf, assertMatch } from "@std/assert";
import { describe, it } from "@std/testing/bdd";
import { format } from "node:util";
import { Bus, BusError, memory, ProviderError, RemoteInvocationError, type SubscribeOptions } from "../../mod.ts";
import { Codec } from "../../src/codec/codec.ts";
import { UNSIGNED } from "../../src/codec/envelope.ts";
import { RawClient } from "../../src/conformance/raw_client.ts";
import type { Core } from "../../src/core.ts";
import { fromPlain, toPlain } from "../../src/errors.ts";
import { complain } from "../../src/internal/complain.ts";
import { ReportLimit } from "../../src/internal/report_limit.ts";
import { textOf } from "../../src/internal/thrown.ts";
import type { ReceiverContext, Sender } from "../../src/provider/provider.ts";
import { Caller } from "../../src/rpc/caller.ts";
import type { Server } from "../../src/rpc/server.ts";
import { readAnswer, writeRequest } from "../../src/rpc/wire.ts";
import { OneThread } from "../port/one_thread.ts";
import { TestReceiver } from "../port/receiver.ts";
import { spy } from "../support/spy.ts";
import { reported } from "../support/reports.ts";
import { until } from "../support/until.ts";
import { fresh } from "./grounds.ts";

/** The number of bad messages of each kind. */
const COUNT = 2_000;

/** Returns what the console receives while `work` runs. */
async function written(work: () => unknown): Promise<unknown[][]> {
  const original = console.error;
  const lines: unknown[][] = [];
  console.error = (...args: unknown[]) => void lines.push(args);
  try {
    await work();
  } finally {
    console.error = original;
  }
  return lines;
}

describe("reports of messages that are rejected", () => {
  for (const listened of [true, false]) {
    it(`${listened ? "to a listener" : "on the console"}: a limited number is made, and the others are counted`, async () => {
      const namespace = fresh();
      const provider = memory();
      const heard: unknown[] = [];
      const lines = await written(async () => {
        const bus = await Bus.open(provider, { namespace });
        if (listened) bus.addEventListener("error", (event) => heard.push(event.error));
        const client = await RawClient.open(provider, namespace);
        try {
          let last = "";
          await bus.subscribe<string>("topic", (text) => last = text).ready;
          await bus.expose("fn", () => {});
          const inbox = (await client.sender.servers("fn"))[0]!.inbox;
          for (let i = 0; i < COUNT; i++) {
            void client.publish("topic", "{");
            void client.publish("fn", '{"__obj":[1],"__type":"pymq.core.RpcRequest"}');
            void client.sender.post(inbox, "[");
            await client.sender.post(inbox, "1");
          }
          await client.publish("topic", '"end"');
          await until("all are read", () => last === "end");
          assertEquals(await bus.stub("fn", { timeout: 10_000 })(), undefined);
        } finally {
          await client.close();
          await bus.close();
        }
      });
      const errors = listened ? heard.map(textOf) : lines.map((line) => String(line.at(-1)));
      assertEquals(reported(errors), 4 * COUNT);
      assert(errors.length < COUNT, `${errors.length} reports`);
      if (listened) assertEquals(lines, []);
    });
  }
});

describe("faults of the worker that a message has caused", () => {
  it("become errors only while they are reported", async () => {
    const receiver = new TestReceiver();
    let context: ReceiverContext | undefined;
    using thread = new OneThread((given) => {
      context = given;
      return Promise.resolve(receiver);
    });
    const sender = { close: () => Promise.resolve() } as unknown as Sender;
    const bus = await Bus.open({ ...thread.provider, open: () => Promise.resolve(sender) });
    const heard: string[] = [];
    bus.addEventListener("error", ({ error }) => heard.push(textOf(error)));
    const made: unknown[] = [];
    const end = spy(Object, "setPrototypeOf", made); // `fromPlain` does it with each error
    try {
      for (let i = 0; i < COUNT; i++) context!.fault(new ProviderError("too_large", "bad"), true);
      for (let i = 0; i < 200; i++) context!.fault(new ProviderError("internal", "own"));
      await bus.subscribe("topic", () => {}).ready; // its answer comes after them
    } finally {
      end();
    }
    await bus.close();
    assertEquals([reported(heard), heard.filter((text) => text === "own").length], [COUNT + 200, 200]);
    assert(made.length <= 300, `${made.length} errors were made`);
  });
});

describe("events that a subscriber does not accept", () => {
  class Order {}
  /** Accepts orders only. */
  const schema = (answer: (result: unknown) => unknown) => {
    const check = (value: unknown) =>
      answer(value instanceof Order ? { value } : { issues: [{ message: "no order" }] });
    return { "~standard": { version: 1, vendor: "test", validate: check } } as never;
  };
  const ways: Record<string, SubscribeOptions> = {
    "its schema rejects them": { schema: schema((result) => result) },
    "its asynchronous schema rejects them": { schema: schema((result) => Promise.resolve(result)) },
  };
  for (const [why, options] of Object.entries(ways)) {
    it(`are reported at a limited rate if ${why}, and an error of the handler always`, async () => {
      const bus = await Bus.open(memory(), { types: [Order] });
      const heard: string[] = [];
      bus.addEventListener("error", ({ error }) => heard.push(textOf(error)));
      await bus.subscribe("topic", () => {
        throw new Error("the handler failed");
      }, options).ready;
      for (let i = 0; i < COUNT; i++) void bus.publish(i, "topic");
      await bus.publish(new Order(), "topic");
      await until("all are handled", () => heard.includes("the handler failed"));
      await bus.close();
      assertEquals(reported(heard), COUNT + 1);
      assert(heard.length < COUNT, `${heard.length} reports`);
    });
  }
});

describe("reports with a name of megabytes from the wire", () => {
  const NAME = "n".repeat(2_000_000);

  it("leave out its middle: the message of an error and the report on the console", async () => {
    const namespace = fresh();
    const provider = memory();
    for (const listened of [true, false]) {
      const heard: string[] = [];
      const lines = await written(async () => {
        const bus = await Bus.open(provider, { namespace });
        if (listened) bus.addEventListener("error", ({ error }) => heard.push(textOf(error)));
        const client = await RawClient.open(provider, namespace);
        try {
          let ended = false;
          await bus.subscribe("n*", (event) => {
            if (event === "end") return void (ended = true);
            throw new Error(`the handler of ${NAME} failed`);
          }, { pattern: true }).ready;
          await bus.expose("fn", () => {});
          const inbox = (await client.sender.servers("fn"))[0]!.inbox;
          const call = { id: "id", inbox, deadline: 0 };
          await client.sender.post(inbox, writeRequest(NAME, "", { json: "[]" }, call));
          await client.publish(NAME, "{");
          await client.publish(NAME, "1");
          await client.publish("n", '"end"');
          await until("all are handled", () => ended);
        } finally {
          await client.close();
          await bus.close();
        }
      });
      if (!listened) assertEquals(lines.length, 3);
      for (const line of lines) {
        assert(format(...line).length < 50_000, `a report of ${format(...line).length} characters`);
      }
      if (!listened) continue;
      assertEquals(heard.length, 3);
      const late = heard.find((text) => text.startsWith("Cannot serve"));
      assertMatch(late!, /^Cannot serve a call of "nnn[^]* … \(\d+ characters\) … n+": by this machine's clock/);
      assert(late!.length < 20_000, `an error of ${late!.length} characters`);
    }
  });

  it("say how much of it is missing, also for an error of the worker, whose message is cut on both sides", () => {
    const { message } = new BusError("internal", NAME);
    assertEquals(fromPlain(toPlain(new BusError("internal", NAME))).message, message);
    const [head = "", count = "", tail = ""] = message.split(/ … \((\d+) characters\) … /);
    assertEquals(head.length + Number(count) + tail.length, NAME.length);
  });
});

describe("complain()", () => {
  it("does not look at all elements of a long list, and does not format an object with many fields", async () => {
    let looked = 0;
    const get = (target: object, key: PropertyKey) => {
      looked++;
      return Reflect.getOwnPropertyDescriptor(target, key);
    };
    const list = new Proxy(Array(100_000).fill({ text: "an element" }), { getOwnPropertyDescriptor: get });
    const fields = Object.fromEntries(Array.from({ length: 60_000 }, (_, i) => [`key${i}`, i]));
    const wide = [fields, new Map(Object.entries(fields)), Array(100).fill(0).map(() => Array(1_000).fill(0))];
    const reports = await written(() => {
      complain("It failed:", Object.assign(new Error("a list"), { list }));
      for (const each of wide) complain("It failed:", Object.assign(new Error("wide"), { each }));
      complain("It failed:", fields);
    });
    const [first, ...others] = reports.map((args) => format(...args));
    assert(looked < 1_000, `it looked at ${looked} elements`);
    assertMatch(first!, /^tsmq: It failed: Error: a list.*an element[^\n]*$/);
    for (const text of others) assert(!/key0|key59999|each/.test(text), text);
    assertMatch(others[0]!, /Error: wide/);
    assertMatch(others.at(-1)!, /a value that is too large to be shown/);
  });

  it("looks at no more fields of an object than a report shows", async () => {
    let looked = 0;
    const fields = Object.fromEntries(Array.from({ length: 40_000 }, (_, i) => [`key${i}`, i]));
    const wide = new Proxy(fields, {
      getOwnPropertyDescriptor(target, key) {
        looked++;
        return Reflect.getOwnPropertyDescriptor(target, key);
      },
    });
    const [[, , text] = []] = await written(() => complain("It failed:", Object.assign(new Error("wide"), { wide })));
    assertMatch(String(text), /^Error: wide/);
    assert(looked <= 3_000, `it looked at ${looked} fields`);
  });

  it("writes an error whose messages have more than 200 lines as one line, and tries to find none of them", async () => {
    const tried: unknown[] = [];
    for (const [lines, count] of [[100, 2], [101, 0], [490, 0], [100_000, 0]] as const) {
      const message = `a${"\n".repeat(lines - 1)}`;
      const restore = spy(String.prototype, "replaceAll", tried);
      const [[, , text] = []] = await written(() =>
        complain("Cannot handle it:", new Error(message, { cause: new Error(`b${message}`) }))
      );
      restore();
      const found = tried.splice(0).filter((pattern) => String(pattern).includes("\\n *"));
      assertEquals([found.length, String(text).includes("\n")], [count, count > 0], `${lines} lines`);
    }
  });

  it("writes a limited number of reports", async () => {
    const lines = await written(() => {
      for (let i = 0; i < 10_000; i++) complain("", "text");
    });
    assert(lines.length <= 1_000, `${lines.length} lines`);
  });
});

describe("ReportLimit", () => {
  it("lets a number of reports pass in each window, and reports how many others there were", async () => {
    const counts: number[] = [];
    const limit = new ReportLimit(3, (count) => counts.push(count), 100);
    const passed = Array.from({ length: 5 }, () => limit.pass());
    assertEquals(passed, [true, true, true, false, false]);
    assertEquals(counts, []);
    await until("they are counted", () => counts.length > 0);
    assertEquals(counts, [2]);
    limit.flush();
    assertEquals(counts, [2]);
    await until("the next window begins", () => limit.pass());
  });
});

describe("an answer of a hostile server", () => {
  class Order {
    static topic = "shop.Order";
    id = "";
  }
  const results = [
    "null",
    "0",
    '""',
    '"x"',
    "[]",
    "[1]",
    "[[1,2]]",
    "[[1]]",
    "{}",
    '{"id":1}',
    '{"toString":1}',
    "[".repeat(60),
  ]
    .concat(['{"then":1,"constructor":1,"__proto__":1}', '[{"toString":null,"toJSON":1,"length":1}]', "[1e999,-0]"]);
  const types = ["set", "dict", "shop.Order", "constructor", "__proto__", "", "x"]
    .concat(["map", "set", "date", "bigint", "bytes", "undefined"].map((kind) => `tsmq:${kind}`));

  it("resolves with a value or rejects with an error of tsmq, whatever it contains", async () => {
    const codec = new Codec([Order]);
    const caller = new Caller({ codec, sender: {}, envelopes: UNSIGNED } as unknown as Core, {} as Server);
    for (const result of results) {
      for (const type of types) {
        for (const isError of [false, true]) {
          const call = `{"id":"x","server":"x","stack":${result},"denied":${result},"refused":${result}}`;
          const body = `["fn",${result},${JSON.stringify(type)},${isError},${call}]`;
          const read = async () => readAnswer((await codec.decode(body)).value)!;
          for (const work of [async () => caller.unwrap(await read()), async () => caller.response(await read())]) {
            const error = await work().then(() => undefined, (error: unknown) => error);
            if (error !== undefined) assertInstanceOf(error, BusError, body);
            if (error instanceof RemoteInvocationError) assert(typeof (error.remoteStack ?? "") === "string");
          }
        }
      }
    }
  });
});
