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

  "0 as a timeout or a limit is refused with the value for no limit": async (t) => {
    const bus = await t.open();
    const { message } = await rejects(() => bus.stub("add", { timeout: 0 }), ValidationError);
    equal(message, "Cannot use 0 as a timeout: it is not a number of at least 1; Infinity means no limit");
    const lease = await rejects(() => bus.queue("q").consume(() => {}, { lease: 0 }), ValidationError);
    equal(lease.message, "Cannot use 0 as a lease: it is not a number of at least 1");
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
