/** The suite of PyMQ and tsmq together, for each transport that both support. */
import { assert, assertEquals, assertRejects } from "@std/assert";
import * as v from "valibot";
import {
  Bus,
  NoSuchRemoteError,
  procedure,
  type Provider,
  QueueEmptyError,
  RemoteInvocationError,
  TimeoutError,
} from "../../mod.ts";
import { forgetful } from "../../src/conformance/runs.ts";
import { until, within } from "../support/until.ts";
import { Python, type Shown } from "./harness.ts";
import { cases as valueCases, classes, OrderPlaced, py } from "./values.ts";

function orderOf({ id, total }: { id: string; total: number }): OrderPlaced {
  return new OrderPlaced(id, total, [], {});
}

/** A NamedTuple. Its schema maps Python's array to fields. */
export class Line {
  static readonly topic = "shop.events.Line";
  static readonly schema = v.union([
    v.pipe(v.tuple([v.string(), v.number()]), v.transform(([name, amount]) => ({ name, amount }))),
    v.object({ name: v.string(), amount: v.number() }),
  ]);
  constructor(readonly name: string, readonly amount: number) {}
}

const types = [OrderPlaced, Line, ...classes];

/** A transport of the suite. */
export interface Transport {
  /** Returns a provider of this transport. */
  provider(): Provider;
  /** Returns the address for the Python service. */
  readonly where: () => string;
  /** Resolves with the names of everything in this namespace on the transport. */
  left(namespace: string): Promise<string[]>;
  /** Whether every answer that was not fetched is removed, or will expire. */
  lapsed(namespace: string): Promise<boolean>;
  /** Removes the empty directories that PyMQ leaves. */
  tidy?(namespace: string): void;
}

interface More {
  readonly namespace: string;
  /** Starts a further service. */
  start(name: string): Promise<Python>;
  /** Opens a further bus. */
  open(): Promise<Bus>;
}

type Case = (bus: Bus, python: Python, more: More) => Promise<void>;

/** The cases by their names. */
export function suite(transport: Transport): Map<string, () => Promise<void>> {
  const cases = new Map<string, () => Promise<void>>();
  const add = (name: string, run: Case) =>
    cases.set(name, async () => {
      const namespace = `my_app_${crypto.randomUUID().slice(0, 8)}`;
      const opened: AsyncDisposable[] = [];
      const keep = <T extends AsyncDisposable>(one: T) => (opened.unshift(one), one);
      const start = async (name: string) => keep(await Python.start(transport.where(), namespace, name));
      const open = async () => keep(await Bus.open(transport.provider(), { namespace, types }));
      try {
        await run(await open(), await start("python"), { namespace, start, open });
      } catch (error) {
        // after a failure the service may not end by itself
        for (const one of opened) if (one instanceof Python) await one.kill();
        throw error;
      } finally {
        for (const one of opened) await one[Symbol.asyncDispose]();
      }
      assertEquals(await transport.left(namespace), []);
      transport.tidy?.(namespace);
    });

  const remains = async ({ pid }: Python, namespace: string) =>
    (await transport.left(namespace)).some((name) => name.endsWith(`$${pid}`));
  /** Whether nothing of a service remains after another bus has opened and closed. */
  const swept = async (python: Python, { namespace, open }: More) => {
    await (await open()).close();
    return !(await remains(python, namespace));
  };

  add("events of Python arrive, including primitives, tuples, sets and None", async (bus, python) => {
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
    "a Python class, and a tsmq class with its name as topic, are the same event in both directions",
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

  add("events, items and calls with headers are bare values for PyMQ", async (bus, python) => {
    const headers: Record<string, string> = { tenant: "acme", note: 'a "}" in it', __type: "tuple", __obj: "[]" };
    await python.do({ do: "subscribe", channel: "things" });
    await bus.publish([1, "two"], "things", { headers });
    assertEquals(await python.event(), py("list", [py("int", "1"), py("str", "'two'")]));
    await bus.queue("jobs").put(7, { headers });
    await bus.queue("jobs").put(new OrderPlaced("o-9", 4.5, [], {}), { headers });
    const lease = await bus.queue("jobs").receive();
    const { traceparent: _trace, ...received } = lease.headers; // with a tracer
    assertEquals(received, headers);
    await lease.nack(); // back in the list, with an attempt
    assertEquals(await python.do({ do: "get", queue: "jobs" }), py("int", "7"));
    assertEquals((await python.do<Shown>({ do: "get", queue: "jobs" })).type, "shop.events.OrderPlaced");
    await python.do({ do: "expose", fn: "add" });
    assertEquals(await bus.stub("add", { headers })(2, 3), 5);
    await bus.queue("jobs").free();
  });

  add("a NamedTuple arrives as its schema declares it", async (bus, python) => {
    const got: Line[] = [];
    await bus.subscribe(Line, (line) => got.push(line)).ready;
    await python.do({ do: "publish", value: "Line('soap', 2)" });
    await until("it has come", () => got.length === 1);
    assert(got[0] instanceof Line);
    assertEquals({ ...got[0] }, { name: "soap", amount: 2 });
  });

  add("events of tsmq arrive in Python", async (bus, python) => {
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
      assertEquals(await python.event(), shown);
    }
  });

  for (const [name, run] of Object.entries(valueCases)) add(name, (bus, python, { open }) => run(bus, python, open));

  add("producers and consumers of both sides share a queue, oldest item first", async (bus, python) => {
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

  add("a leased item is invisible; given back it is first for both sides, and both count it", async (bus, python) => {
    const queue = bus.queue("jobs");
    for (const item of ["a", "b", "c"]) await queue.put(item);
    const sizes = async () => [await queue.qsize(), await python.do({ do: "qsize", queue: "jobs" })];
    const leases = [await queue.receive(), await queue.receive()];
    assertEquals(await sizes(), [1, 1]);
    for (const lease of leases) await lease.nack();
    assertEquals(await sizes(), [3, 3]);
    const [first, second] = [await queue.receive(), await queue.receive()];
    assertEquals([first.item, second.item].sort(), ["a", "b"]);
    assertEquals([first.attempt, second.attempt], [2, 2]);
    await second.ack();
    await first.nack();
    assertEquals(await python.do({ do: "get", queue: "jobs" }), py("str", `'${first.item}'`));
    assertEquals(await python.do({ do: "get", queue: "jobs" }), py("str", "'c'"));
    assertEquals(await sizes(), [0, 0]);
    assertEquals(await python.do({ do: "get", queue: "jobs", timeout: 0.2 }), { empty: true });
    await queue.free();
  });

  add("any name that PyMQ accepts is the same topic, queue and function on both sides", async (bus, python) => {
    for (const name of ["a b", "ü☃", "x.y:z", "*?[a]", "b_c", "~t", "x/y"]) {
      const got: unknown[] = [];
      await bus.subscribe(name, (event) => got.push(event)).ready;
      await python.do({ do: "subscribe", channel: name });
      await bus.publish("ours", name);
      assertEquals(await python.event(), py("str", "'ours'"));
      await python.do({ do: "publish", value: "'theirs'", channel: name });
      await until(`it comes to ${name}`, () => got.length === 2);
      assertEquals(got, ["ours", "theirs"]);
      assertEquals(await python.event(), py("str", "'theirs'"));
      await python.do({ do: "expose", fn: "whoami", as: `fn ${name}` });
      assertEquals(await bus.stub(`fn ${name}`)(), "python");
      if (name.includes("/") || name.startsWith("~")) continue; // the kernel's queues have no "/"
      await bus.queue(name).put(name);
      assertEquals(await python.do({ do: "get", queue: name }), py("str", `'${name}'`));
      await python.do({ do: "put", queue: name, value: "1" });
      assertEquals(await bus.queue(name).get({ timeout: 10_000 }), 1);
      await bus.queue(name).free();
    }
  });

  add("a waiting get receives an item that Python puts", async (bus, python) => {
    const waiting = bus.queue("late").get({ timeout: 10_000 });
    await python.do({ do: "put", queue: "late", value: "'here'" });
    assertEquals(await waiting, "here");
    await bus.queue("late").free();
  });

  add("a tsmq stub calls a Python function", async (bus, python) => {
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

  add("200 calls at once to a Python function are all answered", async (bus, python) => {
    await python.do({ do: "expose", fn: "add" });
    const add = bus.stub<(a: number, b: number) => number>("add", { timeout: 60_000 });
    const answers = await Promise.all(Array.from({ length: 200 }, (_, i) => add(i, 1)));
    assertEquals(answers, Array.from({ length: 200 }, (_, i) => i + 1));
  });

  add("a Python stub calls a tsmq function", async (bus, python) => {
    await bus.expose("plus", (a: number, b: number) => a + b);
    await bus.expose("void", () => {});
    await bus.expose("place", (id: string) => new OrderPlaced(id, 7.5, ["x"], {}));
    await bus.expose("unique", () => new Set([1, 2]));
    await bus.expose("exact", () => 5n);
    await bus.expose("fail", (text: string) => {
      throw new TypeError(text);
    });
    await bus.expose("buy", (text: string) => {
      throw new (class OutOfStock extends Error {})(text);
    });
    assertEquals(await python.do({ do: "call", fn: "plus", args: ["2", "4"] }), py("int", "6"));
    assertEquals(await python.do({ do: "call", fn: "void" }), py("NoneType", "None"));
    assertEquals(await python.do({ do: "call", fn: "unique" }), py("set", [py("int", "1"), py("int", "2")]));
    assertEquals(await python.do({ do: "call", fn: "exact" }), py("int", "5"));
    const placed = await python.do<Shown>({ do: "call", fn: "place", args: ["'o-7'"] });
    assertEquals(placed.type, "shop.events.OrderPlaced");
    assertEquals((placed.value as Record<string, Shown>).total, py("float", "7.5"));
    assertEquals(await python.do({ do: "call", fn: "fail", args: ["'oh'"] }), {
      error: "pymq.exceptions.RemoteInvocationError",
      args: ["TypeError", "oh"],
    });
    assertEquals(await python.do({ do: "call", fn: "buy", args: ["'none'"] }), {
      error: "pymq.exceptions.RemoteInvocationError",
      args: ["OutOfStock", "none"],
    });
  });

  add("Python's arguments of a tsmq function return unchanged", async (bus, python) => {
    await bus.expose("same", (value: unknown) => value);
    for (const value of ["'ü'", "7", "1.5", "True", "None", "[1, 'a']", "{'a': [1]}", "2**60", "float('inf')"]) {
      const [shown] = await python.do<Shown[]>({ do: "show", values: [value] });
      assertEquals(await python.do({ do: "call", fn: "same", args: [value] }), shown);
    }
    // PyMQ writes no types inside arguments, so the test names the class
    const args = v.tuple([v.pipe(v.object({ id: v.string(), total: v.number() }), v.transform(orderOf))]);
    await bus.expose(procedure("place", { args }), (order) => order);
    const order = await python.do<Shown>({ do: "call", fn: "place", args: ["OrderPlaced('o-8', 8.5)"] });
    assertEquals(order.type, "shop.events.OrderPlaced");
  });

  add("an answer of 9,000 bytes arrives, or an error if PyMQ's queue is too small", async (bus, python) => {
    await bus.expose("large", () => "x".repeat(9_000));
    const answer = await python.do<Shown | { args: string[] }>({ do: "call", fn: "large" });
    if ("value" in answer) assertEquals(answer, py("str", `'${"x".repeat(9_000)}'`));
    else assertEquals([transport.where(), answer.args[0]], ["ipc", "ProviderError"]);
  });

  add("a tsmq multi-call reaches servers of both sides", async (bus, python, { start }) => {
    const other = await start("python-2");
    const called: unknown[] = [];
    await bus.subscribe("called", (name) => called.push(name)).ready;
    const fn = "lambda: (whoami(), pymq.publish(name, 'called'))[0]";
    for (const each of [python, other]) await each.do({ do: "expose", fn, as: "whoami" });
    await bus.expose("whoami", async () => {
      // after an answer, a multi-call waits 500 ms for a server that is not registered
      await until("Python's servers have run the call", () => called.length === 2);
      return "ours";
    });
    const all = await bus.stub("whoami", { multi: true })();
    const names = all.map((result) => result.status === "fulfilled" ? result.value : result.reason);
    assertEquals(names.sort(), ["ours", "python", "python-2"]);
  });

  add("a tsmq multi-call waits for PyMQ's slowest server; a server that is too late is an error once", async (
    bus,
    python,
    more,
  ) => {
    const [slow, ...others] = [
      await more.start("slow"),
      await more.start("python-2"),
      await more.start("python-3"),
      python,
    ];
    for (const other of others) await other.do({ do: "expose", fn: "whoami" });
    await slow!.do({ do: "expose", fn: "lambda: time.sleep(1.2) or name", as: "whoami" });
    const names = (results: PromiseSettledResult<unknown>[]) =>
      results.map((result) => result.status === "fulfilled" ? result.value : result.reason.name).sort();
    const call = (fn: string, timeout: number) => bus.stub(fn, { multi: true, timeout })();
    assertEquals(names(await call("whoami", 15_000)), ["python", "python-2", "python-3", "slow"]);

    await python.do({ do: "expose", fn: "whoami", as: "half" });
    await slow!.do({ do: "expose", fn: "lambda: time.sleep(4)", as: "half" });
    assertEquals(names(await call("half", 2_000)), ["TimeoutError", "python"]);
    const answered = within("the server that was missing does not count as a stranger", call("half", 120_000));
    assertEquals(names(await answered), ["python"]);
    await slow!.kill(); // its next answer, which nobody expects, would stay until it expires
    await until("nothing of it is left", () => swept(slow!, more));
  });

  add("a single call without a registered server runs on PyMQ's server, and on no tsmq server", async (
    bus,
    python,
    { namespace },
  ) => {
    let runs = 0;
    await bus.expose("whoami", () => `ours ${++runs}`);
    await python.do({ do: "expose", fn: "whoami" });
    const { provider } = forgetful(transport.provider());
    await using caller = await Bus.open(provider, { namespace });
    const whoami = caller.stub("whoami", { timeout: 15_000 });
    const results = await Promise.all([whoami(), whoami(), whoami()]);
    assertEquals([...results, await whoami()], ["python", "python", "python", "python"]);
    assertEquals(runs, 0);
  });

  add("a Python multi-call reaches servers of both sides", async (bus, python, { start }) => {
    const caller = await start("caller");
    await python.do({ do: "expose", fn: "whoami" });
    await bus.expose("whoami", () => "ours");
    const { results } = await caller.do<{ results: Shown[] }>({ do: "call", fn: "whoami", multi: true });
    assertEquals(results.map((result) => result.value).sort(), ["'ours'", "'python'"]);
  });

  add("a single call to servers of both sides runs on a tsmq server only", async (bus, python) => {
    await python.do({ do: "expose", fn: "whoami" });
    for (let i = 0; i < 5; i++) assertEquals(await bus.stub("whoami")(), "python");
    await bus.expose("whoami", () => "ours");
    await bus.stub("whoami")(); // reaches one server more than known
    for (let i = 0; i < 5; i++) assertEquals(await bus.stub("whoami")(), "ours");
  });

  add(
    "a Python server that answers late, never answers, or is killed, disturbs no other process",
    async (bus, python, { namespace, start }) => {
      for (const fn of ["slow", "never"]) await python.do({ do: "expose", fn });
      await assertRejects(() => bus.stub("slow", { timeout: 300 })(1), TimeoutError);
      assertEquals(await bus.stub("never", { timeout: 1_500, multi: true })(), []);
      await assertRejects(() => bus.stub("never", { timeout: 300 })(), TimeoutError);
      const victim = await start("victim");
      await victim.do({ do: "expose", fn: "lambda: (pymq.publish(0, 'called'), never())", as: "lost" });
      let called = false;
      await bus.subscribe("called", () => called = true).ready;
      const pending = assertRejects(() => bus.stub("lost", { timeout: 1_500 })(), TimeoutError);
      await until("Python has the call", () => called);
      // the caller counts the servers after its request: with none left, it would reject at once
      for (let i = 0; i < 2; i++) await bus.publish("behind the count", "nobody");
      await victim.kill();
      await pending;
      await python.kill();
      // the caller removes late answers
      await until("nothing of the calls is left", async () => {
        return !(await transport.left(namespace)).some((name) => name.includes("__rpc_"));
      });
      for (const fn of ["never", "lost"]) {
        await until("it does not count as a server any more", async () => {
          return await bus.stub(fn, { timeout: 300 })().catch((error) => error instanceof NoSuchRemoteError);
        });
      }
      await bus.expose("still", () => "alive");
      assertEquals(await bus.stub("still")(), "alive");
      for (const dead of [python, victim]) {
        await until("the names of the dead service are removed", async () => !(await remains(dead, namespace)));
      }
    },
  );

  add("a killed Python subscriber disturbs no other process", async (bus, python, more) => {
    await python.do({ do: "subscribe", channel: "quiet" });
    await python.kill();
    await until("nobody is reached any more", async () => await bus.publish("x", "quiet") === 0);
    await until("nothing of it is left", () => swept(python, more));
  });

  add("what a killed Python caller leaves is removed", async (bus, python, more) => {
    await python.do({ do: "subscribe", channel: "quiet" });
    const called = Promise.withResolvers<void>();
    const answer = Promise.withResolvers<string>();
    await bus.expose("wait", () => {
      called.resolve();
      return answer.promise;
    });
    const call = python.do({ do: "call", fn: "wait" }).catch(() => "killed");
    await called.promise;
    await python.kill();
    assertEquals(await call, "killed");
    answer.resolve("too late");
    await until("its answer lapses", () => transport.lapsed(more.namespace));
    await until("nothing of it is left", () => swept(python, more));
  });
  return cases;
}
