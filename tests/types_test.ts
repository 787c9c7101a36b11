/** The types that the compiler infers at call sites. `deno check` is the test; running the file adds nothing. */
import { assertEquals } from "@std/assert";
import { it } from "@std/testing/bdd";
import { assertType, type IsExact } from "@std/testing/types";
import * as v from "valibot";
import {
  type Bus,
  type BusError,
  type BusErrorEvent,
  type BusEventMap,
  type BusState,
  type CurrentCall,
  currentCall,
  type DeadLetter,
  type EventClass,
  type Gap,
  type Lease,
  type Message,
  type MessageHeaders,
  type ObjectStub,
  type Procedure,
  procedure,
  type RpcResponse,
  type Stub,
  type Subscription,
} from "../mod.ts";
import type * as tsmq from "../mod.ts";

class Order {
  static readonly topic = "shop.order";
  constructor(readonly id: number) {}
  total(): number {
    return this.id;
  }
}

class Service {
  readonly name: string = "service";
  add(a: number, b: number): number {
    return a + b;
  }
  async find(id: string): Promise<Order | undefined> {
    return await Promise.resolve(id ? new Order(1) : undefined);
  }
  async *ticks(count: number): AsyncGenerator<Order> {
    for (let i = 0; i < count; i++) yield new Order(i);
  }
  async _serve(bus: Bus): Promise<void> {
    await bus.expose(this);
    await bus.expose(this, { concurrency: 2 });
  }
  _hidden(): void {}
}

async function* alphabet(count: number): AsyncGenerator<string> {
  yield* "letters".slice(0, count);
}

function divide(a: number, b: number): number {
  return a / b;
}

const price = v.object({ symbol: v.string(), at: v.pipe(v.string(), v.transform((text) => new Date(text))) });
type PriceIn = { symbol: string; at: string };
type PriceOut = { symbol: string; at: Date };
const sum = procedure("sum", { args: v.tuple([v.array(v.number())]), returns: v.number() });
const at = procedure("at", {
  args: v.tuple([price]),
  returns: v.pipe(v.string(), v.transform((text) => new Date(text))),
});
const rows = procedure("rows", { args: v.tuple([v.number()]), yields: price });
const ids = procedure<(from: number) => AsyncIterable<number>>("ids");
const plain = procedure<(id: number, name?: string) => Promise<boolean>>("plain");

/** Compiled, never called. The global API and a bus have the same types. */
export async function calls(bus: Bus | typeof tsmq): Promise<void> {
  // subscribe: the handler's event comes from the class, the topic, the schema, the type argument, else it is unknown
  bus.subscribe(Order, (order, message) => {
    assertType<IsExact<typeof order, Order>>(true);
    assertType<IsExact<typeof message, Message>>(true);
  });
  bus.subscribe("prices", (event) => assertType<IsExact<typeof event, unknown>>(true));
  bus.subscribe<PriceIn>("prices", (event) => assertType<IsExact<typeof event, PriceIn>>(true));
  bus.subscribe("prices", (event: PriceIn) => event.at, { concurrency: 3 });
  bus.subscribe("p*", (event) => assertType<IsExact<typeof event, PriceOut>>(true), { schema: price, pattern: true });
  bus.subscribe(Order, (order, { attempt, signal }) => {
    assertType<IsExact<typeof order, Order>>(true);
    assertType<IsExact<typeof attempt, number | undefined>>(true);
    assertType<IsExact<typeof signal, AbortSignal | undefined>>(true);
  }, { group: "billing", lease: 1, maxAttempts: 2, backoff: (n) => n, deadLetter: "dead", handlerTimeout: 9 });
  const backoff = (attempt: number, error: unknown) => error instanceof TypeError ? Infinity : attempt;
  bus.subscribe(Order, () => {}, { group: "billing", backoff });
  bus.queue("jobs").consume(() => {}, { backoff });
  bus.queue("jobs").consume(() => {}, {
    backoff: (attempt, error) => {
      assertType<IsExact<typeof attempt, number>>(true);
      assertType<IsExact<typeof error, unknown>>(true);
      return attempt;
    },
  });
  // @ts-expect-error a group is a name
  bus.subscribe("prices", () => {}, { group: 7 });
  const subscription = bus.subscribe("prices", () => {});
  assertType<IsExact<ReturnType<typeof subscription.free>, Promise<void>>>(true);
  assertType<IsExact<typeof subscription, Subscription>>(true);
  // @ts-expect-error the class says what the handler gets
  bus.subscribe(Order, (order: string) => order);
  // @ts-expect-error a subscription has a handler
  bus.subscribe(Order);
  const anyClass: EventClass = Order;
  bus.subscribe(anyClass, (event) => assertType<IsExact<typeof event, unknown>>(true));
  await bus.unsubscribe(Order, (order: Order) => order.total());

  // topics: one publishes what the schema takes, and handles what it gives
  const prices = bus.topic("prices", { schema: price });
  await prices.publish({ symbol: "ACME", at: "2026-01-01" });
  // @ts-expect-error the schema's output is not what one publishes
  await prices.publish({ symbol: "ACME", at: new Date() });
  prices.subscribe((event) => assertType<IsExact<typeof event, PriceOut>>(true));
  bus.subscribe(prices, (event) => assertType<IsExact<typeof event, PriceOut>>(true));
  for await (const event of prices) assertType<IsExact<typeof event, PriceOut>>(true);
  const numbers = bus.topic<number>("numbers", { pattern: false });
  numbers.subscribe((n) => assertType<IsExact<typeof n, number>>(true));
  bus.subscribe(Order, (event) => assertType<IsExact<typeof event, PriceOut>>(true), { schema: price });
  bus.subscribe(numbers, (event) => assertType<IsExact<typeof event, PriceOut>>(true), { schema: price });
  // @ts-expect-error a topic of numbers
  await numbers.publish("1");
  bus.topic("anything").subscribe((event) => assertType<IsExact<typeof event, unknown>>(true));

  class Basket {
    constructor(readonly id: string) {}
    static revive(fields: Record<string, unknown>): Basket {
      return new Basket(String(fields.id));
    }
  }
  bus.subscribe(Basket, (basket) => assertType<IsExact<typeof basket, Basket>>(true));
  class Wrong {
    readonly id = 1;
    static revive(fields: Record<string, unknown>): number {
      return Object.keys(fields).length;
    }
  }
  // @ts-expect-error revive() makes an instance of its class
  bus.subscribe(Wrong, (wrong: Wrong) => wrong.id);

  // publish
  const reached = await bus.publish(new Order(1));
  assertType<IsExact<typeof reached, number | undefined>>(true);
  await bus.publish("any value", "topic");
  await bus.publish(7, numbers);
  const headers: MessageHeaders = { tenant: "acme" };
  await bus.publish(new Order(1), { headers });
  await bus.publish("any value", "topic", { headers });
  await bus.publish(7, numbers, { headers: { tenant: "acme" } });
  await numbers.publish(7, { headers });
  const tasks = bus.topic<{ run: (n: number) => void }>("tasks");
  await bus.publish({ run: (n) => assertType<IsExact<typeof n, number>>(true) }, tasks); // the topic types the event
  await bus.publish({ run: (n) => assertType<IsExact<typeof n, number>>(true) }, tasks, { headers });
  // @ts-expect-error the value of a header is a string
  await bus.publish("any value", "topic", { headers: { tenant: 7 } });
  // @ts-expect-error options have only headers
  await bus.publish(new Order(1), { header: {} });
  // @ts-expect-error a primitive has no class to name its topic
  await bus.publish("text");

  // queues
  const queue = bus.queue("prices", { schema: price });
  await queue.put({ symbol: "ACME", at: "2026-01-01" }, { timeout: 100 });
  await queue.put({ symbol: "ACME", at: "2026-01-01" }, { headers, timeout: 100 });
  await queue.putNowait({ symbol: "ACME", at: "2026-01-01" }, { headers });
  // @ts-expect-error the schema's input is what one puts
  await queue.putNowait({ symbol: "ACME" });
  const item = await queue.get();
  assertType<IsExact<typeof item, PriceOut>>(true);
  const lease = await queue.receive({ lease: 1_000 });
  assertType<IsExact<typeof lease.headers, MessageHeaders>>(true);
  assertType<IsExact<typeof lease.signal, AbortSignal>>(true);
  queue.consume(() => {}, { handlerTimeout: 1_000 });
  await queue.put({ symbol: "ACME", at: "2026-01-01" }, { delay: 1_000 });
  const [peeked] = await queue.peek({ limit: 1, offset: 2 });
  if (peeked) {
    assertType<IsExact<typeof peeked.item, PriceOut | undefined>>(true);
    assertType<IsExact<typeof peeked.attempt, number>>(true);
    assertType<IsExact<typeof peeked.headers, MessageHeaders>>(true);
    if (peeked.error) assertType<IsExact<typeof peeked.body, string>>(true);
    else assertType<IsExact<typeof peeked.item, PriceOut>>(true);
  }
  const stats = await queue.stats();
  assertType<IsExact<typeof stats.leased, number | undefined>>(true);
  const letters = await queue.dead.peek();
  assertType<IsExact<NonNullable<typeof letters[0]>["item"], DeadLetter<PriceIn> | undefined>>(true);
  const counts = [await queue.dead.size(), await queue.dead.retry({ limit: 1 }), await queue.dead.purge()];
  assertType<IsExact<typeof counts, number[]>>(true);
  const purged = await queue.purge();
  assertType<IsExact<typeof purged, number | undefined>>(true);
  bus.queue("prices", { schema: price, deadLetter: "graveyard" });
  // @ts-expect-error a delay is a number of milliseconds
  await queue.put({ symbol: "ACME", at: "2026-01-01" }, { delay: "1 s" });
  assertType<IsExact<typeof lease, Lease<PriceOut>>>(true);
  queue.consume((event, held) => {
    assertType<IsExact<typeof event, PriceOut>>(true);
    assertType<IsExact<typeof held, Lease<PriceOut>>>(true);
  });
  for await (const event of queue) assertType<IsExact<typeof event, PriceOut>>(true);
  const orders = await bus.queue<Order>("orders").getNowait();
  assertType<IsExact<typeof orders, Order>>(true);
  const unknown = await bus.queue("unknown").get();
  assertType<IsExact<typeof unknown, unknown>>(true);

  // stubs: by procedure, function, class, name
  const total = await bus.stub(sum)([1, 2]);
  assertType<IsExact<typeof total, number>>(true);
  // @ts-expect-error the arguments are those of the schema
  await bus.stub(sum)("1");
  const when = await bus.stub(at)({ symbol: "ACME", at: "2026-01-01" });
  assertType<IsExact<typeof when, Date>>(true);
  const yes = await bus.stub(plain)(1, "name");
  assertType<IsExact<typeof yes, boolean>>(true);
  await bus.stub(plain)(1);
  // @ts-expect-error a number first
  await bus.stub(plain)("1");
  const quotient = await bus.stub(divide)(1, 2);
  assertType<IsExact<typeof quotient, number>>(true);
  const typed = await bus.stub<typeof divide>("divide", { timeout: 100 })(1, 2);
  assertType<IsExact<typeof typed, number>>(true);
  const named = await bus.stub("divide")(1, "anything", {});
  assertType<IsExact<typeof named, unknown>>(true);
  const all = await bus.stub(divide, { multi: true })(1, 2);
  assertType<IsExact<typeof all, PromiseSettledResult<number>[]>>(true);
  const totals = await bus.stub(sum, { multi: true })([1]);
  assertType<IsExact<typeof totals, PromiseSettledResult<number>[]>>(true);
  const allNamed = await bus.stub("divide", { multi: true })(1, 2);
  assertType<IsExact<typeof allNamed, PromiseSettledResult<unknown>[]>>(true);
  const raw = await bus.stub(divide).rpc(1, 2);
  assertType<IsExact<typeof raw, RpcResponse<number>>>(true);
  const raws = await bus.stub(divide, { multi: true }).rpc(1, 2);
  assertType<IsExact<typeof raws, RpcResponse<number>[]>>(true);

  const service = bus.stub(Service);
  assertType<IsExact<typeof service, ObjectStub<Service>>>(true);
  assertType<IsExact<keyof typeof service, "add" | "find">>(true);
  const added = await service.add(1, 2);
  assertType<IsExact<typeof added, number>>(true);
  const found = await service.find("x");
  assertType<IsExact<typeof found, Order | undefined>>(true);
  const each = await bus.stub(Service, { multi: true }).find("x");
  assertType<IsExact<typeof each, PromiseSettledResult<Order | undefined>[]>>(true);
  // @ts-expect-error what is no method is no remote
  service.name;
  // @ts-expect-error what begins with _ is no remote
  service._hidden();

  // streams: by procedure, function, name
  for await (const row of bus.stream(rows)(1)) assertType<IsExact<typeof row, PriceOut>>(true);
  for await (const id of bus.stream(ids)(1)) assertType<IsExact<typeof id, number>>(true);
  for await (const letter of bus.stream(alphabet)(3)) assertType<IsExact<typeof letter, string>>(true);
  for await (const letter of bus.stream<typeof alphabet>("letters")(3)) {
    assertType<IsExact<typeof letter, string>>(true);
  }
  for await (const order of bus.stream<Service["ticks"]>("Service.ticks")(3)) {
    assertType<IsExact<typeof order, Order>>(true);
  }
  const anything = bus.stream("fn", { timeout: 1, headers, signal: new AbortController().signal });
  for await (const value of anything(1, "x")) assertType<IsExact<typeof value, unknown>>(true);
  // @ts-expect-error the arguments are those of the schema
  bus.stream(rows)("1");
  // @ts-expect-error a stream is no call
  bus.stub(rows);
  // @ts-expect-error a stream is no call
  bus.stub(ids, { multi: true });
  // @ts-expect-error a stream is no call
  bus.stub(alphabet);
  // @ts-expect-error a call is no stream
  bus.stream(sum);
  // @ts-expect-error a call is no stream
  bus.stream(divide);
  // @ts-expect-error every stream has one server
  bus.stream("fn", { multi: true });
  // @ts-expect-error a function has a result or values
  procedure("both", { returns: v.number(), yields: v.number() });
  await bus.expose(rows, async function* (count) {
    assertType<IsExact<typeof count, number>>(true);
    yield { symbol: "ACME", at: "2026-01-01" };
  });
  await bus.expose(ids, async function* (from) {
    yield from;
  });
  // @ts-expect-error the function yields what the schema takes
  await bus.expose(rows, async function* () {
    yield "ACME";
  });

  // expose: a procedure says what its function takes and gives
  await bus.expose(sum, (numbers) => {
    assertType<IsExact<typeof numbers, number[]>>(true);
    return numbers.length;
  });
  await bus.expose(at, ({ at }) => {
    assertType<IsExact<typeof at, Date>>(true);
    return Promise.resolve(at.toISOString());
  });
  await bus.expose(plain, (id) => Promise.resolve(id > 0));
  await bus.expose(plain, (id) => id > 0);
  await bus.expose(procedure<(id: number) => string>("at once"), (id) => Promise.resolve(String(id)));
  const annotated: Procedure<typeof divide> = procedure("divide");
  await bus.expose(annotated, (a, b) => Promise.resolve(divide(a, b)));
  // @ts-expect-error the function must give what its type says, now or later
  await bus.expose(annotated, () => Promise.resolve("many"));
  // @ts-expect-error the function must give what the schema takes
  await bus.expose(sum, () => "many");
  // the types that a wrapper takes from a verb
  const [target, ...rest] = ["name", () => {}] satisfies Parameters<typeof bus.expose>;
  await bus.expose(target, ...rest);
  assertType<IsExact<ReturnType<typeof bus.stub<typeof divide>>, Stub<typeof divide>>>(true);
  await bus.expose(divide);
  await bus.expose("named", (a: number) => a);
  await bus.expose(new Service());
  await (<T extends object>(service: T) => bus.expose(service))(new Service());
  await bus.expose({ divide });
  await bus.expose({ divide } as Record<string, typeof divide>);
  await bus.expose(new Service(), "add");
  // @ts-expect-error no such method
  await bus.expose(new Service(), "none");
  await bus.expose(new Service(), ["add", "find"], { concurrency: 2 });
  // @ts-expect-error no such method
  await bus.expose(new Service(), ["none"]);
  // @ts-expect-error a field is no method
  await bus.expose(new Service(), "name");
  await bus.expose(divide, { concurrency: 1 });
  await bus.expose("named", (a: number) => a, { concurrency: 1 });
  await bus.expose(sum, (numbers) => numbers.length, { concurrency: 1 });
  await bus.expose({ add: (a: number, b: number) => a + b }, { concurrency: 1 });
  await bus.expose({ add: (a: number, b: number) => a + b }, "add");
  // @ts-expect-error no such option
  await bus.expose(divide, { parallel: 1 });
  // @ts-expect-error the name stands first
  await bus.expose(divide, "divide");

  // what is no method is no member of a stub: arrow fields, getters
  class Loose {
    readonly arrow = (text: string) => text;
    field = (text: string) => text;
    get getter(): () => void {
      return () => {};
    }
    method(text: string): string {
      return text;
    }
    nothing(): void {}
    async overloaded(text: string): Promise<string>;
    async overloaded(text: number): Promise<number>;
    async overloaded(value: unknown): Promise<unknown> {
      return await Promise.resolve(value);
    }
    generic<T>(value: T): T {
      return value;
    }
    rest(...values: number[]): number {
      return values.length;
    }
  }
  const loose = bus.stub(Loose);
  assertType<IsExact<keyof typeof loose, "method" | "nothing" | "overloaded" | "generic" | "rest">>(true);
  // @ts-expect-error an arrow field is no method
  loose.field;

  // decorators and wrappers keep what they wrap
  const wrapped = bus.remote("name")(divide);
  assertType<IsExact<typeof wrapped, typeof divide>>(true);
  const handler = bus.subscriber("topic")((event: number) => event);
  assertType<IsExact<typeof handler, (event: number) => number>>(true);
  class Decorated {
    @bus.remote()
    add(a: number, b: number): number {
      return a + b;
    }
    @bus.subscriber(Order)
    async onOrder(order: Order, message: Message): Promise<void> {
      await Promise.resolve([order, message]);
    }
  }
  new Decorated().add(1, 2);
}

/** The events of a bus, and the call of a served function. */
export function listeners(bus: Bus): void {
  bus.addEventListener("error", (event) => {
    assertType<IsExact<typeof event, BusErrorEvent>>(true);
    assertType<IsExact<typeof event.error, unknown>>(true);
  });
  bus.addEventListener("gap", (event) => assertType<IsExact<typeof event.detail, Gap>>(true), { once: true });
  bus.addEventListener("state", { handleEvent: (event) => assertType<IsExact<typeof event.detail, BusState>>(true) });
  bus.addEventListener("state", ({ error }) => assertType<IsExact<typeof error, BusError | undefined>>(true));
  const listener = (event: BusEventMap["state"]) => event.detail === "up";
  bus.addEventListener("state", listener);
  bus.removeEventListener("state", listener);
  bus.addEventListener("custom", (event) => assertType<IsExact<typeof event, Event>>(true));
  // @ts-expect-error a "gap" has a Gap
  bus.addEventListener("gap", (event: BusErrorEvent) => event.error);
  const call = currentCall();
  assertType<IsExact<typeof call, CurrentCall | undefined>>(true);
  bus.stub("fn", { headers: { user: "ada" }, timeout: 1 });
  // @ts-expect-error headers are an object of strings
  bus.stub("fn", { headers: "user=ada" });
}

it("the types of the API are those that its users expect", () => {
  assertEquals(typeof calls, "function"); // the compiler has judged it
});
