// run: on deno, waiting, deadline 300
import { assert, assertEquals, assertMatch, assertRejects } from "@std/assert";
import { afterAll, beforeAll, describe } from "@std/testing/bdd";
import { Bus } from "../../src/bus.ts";
import { ProviderError } from "../../src/errors.ts";
import { Names } from "../../src/providers/aws/names.ts";
import { aws, type AwsCredentials, type AwsOptions } from "../../src/providers/aws/provider.ts";
import type { Filter } from "../../src/provider/provider.ts";
import { sideBySide } from "../support/side_by_side.ts";
import { PATIENCE, pause, until } from "../support/until.ts";
import { type Emulator, itProxied, proxied, startEmulator } from "./emulator.ts";
import { fresh, type Halves, open } from "./halves.ts";
import { type Fault, HttpProxy, type Seen } from "./http_proxy.ts";

const THROTTLED: Fault = { status: 400, name: "ThrottlingException" };
const BROKEN: Fault = { status: 503, name: "ServiceUnavailable" };
const DENIED: Fault = { status: 403, name: "AccessDeniedException" };
const EXPIRED: Fault = { status: 403, name: "ExpiredTokenException" };

/** Tests that run at a time: they wait for retries and for leases. */
const LANES = 6;

/** The faults that leave the outcome of a request unknown. */
const UNSURE: readonly Fault[] = [BROKEN, "hang", "cut", "lose"];
/** The name of a fault in the name of a test. */
const named = (fault: Fault) => typeof fault === "object" && "name" in fault ? fault.name : fault;

const exact = (topic: string): Filter => ({ topic, pattern: false, serves: false });

/** The emulator behind a proxy of one test. */
class Scene {
  readonly proxy: HttpProxy;
  readonly options: AwsOptions;
  /** Queues to remove at the end. */
  readonly used: [namespace: string, queue: string][] = [];

  constructor(emulator: Emulator, proxy: HttpProxy) {
    this.proxy = proxy;
    this.options = { ...emulator.through(proxy.port), attempts: 3, poll: 1_000 };
  }

  /** Opens both halves in a new namespace, and clears the recorded requests. */
  readonly start = async (more: AwsOptions = {}, queue?: string, sendTimeout = PATIENCE): Promise<Halves> => {
    this.proxy.fault = () => undefined;
    const halves = await open({ ...this.options, ...more }, { sendTimeout });
    if (queue !== undefined) this.used.push([halves.namespace, queue]);
    this.proxy.seen.length = 0;
    return halves;
  };

  /** A bus that reports no error. */
  readonly bus = (namespace: string): Promise<Bus> => {
    this.proxy.fault = () => undefined;
    return Bus.open(aws(this.options), { namespace, sendTimeout: 3_000 });
  };

  async close(): Promise<void> {
    this.proxy.fault = () => undefined;
    for (const [namespace, queue] of this.used) {
      await using halves = await open(this.options, { namespace });
      await halves.sender.drop(queue);
    }
    await this.proxy.close();
  }
}

/**
 * Returns whether a request publishes to a topic. The bus may also publish to the topic of pattern subscribers: it remembers for a second
 * that this topic does not exist.
 */
function toTopic(namespace: string): (seen: Seen) => boolean {
  const all = encodeURIComponent(new Names(namespace).all);
  return ({ action, body }) => action === "sns:PublishBatch" && !body.includes(all);
}

describe("a service that fails", () => {
  let emulator: Emulator;
  beforeAll(async () => void (emulator = await startEmulator()));
  afterAll(() => emulator.stop());

  const registered = proxied ? sideBySide(LANES) : itProxied;
  const it = (name: string, test: (scene: Scene) => Promise<void>) =>
    registered(name, async () => {
      const scene = new Scene(emulator, await HttpProxy.to(emulator.port));
      try {
        await test(scene);
      } finally {
        await scene.close();
      }
    });

  it("throttled requests of all kinds are retried with backoff, and done once", async ({ proxy, start }) => {
    await using halves = await start({}, "jobs");
    const got: string[] = [];
    await halves.receiver.subscribe(exact("t"), (_, body) => got.push(body));
    await halves.sender.publish("t", "first");
    const events = toTopic(halves.namespace);
    const items = ({ action }: Seen) => action === "sqs:SendMessageBatch";
    for (const asked of [events, items]) proxy.next(asked, THROTTLED, 2);
    proxy.seen.length = 0;
    await halves.sender.publish("t", "second");
    await halves.sender.send("jobs", "item", { wait: 0 });
    await until("the events arrive", () => got.length >= 2);
    assertEquals(got.toSorted(), ["first", "second"]);
    assertEquals(await halves.bodies("jobs", { max: 10, wait: PATIENCE }), ["item"]);
    for (const [what, asked] of Object.entries({ events, items })) {
      const [first, second, third, ...more] = proxy.seen.filter(asked).map(({ at }) => at) as [number, number, number];
      assertEquals(more, [], what);
      const pauses = [second - first, third - second] as const;
      assert(pauses[0] >= 95 && pauses[1] >= 195, `${what}: pauses of ${pauses} ms`); // half of 200, of 400
    }
  });

  it("a request that is always throttled is unavailable and retryable after the configured attempts", async ({ proxy, start }) => {
    await using halves = await start();
    proxy.fault = ({ action }) => action === "sns:PublishBatch" ? THROTTLED : undefined;
    const error = await assertRejects(() => halves.sender.publish("t", "x"), ProviderError);
    assertEquals({ code: error.code, retryable: error.retryable }, { code: "unavailable", retryable: true });
    assert(proxy.count("sns:PublishBatch") <= 6, "three for the topic, three for the pattern subscribers");
  });

  it("requests that come too soon, or that KMS throttles, are retried", async ({ proxy, start }) => {
    await using halves = await start({}, "jobs");
    proxy.next("sns:CreateTopic", { status: 400, name: "StaleTag" });
    proxy.next("sns:CreateTopic", { status: 400, name: "ConcurrentAccess" });
    await halves.receiver.subscribe(exact("t"), () => {});
    assertEquals(proxy.count("sns:CreateTopic"), 3);
    proxy.next("sns:PublishBatch", { status: 400, name: "KMSThrottling" });
    await halves.sender.publish("t", "x");
    proxy.next("sqs:SendMessageBatch", { status: 400, name: "KmsThrottled", code: "KMS.ThrottlingException" });
    await halves.sender.send("jobs", "item", { wait: 0 });
    assertEquals(proxy.count("sqs:SendMessageBatch"), 2);
  });

  it("a refusal of any other kind is internal and not retried", async ({ proxy, start }) => {
    await using halves = await start();
    proxy.fault = ({ action }) => action === "sqs:GetQueueUrl" ? { status: 400, name: "InvalidAddress" } : undefined;
    const error = await assertRejects(() => halves.sender.size("jobs"), ProviderError);
    assertEquals({ code: error.code, retryable: error.retryable }, { code: "internal", retryable: false });
    assertEquals(proxy.count("sqs:GetQueueUrl"), 1);
    proxy.fault = () => undefined;
  });

  it("a queue that was freed a moment ago is unavailable, and the error says why", async ({ proxy, start }) => {
    await using halves = await start();
    const name = "QueueDeletedRecently";
    proxy.fault = ({ action }) =>
      action === "sqs:CreateQueue" ? { status: 400, name, code: `AWS.SimpleQueueService.${name}` } : undefined;
    const error = await assertRejects(
      () => halves.sender.send("jobs", "item", { wait: 0 }),
      ProviderError,
      "60 s after",
    );
    assertEquals({ code: error.code, retryable: error.retryable }, { code: "unavailable", retryable: true });
    proxy.fault = () => undefined;
  });

  it("a get whose time ends while the service is unreachable does not say that the queue is empty", async ({ proxy, bus }) => {
    await using one = await bus(fresh());
    const queue = one.queue("jobs");
    proxy.fault = () => "cut";
    await until("the bus notices", () => one.health().state === "down");
    const error = await assertRejects(() => queue.get({ timeout: 20 }), ProviderError);
    assertEquals(error.code, "unavailable");
    assertMatch(error.message, /^Cannot get from queue "jobs": AWS /);
    proxy.fault = () => undefined;
    await until("the bus is up", () => one.health().state === "up");
  });

  it("requests to a new queue are retried until SQS knows the queue", async ({ proxy, options, used }) => {
    const unknown: Fault = { status: 400, name: "QueueDoesNotExist", code: "AWS.SimpleQueueService.NonExistentQueue" };
    proxy.next("sqs:GetQueueAttributes", unknown, 2);
    const halves = await open({ ...options, attempts: 1 });
    used.push([halves.namespace, "jobs"]);
    proxy.next("sqs:SendMessageBatch", unknown, 3);
    await halves.sender.send("jobs", "item", { wait: 0 });
    assertEquals(await halves.bodies("jobs", { wait: 5_000 }), ["item"]);
    await halves.close();
    assertEquals(halves.said, []);
  });

  for (const fault of [...UNSURE, "tear"] satisfies Fault[]) {
    it(`a publish, a put and a post that may have been done are not repeated: ${named(fault)}`, async ({ proxy, start }) => {
      await using halves = await start({}, "jobs", fault === "hang" ? 2_000 : PATIENCE);
      const { sender, receiver } = halves;
      const got: string[] = [];
      await receiver.subscribe(exact("t"), (_, body) => got.push(body));
      await sender.publish("t", "before");
      await sender.send("jobs", "before", { wait: 0 });
      proxy.seen.length = 0;
      const event = toTopic(halves.namespace);
      proxy.next("sqs:SendMessageBatch", fault, 2);
      const others = proxy.fault;
      let published = false;
      proxy.fault = (seen) => {
        if (published || !event(seen)) return others(seen);
        published = true;
        return fault;
      };
      const verbs = {
        publish: () => sender.publish("t", "unsure"),
        send: () => sender.send("jobs", "unsure", { wait: 0 }),
        post: () => sender.post(receiver.inbox, "unsure"),
      };
      for (const [verb, send] of Object.entries(verbs)) {
        const error = await assertRejects(send, ProviderError, undefined, `${verb}, ${JSON.stringify(fault)}`);
        assertEquals({ code: error.code, retryable: error.retryable }, { code: "unavailable", retryable: true });
      }
      assertEquals([proxy.seen.filter(event).length, proxy.count("sqs:SendMessageBatch")], [1, 2]);
      await sender.publish("t", "after");
      await sender.post(receiver.inbox, "after");
      await until("what is after it arrives", () => got.includes("after") && halves.inbox.includes("after"));
      const done = fault === "lose" || fault === "tear" ? ["unsure"] : [];
      await until("what was done arrives", () => got.length === 2 + done.length);
      assertEquals(got.toSorted(), ["after", "before", ...done]);
      assertEquals(halves.inbox.toSorted(), ["after", ...done]);
      assertEquals((await halves.bodies("jobs", { max: 10, wait: PATIENCE })).toSorted(), ["before", ...done]);
    });
  }

  it("a refusal whose reply breaks off is unavailable", async ({ proxy, start }) => {
    await using halves = await start({ attempts: 1 });
    const verbs = {
      publish: () => halves.sender.publish("nobody", "x"), // SNS refuses, because the topic does not exist
      size: () => halves.sender.size("none"),
    };
    for (const [verb, run] of Object.entries(verbs)) {
      await run();
      proxy.fault = () => "tear";
      const error = await assertRejects(run, ProviderError, undefined, verb);
      assertEquals({ code: error.code, retryable: error.retryable }, { code: "unavailable", retryable: true }, verb);
      proxy.fault = () => undefined;
    }
  });

  it(
    "an item that no handler started is sent again, then deleted: it may be duplicated or counted, but is not lost",
    async ({ proxy, start }) => {
      await using halves = await start({}, "jobs");
      await halves.sender.send("jobs", "item", { wait: 0 });
      const untried = async (action: string) => {
        const [held] = await halves.receive("jobs", { lease: 2_000, wait: 10_000 });
        proxy.fault = (seen) => seen.action === action ? BROKEN : undefined;
        const settled = await halves.receiver.settle("jobs", [held!.receipt], "untried", 0).catch(() => "unknown");
        proxy.fault = () => undefined;
        return settled;
      };
      assertEquals(await untried("sqs:SendMessageBatch"), [true]);
      assertEquals(await untried("sqs:DeleteMessageBatch"), "unknown");
      const got: (string | number)[][] = [];
      await until("it came twice", async () => {
        const held = await halves.receive("jobs", { lease: 30_000, wait: 1_000, max: 10 });
        got.push(...held.map(({ body, attempt }) => [body, attempt]));
        return got.length === 2;
      });
      // the put that failed left it counted once, the lease that ended with it once more
      assertEquals(got.toSorted(), [["item", 2], ["item", 3]]);
    },
  );

  for (const fault of [BROKEN, "cut", "lose"] satisfies Fault[]) {
    it(`a put into a .fifo queue is repeated and puts one item: ${named(fault)}`, async ({ proxy, start }) => {
      await using halves = await start({}, "jobs.fifo");
      await halves.sender.size("jobs.fifo");
      proxy.next("sqs:SendMessageBatch", fault);
      await halves.sender.send("jobs.fifo", "item", { wait: 0 });
      assertEquals(proxy.count("sqs:SendMessageBatch"), 2);
      assertEquals(await halves.bodies("jobs.fifo", { max: 10, wait: PATIENCE }), ["item"]);
      assertEquals(await halves.bodies("jobs.fifo", { max: 10, wait: 0 }), []);
    });
  }

  for (const fault of [THROTTLED, BROKEN, "cut"] satisfies Fault[]) {
    it(`safe requests are repeated: subscribing, looking up, receiving, settling, extending, freeing: ${named(fault)}`, async ({ proxy, start }) => {
      await using halves = await start();
      const { sender, receiver } = halves;
      const failed = new Set<string>();
      // the first request for each action fails
      proxy.fault = ({ action }) => {
        const unsure = action === "sqs:SendMessageBatch" || action === "sns:PublishBatch";
        if (failed.has(action) || (unsure && fault !== THROTTLED)) return undefined;
        failed.add(action);
        return fault;
      };
      const server: Filter = { topic: "fn", pattern: false, serves: true };
      await receiver.subscribe(server, () => {});
      assertEquals(await sender.servers("fn"), [{ inbox: receiver.inbox }]);
      await sender.send("jobs", "item", { wait: 0 });
      assertEquals(await sender.size("jobs"), 1);
      const [held] = await halves.receive("jobs", { lease: 10_000, wait: PATIENCE });
      assertEquals(await receiver.extend("jobs", [held!.receipt], 20_000), [true]);
      assertEquals(await receiver.settle("jobs", [held!.receipt], "ack", 0), [true]);
      await receiver.unsubscribe(server);
      await sender.drop("jobs");
      assert(failed.size >= 10, [...failed].join());
      assertEquals(halves.said.filter((said) => said.startsWith("fault")), []);
    });
  }

  it("a safe request that is never answered is repeated in time", async ({ proxy, start }) => {
    await using halves = await start({}, "jobs", 5_000);
    await halves.sender.send("jobs", "item", { wait: 0 });
    for (const action of ["sqs:GetQueueUrl", "sqs:GetQueueAttributes"]) proxy.next(action, "hang");
    proxy.seen.length = 0;
    assertEquals(await halves.sender.size("jobs"), 1);
    assertEquals([proxy.count("sqs:GetQueueUrl"), proxy.count("sqs:GetQueueAttributes")], [2, 2]);
    proxy.fault = ({ action }) => action === "sqs:GetQueueUrl" ? "hang" : undefined;
    const error = await assertRejects(() => halves.sender.size("jobs"), ProviderError);
    assertEquals({ code: error.code, retryable: error.retryable }, { code: "unavailable", retryable: true });
    assertEquals(proxy.count("sqs:GetQueueUrl"), 5);
    proxy.fault = () => undefined;
  });

  it("a denied request rejects at once with denied and is not repeated", async ({ proxy, start }) => {
    await using halves = await start({}, "jobs");
    proxy.fault = ({ action }) => action === "sqs:ReceiveMessage" ? undefined : DENIED;
    const verbs = {
      publish: () => halves.sender.publish("t", "x"),
      send: () => halves.sender.send("jobs", "x", { wait: 0 }),
      size: () => halves.sender.size("jobs"),
      subscribe: () => halves.receiver.subscribe(exact("t"), () => {}),
    };
    const doing: Record<string, string> = {
      publish: 'publish to "t"',
      send: 'put into queue "jobs"',
      size: 'count the items of queue "jobs"',
      subscribe: 'subscribe to "t"',
    };
    for (const [verb, run] of Object.entries(verbs)) {
      proxy.seen.length = 0;
      const error = await assertRejects(run, ProviderError, `Cannot ${doing[verb]}: `, verb);
      assertEquals({ code: error.code, retryable: error.retryable }, { code: "denied", retryable: false }, verb);
      const bodies = proxy.seen.filter(({ action }) => action !== "sqs:ReceiveMessage").map(({ body }) => body);
      assertEquals(new Set(bodies).size, bodies.length, verb);
    }
    proxy.fault = () => undefined;
  });

  it("get() of an item that may not be deleted is denied; the item stays", async ({ proxy, start }) => {
    await using halves = await start({}, "jobs");
    const items = ["1", "2"];
    for (const item of items) await halves.sender.send("jobs", item, { wait: 0 });
    proxy.fault = ({ action }) => action === "sqs:DeleteMessageBatch" ? DENIED : undefined;
    for (const wait of [5_000, 0]) {
      const error = await assertRejects(() => halves.bodies("jobs", { wait }), ProviderError, "remove items");
      assertEquals(error.code, "denied");
    }
    proxy.fault = () => undefined;
    const got: string[] = [];
    await until("they are there again", async () => {
      got.push(...await halves.bodies("jobs", { max: 10, wait: 1_000 }));
      return got.length === 2;
    }, 30_000);
    assertEquals(got.toSorted(), items);
  });

  it("a lease begins when its item is received, even while more items are fetched", async ({ proxy, start }) => {
    await using halves = await start({}, "jobs");
    await Promise.all(Array.from({ length: 11 }, (_, i) => halves.sender.send("jobs", String(i), { wait: 0 })));
    let polls = 0;
    // the second poll, for the items that the first could not bring, is never answered
    proxy.fault = ({ action, body }) =>
      action === "sqs:ReceiveMessage" && !body.includes("tsmq-") && ++polls === 2 ? "hang" : undefined;
    const held = await halves.receive("jobs", { max: 20, lease: 9_000 });
    const end = performance.now() + 6_500; // 9 s after they were taken, they were waited for 3 s
    assertEquals(new Set(held.map(({ body }) => body)).size, held.length);
    const [first, ...others] = held.map(({ receipt }) => receipt);
    assertEquals(await halves.receiver.settle("jobs", [first!], "ack", 0), [true]);
    await pause(end - performance.now());
    assertEquals(new Set(await halves.receiver.settle("jobs", others, "ack", 0)), new Set([false]));
  });

  it("leases that were extended hold, even when others of the same call could not be extended", async ({ proxy, start }) => {
    await using halves = await start({}, "jobs");
    await Promise.all(Array.from({ length: 11 }, (_, i) => halves.sender.send("jobs", String(i), { wait: 0 })));
    const held: string[] = [];
    while (held.length < 11) {
      const taken = await halves.receive("jobs", { max: 10, lease: 8_000 });
      held.push(...taken.map(({ receipt }) => receipt));
    }
    proxy.fault = ({ action, body }) =>
      action === "sqs:ChangeMessageVisibilityBatch" && JSON.parse(body).Entries.length === 1 ? BROKEN : undefined;
    await assertRejects(() => halves.receiver.extend("jobs", held, 60_000), ProviderError);
    proxy.fault = () => undefined;
    await pause(8_500);
    const settled = await halves.receiver.settle("jobs", held, "ack", 0);
    assertEquals(settled.filter(Boolean).length, 10);
  });

  it(
    "the 12 hours of SQS count from the receipt, for the longest delay and the longest lease too",
    async ({ proxy, start }) => {
      await using halves = await start({}, "jobs");
      await halves.sender.send("jobs", "item", { wait: 0 });
      const longest = halves.provider.features.maxDelay;
      const [held] = await halves.receive("jobs", { lease: longest, wait: 5_000 });
      proxy.fault = ({ action, body }) => {
        const beyond = action === "sqs:ChangeMessageVisibilityBatch" &&
          JSON.parse(body).Entries.some(({ VisibilityTimeout }: { VisibilityTimeout: number }) =>
            VisibilityTimeout >= 43_200
          );
        const message = "Total VisibilityTimeout for the message is beyond the limit [43200 seconds]";
        return beyond ? { status: 400, name: "InvalidParameterValue", message } : undefined;
      };
      assertEquals(await halves.receiver.extend("jobs", [held!.receipt], longest), [true]);
      assertEquals(await halves.receiver.settle("jobs", [held!.receipt], "nack", longest), [true]);
      proxy.fault = () => undefined;
    },
  );

  it("expired credentials are asked for again: nothing is lost or reported", async ({ proxy, start }) => {
    let valid = 1;
    const credentials = (): AwsCredentials => ({ accessKeyId: `key${valid}`, secretAccessKey: "secret" });
    await using halves = await start({ credentials }, "jobs");
    const got: string[] = [];
    await halves.receiver.subscribe(exact("t"), (_, body) => got.push(body));
    await halves.sender.publish("t", "before");
    valid = 2; // the SDK does not know that the key in use expires
    proxy.fault = ({ key }) => key === "key2" ? undefined : EXPIRED;
    await halves.sender.publish("t", "after");
    await until("the events arrive", () => got.length === 2);
    await halves.sender.send("jobs", "item", { wait: 0 });
    assertEquals(await halves.bodies("jobs", { wait: 5_000 }), ["item"]);
    assertEquals(halves.said, []);
  });

  it("credentials that stay expired: denied, the bus is down, and its polls back off", async ({ proxy, start }) => {
    await using halves = await start();
    proxy.fault = () => EXPIRED;
    const error = await assertRejects(() => halves.sender.publish("t", "x"), ProviderError);
    assertEquals(error.code, "denied");
    await until("it is down", () => halves.said.includes("down"));
    const before = proxy.count("sqs:ReceiveMessage");
    await pause(2_000);
    const polls = proxy.count("sqs:ReceiveMessage") - before;
    assert(polls <= 12, `${polls} polls in 2 s`); // after 0.1, 0.2, 0.4, 0.8 s, doubled each time
    proxy.fault = () => undefined;
    await until("it is up again", () => halves.said.includes("up"));
  });

  it(
    "a clock that is an hour slow is corrected: refused requests are repeated, nothing is reported",
    async ({ proxy, start }) => {
      proxy.ahead = 3_600_000;
      try {
        await using halves = await start({ attempts: 1 }, "jobs");
        const got: string[] = [];
        await halves.receiver.subscribe(exact("t"), (_, body) => got.push(body));
        await halves.sender.publish("t", "event");
        await halves.sender.send("jobs", "item", { wait: 0 });
        await until("the event arrives", () => got.length > 0);
        assertEquals({ got, said: halves.said }, { got: ["event"], said: [] });
      } finally {
        proxy.ahead = 0;
      }
    },
  );

  for (const fault of [THROTTLED, BROKEN, "cut"] satisfies Fault[]) {
    it(`failing polls: the bus is down, then up, and the events of the meantime arrive: ${named(fault)}`, async ({ proxy, start }) => {
      await using halves = await start();
      const got: string[] = [];
      await halves.receiver.subscribe(exact("t"), (_, body) => got.push(body));
      proxy.fault = ({ action }) => action === "sqs:ReceiveMessage" ? fault : undefined;
      await until("it is down", () => halves.said.includes("down"));
      await halves.sender.publish("t", "meanwhile");
      proxy.fault = () => undefined;
      await until("the event arrives", () => got.length > 0);
      const states = halves.said.filter((said) => said === "down" || said === "up");
      assertEquals({ states, got }, { states: ["down", "up"], got: ["meanwhile"] });
    });
  }

  it("events that cannot be deleted are delivered again by SQS, but not to their handlers", async ({ proxy, start }) => {
    await using halves = await start();
    const got: string[] = [];
    await halves.receiver.subscribe(exact("t"), (_, body) => got.push(body));
    proxy.fault = ({ action }) => action === "sqs:DeleteMessageBatch" ? BROKEN : undefined;
    await halves.sender.publish("t", "event");
    await until("the failed deletion is reported", () => halves.said.some((said) => said.startsWith("fault")));
    const deletions = proxy.count("sqs:DeleteMessageBatch");
    proxy.fault = () => undefined;
    await until("it came again, and is deleted", () => proxy.count("sqs:DeleteMessageBatch") > deletions);
    await pause(500);
    assertEquals(got, ["event"]);
  });

  for (const fault of [THROTTLED, ...UNSURE]) {
    it(`a call is served once, even when its request or its answer fails: ${named(fault)}`, async ({ proxy, bus }) => {
      const namespace = fresh();
      await using server = await bus(namespace);
      await using caller = await bus(namespace);
      let served = 0;
      await server.expose("fn", (value: number) => (served++, value));
      const fn = caller.stub<(value: number) => number>("fn", { timeout: 20_000 });
      assertEquals(await fn(1), 1);
      for (const what of ["request", "answer"] as const) {
        served = 0;
        let failed = false;
        proxy.fault = ({ action, body }) => {
          const type = what === "request" ? "RpcRequest" : "RpcResponse";
          if (failed || action !== "sqs:SendMessageBatch" || !body.includes(type)) return undefined;
          failed = true;
          return fault;
        };
        assertEquals(await fn(2), 2, `${what}, ${JSON.stringify(fault)}`);
        assertEquals({ failed, served }, { failed: true, served: 1 }, `${what}, ${JSON.stringify(fault)}`);
      }
    });
  }
});
