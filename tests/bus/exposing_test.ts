/** Which functions `expose` serves, and under which names. */
// run: on bun
import { assert, assertEquals, assertRejects, assertStrictEquals, assertThrows } from "@std/assert";
import { describe, it } from "@std/testing/bdd";
import { EventEmitter } from "node:events";
import { Agent } from "node:http";
import { Readable } from "node:stream";
import { Bus, memory, NoSuchRemoteError, RemoteInvocationError, ValidationError } from "../../mod.ts";
import * as tsmq from "../../mod.ts";
import { until } from "../support/until.ts";

class Base {
  inherited(): string {
    return "inherited";
  }
}

class Service extends Base {
  readonly arrow = (text: string): string => text;
  readonly #secret = "secret";
  get secret(): () => string {
    return () => this.#secret;
  }
  find(id: number): number {
    return id;
  }
  self(): this {
    return this;
  }
}

/** Returns the names that a bus serves, out of the given ones. */
async function served(bus: Bus, ...names: string[]): Promise<string[]> {
  const found = await Promise.all(
    names.map((name) =>
      bus.stub(name, { timeout: 5_000 })().then(
        () => [name],
        (error) => error instanceof NoSuchRemoteError ? [] : [name],
      )
    ),
  );
  return found.flat();
}

describe("expose(object)", () => {
  /** Objects of classes that extend platform classes, and the platform methods that must not be served. */
  const extended: Record<string, [object, string[]]> = {
    "an EventEmitter": [
      new (class Emitting extends EventEmitter {
        own(): void {}
      })(),
      ["emit", "removeAllListeners"],
    ],
    "an EventTarget": [
      new (class Target extends EventTarget {
        own(): void {}
      })(),
      ["dispatchEvent"],
    ],
    "a Map": [
      new (class Store extends Map {
        own(): void {}
      })(),
      ["clear", "get", "set"],
    ],
    "an array": [
      new (class List extends Array {
        own(): void {}
      })(),
      ["push", "map"],
    ],
    "an Error": [
      new (class Failure extends Error {
        own(): void {}
      })(),
      ["toString"],
    ],
    "a stream": [
      new (class Source extends Readable {
        own(): void {}
      })(),
      ["destroy", "push", "emit"],
    ],
    "an agent": [
      new (class Pool extends Agent {
        own(): void {}
      })(),
      ["destroy", "emit"],
    ],
    "a Response": [
      new (class Reply extends Response {
        own(): void {}
      })(),
      ["clone", "text"],
    ],
    "a class that extends an EventEmitter": [
      new (class Heir extends (class Parent extends EventEmitter {
        own(): void {}
      }) {})(),
      ["emit"],
    ],
  };
  for (const [what, [object, unserved]] of Object.entries(extended)) {
    it(`serves no method of the platform if its class extends ${what}`, async () => {
      await using bus = await Bus.open(memory());
      await bus.expose(object);
      const name = object.constructor.name;
      assertEquals(await served(bus, ...["own", ...unserved].map((method) => `${name}.${method}`)), [`${name}.own`]);
    });
  }

  it("refuses an object whose class belongs to the platform, unless its methods are listed", async () => {
    await using bus = await Bus.open(memory());
    for (const object of [new Map(), new EventEmitter(), [], new Date(), new URL("http://host/"), Promise.resolve()]) {
      await assertRejects(() => bus.expose(object), ValidationError, "its class belongs to the platform");
    }
    const map = new Map([["a", 1]]);
    await bus.expose(map, ["get", "has"]);
    assertEquals(await bus.stub("Map.get")("a"), 1);
    assertEquals(await served(bus, "Map.get", "Map.has", "Map.clear"), ["Map.get", "Map.has"]);
    await bus.unexpose(map);
    assertEquals(await served(bus, "Map.get", "Map.has"), []);
  });

  it("serves the listed methods and no others; if one does not exist, none is served", async () => {
    await using bus = await Bus.open(memory());
    const service = new Service();
    for (const list of [["find", "none"], ["arrow"], ["secret"], [], [7], "none"]) {
      await assertRejects(() => bus.expose(service, list as "find"), ValidationError);
    }
    await bus.expose(service, ["find", "inherited", "find"]);
    assertEquals(await served(bus, ...["find", "inherited", "self", "arrow"].map((name) => `Service.${name}`)), [
      "Service.find",
      "Service.inherited",
    ]);
  });

  it("serves the functions of a plain object under their keys", async () => {
    await using bus = await Bus.open(memory());
    const math = {
      factor: 2,
      scale(value: number): number {
        return this.factor * value;
      },
      add: (a: number, b: number) => a + b,
      _hidden: () => "hidden",
      Service,
      get computed(): () => number {
        return () => 1;
      },
    };
    await bus.expose(math);
    assertEquals([await bus.stub("scale")(4), await bus.stub("add")(1, 2)], [8, 3]);
    assertEquals(await served(bus, "factor", "_hidden", "Service", "computed", "Object.add"), []);
    await bus.unexpose(math);
    assertEquals(await served(bus, "scale", "add"), []);
    await bus.expose(math, "add");
    assertEquals(await served(bus, "scale", "add"), ["add"]);
    const bare = Object.assign(Object.create(null) as object, { bare: () => 1 });
    await bus.expose(bare);
    assertEquals(await bus.stub("bare")(), 1);
  });

  it("names methods by the class's own static topic", async () => {
    await using bus = await Bus.open(memory());
    class Orders {
      static readonly topic = "shop.orders.Orders"; // the names of these types in Python
      find(id: string): string {
        return id;
      }
      @bus.remote()
      count(): number {
        return 1;
      }
    }
    class Special extends Orders {} // has no topic of its own
    await bus.expose(new Orders());
    await bus.expose(new Special(), "find");
    assertEquals(await bus.stub("shop.orders.Orders.find")("o-1"), "o-1");
    assertEquals(await bus.stub(Orders).count(), 1);
    assertEquals(await served(bus, "Special.find", "Orders.find"), ["Special.find"]);
  });

  it("leaves out methods that @remote serves", async () => {
    await using bus = await Bus.open(memory());
    class Shop {
      calls = 0;
      @bus.remote("shop/buy")
      buy(): number {
        return ++this.calls;
      }
      sell(): number {
        return --this.calls;
      }
    }
    const [shop, other] = [new Shop(), { constructor: Shop }];
    await bus.expose(shop);
    assertEquals(await bus.stub("shop/buy")(), 1);
    assertEquals(await served(bus, "Shop.buy", "Shop.sell"), ["Shop.sell"]);
    await bus.unexpose(other); // another object
    assertEquals(await served(bus, "Shop.sell"), ["Shop.sell"]);
    await bus.unexpose(shop);
    assertEquals(await served(bus, "shop/buy", "Shop.sell"), []);
  });

  it("answers with an error if the result is an object that the bus serves", async () => {
    await using bus = await Bus.open(memory());
    const [service, plain] = [new Service(), { give: (): object => plain }];
    await bus.expose(service);
    await bus.expose(plain);
    for (const name of ["Service.self", "give"]) {
      const error = await assertRejects(() => bus.stub(name)(), RemoteInvocationError);
      assertEquals(error.remoteType, "RpcError");
    }
    await bus.unexpose(plain);
    await bus.expose("give", () => ({ ...plain, give: undefined }));
    assertEquals(await bus.stub("give")(), { give: undefined });
  });
});

describe("names from a minifier", () => {
  /** Two classes with the same name and different methods. */
  const classes = (): [object, object] => {
    const first = class a {
      get(): string {
        return "first";
      }
    };
    const second = class a {
      list(): string {
        return "second";
      }
    };
    return [new first(), new second()];
  };

  it("refuse a second class under the name of one that is served, before init() too", async () => {
    const [first, second] = classes();
    await using bus = await Bus.open(memory());
    await bus.expose(first);
    const error = await assertRejects(() => bus.expose(second), ValidationError, "static topic");
    assertEquals(error.code, "invalid");
    assertEquals(await served(bus, "a.get", "a.list"), ["a.get"]);
    await bus.unexpose(first);
    await bus.expose(second);
    await tsmq.expose(first);
    await assertRejects(() => tsmq.expose(second), ValidationError, "static topic");
    await tsmq.unexpose(first);
    await tsmq.expose(second);
    await tsmq.shutdown();
  });

  it("refuse a stub of a second class under the name of one that has a stub", async () => {
    const [first, second] = classes();
    await using bus = await Bus.open(memory());
    const stubOf = (object: object) => bus.stub(object.constructor as new () => object);
    stubOf(first);
    stubOf(first);
    assertThrows(() => stubOf(second), ValidationError, "static topic");
  });

  it("refuse a stub of a second function under the name of one that has a stub", async () => {
    await using bus = await Bus.open(memory());
    const first = () => function a() {};
    const [one, again, two] = [first, first, () => function a(_: number) {}].map((make) => make());
    bus.stub(one!);
    bus.stub(one!);
    bus.stub(again!);
    assertThrows(() => bus.stub(two!), ValidationError, "another one has the same name");
    bus.stub("a");
  });

  it("do not make unexpose(fn) end another function", async () => {
    await using bus = await Bus.open(memory());
    const [one, two] = [() => function a() {}, () => function a() {}].map((make) => make());
    await bus.expose(one!);
    await assertRejects(() => bus.expose(two!), ValidationError, "already");
    await bus.expose("two", two!);
    await bus.unexpose(two!);
    assertEquals(await served(bus, "a", "two"), ["a"]);
  });
});

describe("stub(Class)", () => {
  it("throws when a member that is not a method is read", async () => {
    await using bus = await Bus.open(memory());
    await bus.expose(new Service());
    const service = bus.stub(Service);
    const loose = service as unknown as Record<string | symbol, unknown>;
    for (const name of ["arrow", "secret", "none", "_hidden"]) {
      assertThrows(() => loose[name], ValidationError, `"Service.${name}"`);
    }
    assertEquals([loose.then, loose[Symbol.iterator], typeof loose.toString], [undefined, undefined, "function"]);
    assertStrictEquals(await Promise.resolve(service), service);
    assertEquals(Object.keys(service).sort(), ["find", "inherited", "self"]);
    assert("find" in service && !("arrow" in service));
    assertEquals(await service.find(7), 7);
  });
});

describe("expose with options", () => {
  it("accepts options after a function, a name, an object and a list, and refuses invalid ones", async () => {
    await using bus = await Bus.open(memory());
    function named(): void {}
    await bus.expose(named, { concurrency: 1 });
    await bus.expose("name", () => {}, { concurrency: 1 });
    await bus.expose(new Service(), ["find"], { concurrency: 1 });
    await bus.expose({ plain() {} }, { concurrency: 1 });
    const wrong: unknown[][] = [
      [named, "second"],
      [named, () => {}],
      ["other", () => {}, 7],
      [new Base(), { concurrency: 0 }],
      [new Base(), { concurrency: 1.5 }],
      ["other", () => {}, { concurrency: "1" }],
    ];
    for (const args of wrong) {
      await assertRejects(() => bus.expose(...args as Parameters<typeof bus.expose>), ValidationError);
    }
  });

  it("limits how many calls of a function run at once; the others wait in order, unless their caller cancels them", async () => {
    await using bus = await Bus.open(memory());
    const started: number[] = [];
    const gates = new Map<number, () => void>();
    let [running, most] = [0, 0];
    await bus.expose("work", async (i: number) => {
      started.push(i);
      most = Math.max(most, ++running);
      await new Promise<void>((resolve) => gates.set(i, resolve));
      running--;
      return i;
    }, { concurrency: 2 });
    await bus.expose("free", () => "free");
    const abort = new AbortController();
    const gone = assertRejects(() => bus.stub("work", { signal: abort.signal })(0));
    const calls = [1, 2, 3, 4].map((i) => bus.stub("work")(i));
    await until("two run", () => started.length === 2);
    assertEquals(await bus.stub("free")(), "free");
    const third = assertRejects(() => bus.stub("work", { timeout: 50 })(5), tsmq.TimeoutError);
    await third;
    abort.abort(new Error("enough"));
    await gone;
    assertEquals(await bus.stub("free")(), "free"); // the cancellations arrived before it
    for (const i of [0, 1, 2, 3, 4]) {
      await until(`${i} has started`, () => gates.has(i));
      gates.get(i)!();
    }
    assertEquals(await Promise.all(calls), [1, 2, 3, 4]);
    assertEquals([started, most], [[0, 1, 2, 3, 4], 2]); // 5 was cancelled while it waited
  });

  it("sends waiting calls to another server when this one stops serving", async () => {
    const provider = memory();
    await using one = await Bus.open(provider);
    await using two = await Bus.open(provider);
    const started: string[] = [];
    const gate = Promise.withResolvers<void>();
    await one.expose("work", async () => {
      started.push("one");
      await gate.promise;
      return "one";
    }, { concurrency: 1 });
    const calls = [1, 2, 3].map(() => two.stub("work")());
    await until("one runs", () => started.length === 1);
    await two.expose("work", () => "two");
    const closed = one.close();
    assertEquals((await Promise.all(calls.slice(1))).sort(), ["two", "two"]);
    gate.resolve();
    assertEquals(await calls[0], "one");
    await closed;
    assertEquals(started, ["one"]);
  });
});
