/**
 * Calls of the methods of objects and classes, and the decorator `remote`.
 *
 * @module
 */
import type { Bus } from "../../src/bus.ts";
import { BusError, NoSuchRemoteError, ValidationError } from "../../src/errors.ts";
import { each, equal, ok, rejects } from "../../src/conformance/assert.ts";
import type { Cases } from "../../src/conformance/cases.ts";

class Base {
  inherited(): string {
    return `inherited by ${this.constructor.name}`;
  }
  overridden(): string {
    return "base";
  }
}

class Calculator extends Base {
  #calls = 0;
  readonly factor: number;
  readonly own = (): string => "an own property is not a method";

  constructor(factor = 1) {
    super();
    this.factor = factor;
  }

  add(a: number, b: number): number {
    this.#calls++;
    return this.factor * (a + b);
  }
  async later(value: string): Promise<string> {
    return await Promise.resolve(value);
  }
  override overridden(): string {
    return "derived";
  }
  get calls(): number {
    return this.#calls;
  }
  _private(): string {
    return "private";
  }
  static construct(): Calculator {
    return new Calculator();
  }
}

/** The methods of `Calculator` that are served. */
const SERVED = ["add", "inherited", "later", "overridden"];
/** Members of `Calculator` that are not served. */
const UNSERVED = ["_private", "calls", "constructor", "construct", "own", "toString", "hasOwnProperty"];

/** Cases about objects, classes and decorators. */
export const objects: Cases = {
  "expose(object) serves its methods as Class.method, inherited methods included": async (t) => {
    const [server, caller] = await t.buses(2) as [Bus, Bus];
    const calculator = new Calculator(10);
    await server.expose(calculator);
    equal(await caller.stub("Calculator.add")(1, 2), 30);
    equal(await caller.stub("Calculator.later")("x"), "x");
    equal(await caller.stub("Calculator.inherited")(), "inherited by Calculator");
    equal(await caller.stub("Calculator.overridden")(), "derived");
    equal(calculator.calls, 1);
    for (const name of UNSERVED) {
      const stub = caller.stub(`Calculator.${name}`, { timeout: 5_000 });
      await rejects(() => stub(), NoSuchRemoteError, "no_such_remote", `Calculator.${name}`);
    }
  },

  "stub(Class) has every method of the class, and no other members": async (t) => {
    const [server, caller] = await t.buses(2) as [Bus, Bus];
    await server.expose(new Calculator(2));
    const calculator = caller.stub(Calculator);
    equal(Object.keys(calculator).toSorted(), SERVED);
    equal(await calculator.add(1, 2), 6);
    equal(await calculator.later("x"), "x");
    equal(await calculator.inherited(), "inherited by Calculator");
    equal((await calculator.add.rpc(2, 2)).result, 8);
    equal(calculator === await Promise.resolve(calculator), true, "a stub is not a promise");
  },

  "expose(object) serves no methods of platform classes, and refuses an object that has no others": async (t) => {
    const [server, caller] = await t.buses(2) as [Bus, Bus];
    class Store extends Map<string, number> {
      sum(): number {
        return [...this.values()].reduce((sum, value) => sum + value, 0);
      }
    }
    await server.expose(new Store([["a", 1], ["b", 2]]));
    const store = caller.stub(Store, { timeout: 5_000 });
    equal(await store.sum(), 3);
    await rejects(() => store.clear(), NoSuchRemoteError);
    await rejects(() => server.expose(new Map()), ValidationError, "invalid");
    await server.expose({ plain: () => "plain" });
    equal(await caller.stub("plain")(), "plain");
  },

  "expose({ concurrency }) limits how many calls run at once; the others wait": async (t) => {
    const [server, caller] = await t.buses(2) as [Bus, Bus];
    const { passed, open } = t.gate();
    const started = t.collect<number>();
    await server.expose("work", async (i: number) => {
      started.add(i);
      await passed;
      return i;
    }, { concurrency: 2 });
    const calls = Promise.all([1, 2, 3, 4, 5].map((i) => caller.stub("work")(i)));
    await started.count(2);
    await t.quiet();
    equal(started.values.length, 2);
    open();
    equal(await calls, [1, 2, 3, 4, 5]);
  },

  "expose(object, method) serves one method": async (t) => {
    const [server, caller] = await t.buses(2) as [Bus, Bus];
    await server.expose(new Calculator(), "add");
    equal(await caller.stub("Calculator.add")(1, 2), 3);
    await rejects(() => caller.stub("Calculator.later", { timeout: 5_000 })("x"), NoSuchRemoteError);
    for (const name of ["none", "calls", "_private", "constructor", "own"]) {
      await rejects(
        () => server.expose(new Calculator(), name as "add"),
        ValidationError,
        "invalid",
        `the method "${name}"`,
      );
    }
  },

  "unexpose(object) ends all its methods": async (t) => {
    const [server, caller] = await t.buses(2) as [Bus, Bus];
    const calculator = new Calculator();
    await server.expose(calculator);
    await server.unexpose(calculator);
    for (const name of SERVED) {
      await rejects(() => caller.stub(`Calculator.${name}`, { timeout: 5_000 })(), NoSuchRemoteError);
    }
    await server.expose(calculator);
    equal(await caller.stub(Calculator).add(1, 1), 2);
  },

  "an object is exposed completely or not at all": async (t) => {
    const [server, caller] = await t.buses(2) as [Bus, Bus];
    await server.expose("Calculator.overridden", () => "taken");
    await rejects(() => server.expose(new Calculator()), BusError, "invalid");
    await rejects(() => caller.stub("Calculator.add", { timeout: 5_000 })(1, 2), NoSuchRemoteError);
    equal(await caller.stub("Calculator.overridden")(), "taken");
  },

  "expose() refuses values without functions": async (t) => {
    const bus = await t.open();
    const nonsense: Record<string, unknown[]> = {
      "an object without methods": [new (class Empty {})()],
      "a plain object": [{ a: 1 }],
      "an object without a class": [Object.create({ add() {}, constructor: undefined })],
      "a method of an object without a class": [Object.create(null), "add"],
      "a class": [Calculator],
      "an arrow without a name": [(() => () => {})()],
      "a name without a function": ["name"],
      "a name with no function": ["name", 7],
      "a number": [7],
      "nothing": [],
      null: [null],
    };
    const expose = (args: unknown[]) => bus.expose(...args as [never, never]);
    await each(nonsense, (args, what) => rejects(() => expose(args), ValidationError, "invalid", `expose(${what})`));
  },

  "remote() wraps a function, and decorates a method": async (t) => {
    const [server, caller] = await t.buses(2) as [Bus, Bus];
    function hello(name: string): string {
      return `hello ${name}`;
    }
    ok(server.remote()(hello) === hello, "remote() gives the function back");
    server.remote("greet")((name: string) => `greetings ${name}`);
    class Service {
      readonly #prefix: string;
      constructor(prefix: string) {
        this.#prefix = prefix;
      }
      @server.remote()
      ping(): string {
        return `${this.#prefix} pong`;
      }
      @server.remote("service/echo")
      echo(value: string): string {
        return `${this.#prefix} ${value}`;
      }
      quiet(): string {
        return "not exposed";
      }
      @server.remote()
      static create(): string {
        return "created";
      }
    }
    const service = new Service("the");
    const found = async (name: string) => {
      try {
        await caller.stub(name, { timeout: 5_000 })("x");
        return true;
      } catch (error) {
        if (error instanceof NoSuchRemoteError) return false;
        throw error;
      }
    };
    for (const name of ["hello", "greet", "Service.ping", "Service.create", "service/echo"]) {
      await t.until(() => found(name), `"${name}" is served`);
    }
    equal(await caller.stub(hello)("Ada"), "hello Ada");
    equal(await caller.stub("greet")("Ada"), "greetings Ada");
    equal(await caller.stub(Service).ping(), "the pong");
    equal(await caller.stub("service/echo")("x"), "the x");
    equal(await caller.stub("Service.create")(), "created");
    equal(await found("Service.quiet"), false);
    equal(service.ping(), "the pong");
  },
};
