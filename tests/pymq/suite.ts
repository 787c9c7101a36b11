/** PyMQ and tsmq side by side, on any transport that PyMQ speaks. */
import { assert, assertEquals, assertRejects } from "@std/assert";
import * as v from "valibot";
import {
  Bus,
  NoSuchRemoteError,
  type Provider,
  QueueEmptyError,
  RemoteInvocationError,
  TimeoutError,
} from "../../mod.ts";
import { until } from "../support/until.ts";
import { Python, type Shown } from "./harness.ts";

/** The TypeScript half of `shop/events.py`. */
export class OrderPlaced {
  static readonly topic = "shop.events.OrderPlaced";
  constructor(readonly id: string, readonly total: number, readonly tags: string[], readonly meta: object) {}
}

/** A NamedTuple: its schema maps the array that Python sends to fields. */
export class Line {
  static readonly topic = "shop.events.Line";
  static readonly schema = v.union([
    v.pipe(v.tuple([v.string(), v.number()]), v.transform(([name, amount]) => ({ name, amount }))),
    v.object({ name: v.string(), amount: v.number() }),
  ]);
  constructor(readonly name: string, readonly amount: number) {}
}

/** A value as Python shows it. */
function py(type: string, value: unknown): Shown {
  return { type, value };
}

/** What a transport gives to the suite. */
export interface Transport {
  /** A provider of ours on it. */
  provider(): Provider;
  /** What the Python service is told. */
  readonly where: () => string;
  /** The names of what is left of a namespace on the transport. */
  left(namespace: string): Promise<string[]>;
}

type Case = (
  bus: Bus,
  python: Python,
  more: { namespace: string; start(name: string): Promise<Python> },
) => Promise<void>;

/** The cases by their names. */
export function suite(transport: Transport): Map<string, () => Promise<void>> {
  const cases = new Map<string, () => Promise<void>>();
  const add = (name: string, run: Case) =>
    cases.set(name, async () => {
      const namespace = `py-${crypto.randomUUID().slice(0, 8)}`;
      const more: Python[] = [];
      const start = async (name: string) => {
        const python = await Python.start(transport.where(), namespace, name);
        more.push(python);
        return python;
      };
      await using python = await Python.start(transport.where(), namespace);
      await using bus = await Bus.open(transport.provider(), { namespace, types: [OrderPlaced, Line] });
      try {
        await run(bus, python, { namespace, start });
      } finally {
        await Promise.all(more.map((python) => python.kill()));
      }
    });

  add("events of Python arrive, primitives, tuples, sets and None too", async (bus, python) => {
    const got: unknown[] = [];
    await bus.subscribe("things", (event) => got.push(event)).ready;
    const values = [
      "'ünï ☃ 𝄞'",
      "7",
      "1.5",
      "True",
      "None",
      "[1, 2]",
      "{'a': {'b': None}}",
      "('a', 1)",
      "{1}",
      "2**60",
    ];
    for (const value of values) await python.do({ do: "publish", value, channel: "things" });
    await until("all have come", () => got.length === values.length);
    assertEquals(got, ["ünï ☃ 𝄞", 7, 1.5, true, null, [1, 2], { a: { b: null } }, ["a", 1], new Set([1]), 2n ** 60n]);
  });

  add(
    "a Python class and a class of ours with its name as topic are the same event, both ways",
    async (bus, python) => {
      const got: OrderPlaced[] = [];
      await bus.subscribe(OrderPlaced, (order) => got.push(order)).ready;
      await python.do({ do: "publish", value: "OrderPlaced('o-1', 1.5, ['a'], {'n': 2})" });
      await until("it has come", () => got.length === 1);
      assert(got[0] instanceof OrderPlaced);
      assertEquals({ ...got[0] }, { id: "o-1", total: 1.5, tags: ["a"], meta: { n: 2 } });

      await python.do({ do: "subscribe", channel: OrderPlaced.topic });
      await bus.publish(new OrderPlaced("o-2", 2.5, ["b"], { n: 3 }));
      const expected = {
        id: py("str", "'o-2'"),
        total: py("float", "2.5"),
        tags: py("list", [py("str", "'b'")]),
        meta: py("dict", { n: py("int", "3") }),
      };
      assertEquals(await python.event(), py("shop.events.OrderPlaced", expected));
    },
  );

  add("a NamedTuple arrives as its schema declares it", async (bus, python) => {
    const got: Line[] = [];
    await bus.subscribe(Line, (line) => got.push(line)).ready;
    await python.do({ do: "publish", value: "Line('soap', 2)" });
    await until("it has come", () => got.length === 1);
    assert(got[0] instanceof Line);
    assertEquals({ ...got[0] }, { name: "soap", amount: 2 });
  });

  add("what we publish arrives in Python", async (bus, python) => {
    await python.do({ do: "subscribe", channel: "things" });
    const sent: [unknown, Shown][] = [
      ["ünï ☃ 𝄞", py("str", "'ünï ☃ 𝄞'")],
      [7, py("int", "7")],
      [1.5, py("float", "1.5")],
      [true, py("bool", "True")],
      [null, py("NoneType", "None")],
      [2n ** 60n, py("int", String(2n ** 60n))],
      [Infinity, py("float", "inf")],
      [["a"], py("list", [py("str", "'a'")])],
      [new Set([1, 2]), py("set", [py("int", "1"), py("int", "2")])],
      [{ a: 1, b: undefined }, py("dict", { a: py("int", "1") })],
    ];
    for (const [value, shown] of sent) {
      await bus.publish(value, "things");
      const event = await python.event();
      // a dictionary in Python has one entry more: which keys were undefined
      if (shown.type === "dict") delete (event.value as Record<string, unknown>)["__undefined"];
      assertEquals(event, shown);
    }
  });

  add("a queue is shared by producers and consumers of both, oldest first", async (bus, python) => {
    const queue = bus.queue("jobs");
    await queue.put(1);
    await python.do({ do: "put", queue: "jobs", value: "2" });
    await queue.put(new OrderPlaced("o-3", 3, [], {}));
    await python.do({ do: "put", queue: "jobs", value: "OrderPlaced('o-4', 4.5)" });
    assertEquals(await python.do({ do: "qsize", queue: "jobs" }), 4);
    assertEquals(await queue.qsize(), 4);
    assertEquals(await python.do({ do: "get", queue: "jobs" }), py("int", "1"));
    assertEquals(await queue.get(), 2);
    assertEquals((await python.do<Shown>({ do: "get", queue: "jobs" })).type, "shop.events.OrderPlaced");
    const last = await queue.receive();
    assert(last.item instanceof OrderPlaced);
    await last.nack();
    const again = await queue.receive();
    assertEquals([(again.item as OrderPlaced).id, again.attempt], ["o-4", 2]);
    await again.ack();
    await assertRejects(() => queue.getNowait(), QueueEmptyError);
    await queue.free();
  });

  add("a get that waits gets what Python puts", async (bus, python) => {
    const waiting = bus.queue("late").get({ timeout: 10_000 });
    await python.do({ do: "put", queue: "late", value: "'here'" });
    assertEquals(await waiting, "here");
    await bus.queue("late").free();
  });

  add("a stub of ours calls a Python function", async (bus, python) => {
    for (const fn of ["add", "nothing", "order", "total_of", "basket", "boom"]) await python.do({ do: "expose", fn });
    assertEquals(await bus.stub("add")(2, 4), 6);
    assertEquals(await bus.stub("nothing")(), null);
    const order = await bus.stub<(id: string, total: number) => OrderPlaced>("order")("o-5", 5.5);
    assert(order instanceof OrderPlaced);
    assertEquals([order.id, order.total, order.tags], ["o-5", 5.5, ["new"]]);
    assertEquals(await bus.stub("total_of")(new OrderPlaced("o-6", 6.5, [], {})), 6.5);
    assertEquals(await bus.stub("basket")(), { lines: [["soap", 2], ["bread", 1]] });
    const error = await assertRejects(() => bus.stub("boom")("soap"), RemoteInvocationError);
    assertEquals([error.remoteType, error.remoteArgs], ["shop.events.OutOfStock", ["soap", 3]]);
    await assertRejects(() => bus.stub("unknown")(), NoSuchRemoteError);
  });

  add("a Python stub calls a function of ours", async (bus, python) => {
    await bus.expose("plus", (a: number, b: number) => a + b);
    await bus.expose("void", () => {});
    await bus.expose("place", (id: string) => new OrderPlaced(id, 7.5, ["x"], {}));
    await bus.expose("fail", (text: string) => {
      throw new TypeError(text);
    });
    assertEquals(await python.do({ do: "call", fn: "plus", args: ["2", "4"] }), py("int", "6"));
    assertEquals(await python.do({ do: "call", fn: "void" }), py("NoneType", "None"));
    const placed = await python.do<Shown>({ do: "call", fn: "place", args: ["'o-7'"] });
    assertEquals(placed.type, "shop.events.OrderPlaced");
    assertEquals((placed.value as Record<string, Shown>).total, py("float", "7.5"));
    assertEquals(await python.do({ do: "call", fn: "fail", args: ["'oh'"] }), {
      error: "pymq.exceptions.RemoteInvocationError",
      args: ["TypeError", "oh"],
    });
  });

  add("a multi-call of ours gathers a mixed fleet", async (bus, python, { start }) => {
    const other = await start("python-2");
    await python.do({ do: "expose", fn: "whoami" });
    await other.do({ do: "expose", fn: "whoami" });
    await bus.expose("whoami", () => "ours");
    const all = await bus.stub("whoami", { multi: true })();
    const names = all.map((result) => result.status === "fulfilled" ? result.value : result.reason);
    assertEquals(names.sort(), ["ours", "python", "python-2"]);
  });

  add("a multi-call of Python gathers a mixed fleet", async (bus, python, { start }) => {
    const caller = await start("caller");
    await python.do({ do: "expose", fn: "whoami" });
    await bus.expose("whoami", () => "ours");
    const { results } = await caller.do<{ results: Shown[] }>({ do: "call", fn: "whoami", multi: true });
    assertEquals(results.map((result) => result.value).sort(), ["'ours'", "'python'"]);
  });

  add("a single call in a mixed fleet runs on a server of ours only", async (bus, python) => {
    await python.do({ do: "expose", fn: "whoami" });
    await bus.expose("whoami", () => "ours");
    for (let i = 0; i < 5; i++) assertEquals(await bus.stub("whoami")(), "ours");
  });

  add("a Python server that answers late, or never, or is killed harms nobody", async (bus, python, { namespace }) => {
    for (const fn of ["slow", "never"]) await python.do({ do: "expose", fn });
    await assertRejects(() => bus.stub("slow", { timeout: 300 })(1), TimeoutError);
    await assertRejects(() => bus.stub("never", { timeout: 300 })(), TimeoutError);
    const pending = assertRejects(() => bus.stub("never", { timeout: 1_500 })(), TimeoutError);
    await until("the call is on its way", () => bus.health().pending.calls === 1);
    await python.kill();
    await pending;
    // late answers are fetched and forgotten
    await until("nothing of the calls is left", async () => {
      return !(await transport.left(namespace)).some((name) => name.includes("__rpc_"));
    });
    await bus.expose("still", () => "alive");
    assertEquals(await bus.stub("still")(), "alive");
  });
  return cases;
}
