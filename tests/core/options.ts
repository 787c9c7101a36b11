/** Cases about options of verbs: an unknown one is refused, because it would be ignored. */
import * as tsmq from "../../mod.ts";
import type { Bus } from "../../src/bus.ts";
import { ValidationError } from "../../src/errors.ts";
import { memory } from "../../src/providers/memory/provider.ts";
import { aws } from "../../src/providers/aws/provider.ts";
import { ipc } from "../../src/providers/ipc/provider.ts";
import { redis } from "../../src/providers/redis/provider.ts";
import { each, equal, ok, rejects } from "../../src/conformance/assert.ts";
import type { Cases } from "../../src/conformance/cases.ts";
import { amount, length, pair } from "./schemas.ts";

class Order {
  static readonly topic = "kit.order";
  constructor(readonly id = 1) {}
  total(): number {
    return this.id;
  }
}

function add(a: number, b: number): number {
  return a + b;
}

/** The verbs, each with the beginning of its error. */
type Verbs = Record<string, (options: never) => unknown>;

/** Cases about the options of verbs. */
export const options: Cases = {
  "an unknown option is refused by each verb, which names the option that was meant": async (t) => {
    const bus = await t.open();
    const queue = t.queue<unknown>(bus, "q");
    await queue.put(1);
    await using lease = await queue.receive();
    const handler = () => {};
    const topic = bus.topic("t");
    const event = new Order();
    const verbs: Record<string, Verbs> = {
      "timout is not an option (did you mean timeout?)": {
        'Cannot put into queue "q"': (wrong) => queue.put(1, wrong),
        'Cannot get from queue "q"': (wrong) => queue.get(wrong),
        'Cannot receive from queue "q"': (wrong) => queue.receive(wrong),
        'Cannot create a stub of "add"': (wrong) => bus.stub("add", wrong),
        'Cannot create a stub of "Order"': (wrong) => bus.stub(Order, wrong),
        'Cannot read a stream of "add"': (wrong) => bus.stream("add", wrong),
        "Cannot close the bus": (wrong) => bus.close(wrong),
      },
      "Concurency is not an option (did you mean concurrency?)": {
        'Cannot subscribe to "t"': (wrong) => bus.subscribe("t", handler, wrong),
        'Cannot consume queue "q"': (wrong) => queue.consume(handler, wrong),
        'Cannot expose "add"': (wrong) => bus.expose(add, wrong),
        'Cannot expose "sum"': (wrong) => bus.expose("sum", add, wrong),
        'Cannot expose "kit.order"': (wrong) => bus.expose(event, wrong),
        "Cannot expose": (wrong) => bus.expose({ add }, wrong),
      },
      "schema is not an option (the options: concurrency, signal, group, ": {
        'Cannot subscribe to "t"': (wrong) => topic.subscribe(handler, wrong),
      },
      "header is not an option (did you mean headers?)": {
        'Cannot publish to "t"': (wrong) => topic.publish(1, wrong),
        'Cannot publish to "kit.order"': (wrong) => bus.publish(event, wrong),
      },
      "delayMs is not an option (did you mean delay?)": {
        'Cannot put into queue "q"': (wrong) => queue.putNowait(1, wrong),
        'Cannot give back an item of queue "q"': (wrong) => lease.nack(wrong),
      },
      "shema is not an option (did you mean schema?)": {
        'Cannot use queue "q"': (wrong) => bus.queue("q", wrong),
        'Cannot use topic "t"': (wrong) => bus.topic("t", wrong),
      },
      "count is not an option (the options: limit, offset)": {
        'Cannot peek into queue "q"': (wrong) => queue.peek(wrong),
        'Cannot peek into the dead letters of queue "q"': (wrong) => queue.dead.peek(wrong),
      },
      "onyl is not an option (did you mean only?)": {
        'Cannot retry the dead letters of queue "q"': (wrong) => queue.dead.retry(wrong),
        'Cannot purge the dead letters of queue "q"': (wrong) => queue.dead.purge(wrong),
      },
      "result is not an option (the options: args, returns, yields)": {
        'Cannot create procedure "p"': (wrong) => tsmq.procedure("p", wrong),
      },
    };
    await each(verbs, (uses, text) =>
      each(uses, async (use, doing) => {
        const name = text.split(" ")[0]!;
        for (const value of [7, undefined]) { // as in Bus.open, a name without a value is a mistake too
          const { message, part, issues } = await rejects(() => use({ [name]: value } as never), ValidationError);
          equal(message.slice(0, `${doing}: ${text}`.length), `${doing}: ${text}`);
          equal([part, issues[0]?.path], ["options", [name]]);
        }
        if (doing === "Cannot close the bus") return; // it can be a listener, which gets other arguments
        const { message } = await rejects(() => use(7 as never), ValidationError);
        const wanted = doing.includes('publish to "kit')
          ? "Cannot use 7 as a topic"
          : `${doing}: options must be an object`;
        equal(message.slice(0, wanted.length), wanted);
      }));
    equal([await queue.qsize(), bus.health().subscriptions], [0, 0]);
  },

  "an unknown option of a bus or a provider that is like no other is refused with all options": async (t) => {
    const wrong = { quorum: 1 } as never;
    const list = / quorum is not an option \(the options: (\w+(?:, \w+)*)\)$/;
    const opened = {
      capacity: () => memory(wrong),
      db: () => redis(wrong),
      region: () => aws(wrong),
      raiseLimit: () => ipc(wrong),
      sendTimeout: () => t.open(wrong),
      namespace: () => tsmq.init(t.provider, wrong),
    };
    await each(opened, async (open, known) => {
      const { message } = await rejects(async () => await open(), ValidationError);
      ok((list.exec(message)?.[1] ?? "").split(", ").includes(known), message);
    });
  },

  "a wrong value of an option is refused by each verb, which names itself and the option": async (t) => {
    const bus = await t.open();
    const queue = t.queue<unknown>(bus, "q");
    await queue.put(1);
    await using lease = await queue.receive();
    const no = (value: unknown) => value as never;
    const handler = () => {};
    const group = (options: object) => bus.subscribe("t", handler, { group: "g", ...options });
    const verbs: Verbs = {
      'put into queue "q": timeout must be a number of at least 0, not -1': () => queue.put(1, { timeout: -1 }),
      'put into queue "q": signal must be an AbortSignal, not an object': () => queue.put(1, { signal: no({}) }),
      'get from queue "q": timeout must be a number of at least 0, not "9"': () => queue.get({ timeout: no("9") }),
      'receive from queue "q": lease must be a number of at least 1, not 0': () => queue.receive({ lease: 0 }),
      'receive from queue "q": lease must not be Infinity: ': () => queue.receive({ lease: Infinity }),
      'give back an item of queue "q": delay must be a number of at least 0, not NaN': () => lease.nack({ delay: NaN }),
      'consume queue "q": maxAttempts must be a number of at least 1, not 0; Infinity means no limit': () =>
        queue.consume(handler, { maxAttempts: 0 }),
      'consume queue "q": concurrency must be a whole number, not 1.5': () =>
        queue.consume(handler, { concurrency: 1.5 }),
      'consume queue "q": lease must be a number of at least 1, not 0': () => queue.consume(handler, { lease: 0 }),
      'consume queue "q": handlerTimeout must be a number of at least 1, not 0; Infinity means no limit': () =>
        queue.consume(handler, { handlerTimeout: 0 }),
      'consume queue "q": backoff must be milliseconds or a function that returns them, not a string': () =>
        queue.consume(handler, { backoff: no("1s") }),
      'consume queue "q": deadLetter is empty; pass a name': () => queue.consume(handler, { deadLetter: "" }),
      'use queue "q": deadLetter must be a string, not 7': () => bus.queue("q", { deadLetter: no(7) }),
      'use queue "q": schema must be a Standard Schema, not a string': () => bus.queue("q", { schema: no("int") }),
      'use topic "t": schema must be a Standard Schema, not a string': () => bus.topic("t", { schema: no("int") }),
      'peek into queue "q": limit must be a whole number from 1 to 10000, not 1000000000': () =>
        queue.peek({ limit: 1e9 }),
      'peek into queue "q": offset must be a number of at least 0, not -1': () => queue.peek({ offset: -1 }),
      'peek into the dead letters of queue "q": limit must be a whole number from 1 to 10000, not 0': () =>
        queue.dead.peek({ limit: 0 }),
      'retry the dead letters of queue "q": limit must be a number of at least 1, not 0': () =>
        queue.dead.retry({ limit: 0 }),
      'purge the dead letters of queue "q": only must be a function, not an object': () =>
        queue.dead.purge({ only: no({}) }),
      'subscribe to "t": concurrency must be a number of at least 1, not 0': () =>
        bus.subscribe("t", handler, { concurrency: 0 }),
      'subscribe to "t": maxAttempts needs a group': () => bus.subscribe("t", handler, { maxAttempts: 2 }),
      'subscribe to "t": group contains "@", which has a special meaning in queue names': () => group({ group: "a@b" }),
      'subscribe to "t": maxAttempts must be a number of at least 1, not 0': () => group({ maxAttempts: 0 }),
      'subscribe to "t": lease must be a number of at least 1, not 0': () => group({ lease: 0 }),
      'create a stub of "add": timeout must be a number of at least 1, not 0; Infinity means no limit': () =>
        bus.stub("add", { timeout: 0 }),
      'read a stream of "add": signal must be an AbortSignal, not "now"': () =>
        bus.stream("add", { signal: no("now") }),
      'expose "add": concurrency must be a number of at least 1, not 0': () => bus.expose(add, { concurrency: 0 }),
      'expose "add": authorize must be a function, not true': () => bus.expose(add, { authorize: no(true) }),
      'create procedure "p": returns must be a Standard Schema, not a string': () =>
        tsmq.procedure("p", { returns: no("int") }),
      "close the bus: timeout must be a number of at least 0, not -1": () => bus.close({ timeout: -1 }),
    };
    await each(verbs, async (use, text) => {
      const { message, part, issues } = await rejects(() => use(no(undefined)), ValidationError);
      equal(message.slice(0, `Cannot ${text}`.length), `Cannot ${text}`);
      equal([part, issues[0]?.path], ["options", /: (\w+) /.exec(text)?.slice(1)]);
    });
    equal([await queue.qsize(), bus.health().subscriptions], [0, 0]);
  },

  "expose() without a function says that it is missing": async (t) => {
    const bus = await t.open();
    const missing = { "a procedure": tsmq.procedure("add"), "a name": "add" };
    await each(missing, async (target, what) => {
      const first = what === "a name" ? '"add"' : "procedure";
      const text =
        `Cannot expose "add": pass the function that serves it as the second argument, as in expose(${first}, fn)`;
      for (const expose of [bus.expose.bind(bus), tsmq.expose]) {
        const { message } = await rejects(() => expose(target as never), ValidationError);
        equal(message, `${text}; it is undefined`);
        const { message: options } = await rejects(() => expose(target as string, {} as never), ValidationError);
        equal(options, `${text}; it is an object`);
      }
    });
  },

  "unknown options are refused before init() too": async () => {
    const wrong = { concurency: 1 } as never;
    const text = "concurency is not an option (did you mean concurrency?)";
    const subscribed = await rejects(() => tsmq.subscribe("t", () => {}, wrong), ValidationError);
    equal(subscribed.message, `Cannot subscribe to "t": ${text}`);
    const exposed = await rejects(() => tsmq.expose(add, wrong), ValidationError);
    equal(exposed.message, `Cannot expose "add": ${text}`);
  },

  "expose() refuses a third argument after the options": async (t) => {
    const bus = await t.open();
    const text = "the options are the second argument, and a third is given";
    const twice = bus.expose as (...args: unknown[]) => Promise<void>;
    const exposed = await rejects(() => twice.call(bus, add, {}, {}), ValidationError);
    equal(exposed.message, `Cannot expose "add": ${text}`);
    const object = await rejects(() => twice.call(bus, new Order(), { concurrency: 1 }, {}), ValidationError);
    equal(object.message, `Cannot expose "kit.order": ${text}`);
  },

  "the error of a schema says which part is invalid": async (t) => {
    const [server, caller] = await t.buses(2) as [Bus, Bus];
    t.errors(server);
    t.errors(caller);
    const partOf = async (use: () => unknown) => (await rejects(use, ValidationError)).part;
    const wrong = tsmq.procedure("wrong", { args: pair, returns: amount });
    await server.expose("wrong", () => -1);
    equal(await partOf(() => caller.stub(wrong)(1, "2" as never)), "arguments");
    equal(await partOf(() => caller.stub("wrong")(() => {})), "arguments");
    equal(await partOf(() => caller.stub(wrong)(1, 2)), "result");
    const [result] = await caller.stub(wrong, { multi: true })(1, 2);
    equal(result?.status === "rejected" && result.reason.part, "result");
    await server.expose("values", async function* () {
      yield -1;
    });
    const values = caller.stream(tsmq.procedure("values", { yields: amount }));
    equal(await partOf(() => values()[Symbol.asyncIterator]().next()), "result");
    equal(await partOf(() => caller.topic("t", { schema: amount }).publish(-1)), "event");
    const queue = caller.queue("q", { schema: length });
    equal(await partOf(() => queue.put(1 as never)), "item");
    await t.queue<unknown>(caller, "q").put(1);
    equal(await partOf(() => queue.get()), "item");
    equal(await partOf(() => caller.queue("")), undefined);
  },
};
