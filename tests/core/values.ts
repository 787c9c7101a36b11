/**
 * Values: each comes out as it went in, or is refused with a ValidationError.
 *
 * @module
 */
import type { Bus } from "../../src/bus.ts";
import { OWN } from "../../src/codec/tags.ts";
import { RemoteInvocationError, ValidationError } from "../../src/errors.ts";
import { each, equal, ok, rejects } from "../../src/conformance/assert.ts";
import type { Cases } from "../../src/conformance/cases.ts";

/** Values of every kind that the codec knows. */
const VALUES: Readonly<Record<string, unknown>> = {
  "an empty text": "",
  text: 'quotes ", backslash \\, line\n, NUL \0, ☃ 🧊 \u2028',
  "half a surrogate pair": "\ud83e",
  zero: 0,
  "minus zero": -0,
  fraction: -1.5e-7,
  "the largest exact number": Number.MAX_SAFE_INTEGER,
  "2 ** 60": 2 ** 60,
  "1e300": 1e300,
  NaN: NaN,
  Infinity: Infinity,
  "-Infinity": -Infinity,
  true: true,
  false: false,
  null: null,
  undefined: undefined,
  "a small bigint": 7n,
  "a bigint": -(2n ** 60n),
  "a large bigint": 10n ** 300n,
  date: new Date(1_700_000_000_123),
  "an invalid date": new Date(NaN),
  bytes: new Uint8Array([0, 1, 127, 128, 255]),
  "no bytes": new Uint8Array(),
  "an empty list": [],
  list: [1, "a", null, undefined, [[]], { a: 1 }],
  "a list of objects": [{ id: 1 }, { id: 2 }],
  "an empty object": {},
  object: { a: 1, "with space": { b: [true] }, "": 0, "1": "key", ünï: "code" },
  "missing and undefined": { here: undefined, inside: { there: undefined } },
  map: new Map<unknown, unknown>([["a", 1], [2, { b: 3 }], [[1], new Map([[1n, new Date(0)]])]]),
  "an empty map": new Map(),
  set: new Set<unknown>(["a", 1, null]),
  "a set of objects": new Set<unknown>([{ a: 1 }, [2], new Set([3])]),
  "all inside": {
    at: new Date(0),
    ids: new Set([1n]),
    raw: [new Uint8Array([9])],
    many: [NaN, -0, Infinity, undefined],
  },
  "looks like a tag": { __type: "tuple", __obj: [1, 2] },
  "looks like a class's tag": { __type: "os.system", command: "rm" },
  "looks like a list's tag": { nested: { __type: "x", __list: [{ a: 1 }] } },
  "looks like a tag of tsmq": [{ __type: OWN.date, __obj: "2020-01-01T00:00:00.000Z" }],
  "has a __type that is not a string": { __type: 7 },
  "has __undefined": { __undefined: ["a"], b: 1 },
  "names of the prototype": { constructor: 1, toString: 2, hasOwnProperty: 3, then: 4 },
};

/** Values that cannot be encoded. */
const UNSENDABLE: Readonly<Record<string, () => unknown>> = {
  "a function": () => () => {},
  "a symbol": () => Symbol("s"),
  "a function inside": () => ({ list: [{ fn: () => {} }] }),
  "a cycle": () => {
    const value: { self?: unknown } = {};
    value.self = [value];
    return value;
  },
  "a promise": () => Promise.resolve(1),
  "a WeakMap": () => new WeakMap(),
  "a regular expression": () => /x/,
  "an error": () => new Error("x"),
  "a subclass of Map": () => new (class Cache extends Map {})(),
  "10,000 levels": () => {
    let value: unknown = 0;
    for (let i = 0; i < 10_000; i++) value = [value];
    return value;
  },
};

class Shape {
  static readonly topic: string = "kit.shape";
  name = "shape";
  area(): number {
    return 0;
  }
}

class Circle extends Shape {
  static override readonly topic = "kit.circle";
  constructor(readonly radius: number) {
    super();
    this.name = "circle";
  }
  override area(): number {
    return 3 * this.radius ** 2;
  }
}

class Square extends Shape {
  static override readonly topic = "kit.square";
  readonly #secret = 1;
  constructor(readonly side: number, readonly inside?: Shape) {
    super();
    this.name = "square";
  }
  override area(): number {
    return this.side ** 2;
  }
  get double(): number {
    return 2 * this.side;
  }
  /** An instance that is revived without its constructor does not have the private field. */
  get secret(): number {
    return this.#secret;
  }
}

const types = [Shape, Circle, Square];

/** Cases about values and classes. */
export const values: Cases = {
  "a published value arrives unchanged": async (t) => {
    const [publisher, bus] = await t.buses(2) as [Bus, Bus];
    await each(VALUES, async (value, what) => {
      const seen = t.collect<unknown>(what);
      await using subscription = bus.subscribe<unknown>("values", seen.add);
      await subscription.ready;
      await publisher.publish(value, "values");
      await seen.are([value]);
    });
  },

  "an item arrives unchanged": async (t) => {
    const [producer, consumer] = await t.buses(2) as [Bus, Bus];
    const queue = t.queue(producer, "values");
    await each(VALUES, async (value, what) => {
      await queue.put(value);
      equal(await consumer.queue("values").get(), value, `${what}, put and got`);
      await queue.put(value);
      const lease = await consumer.queue("values").receive();
      await lease.ack();
      equal(lease.item, value, `${what}, put and received`);
    });
  },

  "an item that is given back several times arrives unchanged": async (t) => {
    const bus = await t.open();
    const queue = t.queue(bus, "values");
    for (const what of ["undefined", "a small bigint", "map", "all inside", "text"]) {
      const value = VALUES[what];
      await queue.put(value);
      for (let attempt = 1; attempt <= 3; attempt++) {
        const lease = await queue.receive();
        equal(lease.item, value, `${what}, attempt ${attempt}`);
        if (attempt === 3) await lease.ack();
        else await lease.nack();
      }
    }
  },

  "arguments and results arrive unchanged": async (t) => {
    const [server, caller] = await t.buses(2) as [Bus, Bus];
    const got = t.collect<unknown[]>();
    await server.expose("echo", (...args: unknown[]) => {
      got.add(args);
      return args[0];
    });
    const echo = caller.stub("echo");
    await each(VALUES, async (value, what) => {
      equal(await echo(value, [value]), value, `${what}, as a result`);
      equal(got.values.at(-1), [value, [value]], `${what}, as an argument`);
    });
  },

  "every verb refuses a value that cannot be encoded with a ValidationError": async (t) => {
    const bus = await t.open();
    const queue = t.queue<unknown>(bus, "values");
    await bus.subscribe("values", () => {}).ready;
    await bus.expose("take", () => {});
    await each(UNSENDABLE, async (make, what) => {
      await rejects(() => bus.publish(make(), "values"), ValidationError, "invalid", `publish(${what})`);
      await rejects(() => queue.put(make()), ValidationError, "invalid", `put(${what})`);
      await rejects(() => bus.stub("take")(make()), ValidationError, "invalid", `a call with ${what}`);
    });
    await t.settle();
    equal(await queue.qsize(), 0);
  },

  "a ValidationError has the path of the invalid part": async (t) => {
    const bus = await t.open();
    const value = { orders: [{ id: 1 }, { id: 2, callback: () => {} }] };
    const error = await rejects(() => bus.publish(value, "values"), ValidationError);
    equal(error.issues.map(({ path }) => path), [["orders", 1, "callback"]]);
  },

  "a key __proto__ is refused or arrives unchanged, and changes no prototype": async (t) => {
    const bus = await t.open();
    const value = JSON.parse('{"__proto__":{"polluted":true},"a":1}');
    const queue = t.queue(bus, "values");
    try {
      await queue.put(value);
      equal(await queue.get(), value);
    } catch (error) {
      ok(error instanceof ValidationError, `put() rejected with ${error} instead of a ValidationError`);
    }
    equal(({} as { polluted?: boolean }).polluted, undefined);
  },

  "instances of registered classes are revived: alone, in other instances, in lists and in maps": async (t) => {
    const [sender, receiver] = [await t.open(), await t.open({ types })];
    const queue = t.queue(sender, "shapes");
    const sent = [
      new Circle(1),
      new Square(2, new Circle(3)),
      [new Circle(4), new Circle(5)],
      { shapes: [new Square(6), new Circle(7), new Shape()] },
      new Map([["a", new Circle(8)]]),
      new Set([new Square(9)]),
    ];
    for (const value of sent) {
      await queue.put(value);
      equal(await receiver.queue("shapes").get(), value);
    }
    await queue.put(new Square(2));
    const square = await receiver.queue<Square>("shapes").get();
    equal([square.area(), square.double, square.name], [4, 4, "square"]);
  },

  "an instance is revived without its constructor": async (t) => {
    let constructed = 0;
    class Probe {
      static readonly topic = "kit.probe";
      constructor() {
        constructed++;
      }
    }
    const bus = await t.open({ types: [Probe] });
    const queue = t.queue(bus, "probes");
    await queue.put(new Probe());
    ok(await queue.get() instanceof Probe, "the item is an instance");
    equal(constructed, 1, "the number of constructor calls");
  },

  "subclasses are revived as their own class: polymorphism over events, queues and calls": async (t) => {
    const [server, client] = await t.buses(2, { types }) as [Bus, Bus];
    const seen = t.collect<number>();
    const areas = (shapes: Shape[]) => shapes.map((shape) => shape.area());
    await server.subscribe<Shape[]>("shapes", (shapes) => areas(shapes).forEach(seen.add)).ready;
    await server.expose("areas", areas);
    await server.expose("largest", (shapes: Shape[]) => shapes.toSorted((a, b) => b.area() - a.area())[0]);
    const shapes = [new Shape(), new Circle(1), new Square(2)];
    await client.publish(shapes, "shapes");
    await seen.are([0, 3, 4]);
    equal(await client.stub("areas")(shapes), [0, 3, 4]);
    const largest = await client.stub("largest")(shapes);
    ok(largest instanceof Square && largest.area() === 4, "the result is a Square");
  },

  "subscribe(Class) registers the class": async (t) => {
    const [publisher, bus] = await t.buses(2) as [Bus, Bus];
    const seen = t.collect<Circle>();
    await bus.subscribe(Circle, seen.add).ready;
    await publisher.publish(new Circle(2));
    await seen.are([new Circle(2)]);
    await publisher.publish({ radius: 3, name: "circle" }, "kit.circle");
    equal((await seen.count(2))[1], new Circle(3), "a plain object that a subscriber declares as a Circle");
  },

  "an unregistered tag is decoded to a plain object": async (t) => {
    const [sender, receiver] = await t.buses(2) as [Bus, Bus];
    await t.queue(sender, "shapes").put(new Square(2, new Circle(3)));
    equal(await receiver.queue("shapes").get(), {
      side: 2,
      name: "square",
      inside: { radius: 3, name: "circle" },
    } as unknown);
  },

  "two classes with one name are refused": async (t) => {
    const bus = await t.open({ types });
    const impostor = class Circle {
      static readonly topic = "kit.circle";
    };
    await rejects(() => bus.subscribe(impostor, () => {}).ready, ValidationError, "invalid", "subscribe()");
    await rejects(() => t.open({ types: [Circle, impostor] }), ValidationError, "invalid", "Bus.open()");
  },

  "an instance of an unregistered class in arguments and results becomes a plain object": async (t) => {
    const bus = await t.open();
    t.errors(bus); // it reports the error too
    await bus.expose("echo", (value: unknown) => value);
    equal(await bus.stub("echo")(new Circle(1)), { radius: 1, name: "circle" });
    await bus.expose("fail", () => ({ secret: () => {} }));
    await rejects(() => bus.stub("fail")(), RemoteInvocationError);
  },
};
