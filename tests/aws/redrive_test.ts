// run: on deno, waiting
/**
 * Which queues may move items into a queue of tsmq. The emulator stores the attribute and moves items nevertheless, so these tests look at
 * the attribute, and cannot show that SQS moves no item.
 */
import { assert, assertEquals } from "@std/assert";
import { afterAll, beforeAll, describe } from "@std/testing/bdd";
import { CreateQueueCommand, GetQueueAttributesCommand } from "@aws-sdk/client-sqs";
import { Bus } from "../../src/bus.ts";
import { aws } from "../../src/providers/aws/provider.ts";
import { Names } from "../../src/providers/aws/names.ts";
import { until } from "../support/until.ts";
import { Admin } from "./admin.ts";
import { type Emulator, itProxied, startEmulator } from "./emulator.ts";
import { fresh, type Halves, open } from "./halves.ts";
import { HttpProxy, type Seen } from "./http_proxy.ts";

const DENIED = '{"redrivePermission":"denyAll"}';
const WAIT = { wait: 10_000 };

describe("other queues of the account", () => {
  let emulator: Emulator;
  let proxy: HttpProxy;
  let admin: Admin;
  const made: string[] = [];
  beforeAll(async () => {
    emulator = await startEmulator();
    proxy = await HttpProxy.to(emulator.port);
    admin = new Admin(emulator.options);
  });
  afterAll(async () => {
    for (const name of made) await admin.deleteQueue(name);
    admin[Symbol.dispose]();
    await proxy.close();
    await emulator.stop();
  });

  /** Creates a queue as another program does. Returns its name in SQS. */
  async function queueOf(namespace: string, RedriveAllowPolicy?: string): Promise<string> {
    const QueueName = new Names(namespace).queue("jobs");
    const Attributes = RedriveAllowPolicy === undefined ? undefined : { RedriveAllowPolicy };
    await admin.sqs.send(new CreateQueueCommand({ QueueName, Attributes }));
    made.push(QueueName);
    return QueueName;
  }

  /** Returns who may move items into a queue. */
  async function allowed(queue: string): Promise<string | undefined> {
    const command = new GetQueueAttributesCommand({
      QueueUrl: await admin.url(queue),
      AttributeNames: ["RedriveAllowPolicy"],
    });
    return (await admin.sqs.send(command)).Attributes?.RedriveAllowPolicy;
  }

  const start = (namespace: string) => open(emulator.through(proxy.port), { namespace });
  const put = (halves: Halves) => halves.sender.send("jobs", "item", { wait: 0 });
  const about = ({ body }: Seen) => body.includes("RedriveAllowPolicy");
  const writes = () => proxy.seen.filter((seen) => seen.action === "sqs:SetQueueAttributes" && about(seen)).length;
  const reads = () => proxy.seen.filter((seen) => seen.action === "sqs:GetQueueAttributes" && about(seen)).length;

  itProxied("may move items into no queue that tsmq creates", async () => {
    const namespace = fresh();
    proxy.seen.length = 0;
    await using bus = await Bus.open(aws({ ...emulator.through(proxy.port), poll: 1_000 }), { namespace });
    const fail = () => {
      throw new Error("made by a test");
    };
    const queue = bus.queue<string>("jobs");
    const consumer = queue.consume(fail, { maxAttempts: 1 });
    await queue.put("item");
    await bus.queue("jobs.fifo").put("item");
    const members = [
      bus.subscribe("topic", () => {}, { group: "group" }),
      bus.subscribe("to*", () => {}, { group: "group", pattern: true }),
    ];
    await Promise.all(members.map(({ ready }) => ready));
    await until("the item is a dead letter", async () => await queue.dead.size() === 1);
    await consumer.close();
    const { queues: [own] } = await admin.leftovers(namespace);
    const named = await admin.queues(new Names(namespace).prefix);
    assertEquals(named.length, 5);
    for (const name of [own!, ...named]) assertEquals(await allowed(name), DENIED, name);
    const created = proxy.seen.filter(({ action }) => action === "sqs:CreateQueue");
    for (const { body } of created) assertEquals(JSON.parse(body).Attributes.RedriveAllowPolicy, DENIED, body);
    assertEquals(writes(), 0);
    for (const member of members) await member.free();
    for (const name of ["jobs", "jobs.dead", "jobs.fifo"]) await bus.queue(name).free();
  });

  itProxied("may move no items into a queue that exists, once a bus has received from it", async () => {
    const namespace = fresh();
    const name = await queueOf(namespace);
    proxy.seen.length = 0;
    await using one = await start(namespace);
    await put(one);
    assertEquals([await allowed(name), reads()], [undefined, 0]);
    for (let i = 0; i < 2; i++) {
      assertEquals(await one.bodies("jobs", WAIT), ["item"]);
      assertEquals([await allowed(name), reads(), writes()], [DENIED, 1, 1]);
      await put(one);
    }
    await using two = await start(namespace);
    assertEquals(await two.bodies("jobs", WAIT), ["item"]);
    assertEquals([reads(), writes()], [2, 1]);
  });

  itProxied("may move items into a queue whose owner allows it", async () => {
    const namespace = fresh();
    const policy = '{"redrivePermission":"allowAll"}';
    const name = await queueOf(namespace, policy);
    await using halves = await start(namespace);
    await put(halves);
    assertEquals(await halves.bodies("jobs", WAIT), ["item"]);
    assertEquals(await allowed(name), policy);
  });

  for (const name of ["InvalidAttributeName", "QueueNameExists"]) {
    itProxied(`are not forbidden by a service that answers ${name}, and the bus works`, async () => {
      proxy.fault = (seen) => seen.action === "sqs:CreateQueue" && about(seen) ? { status: 400, name } : undefined;
      await using halves = await start(fresh());
      await put(halves);
      assertEquals(await halves.bodies("jobs", WAIT), ["item"]);
      await halves.sender.drop("jobs");
      assertEquals(halves.said, []);
      proxy.fault = () => undefined;
    });
  }

  itProxied("are not forbidden by a bus that may not do it, and the bus works", async () => {
    for (const action of ["sqs:GetQueueAttributes", "sqs:SetQueueAttributes"]) {
      const namespace = fresh();
      await queueOf(namespace);
      proxy.seen.length = 0;
      proxy.fault = (seen) => seen.action === action && about(seen) ? { status: 403, name: "AccessDenied" } : undefined;
      await using halves = await start(namespace);
      await put(halves);
      assertEquals(await halves.bodies("jobs", WAIT), ["item"]);
      assert(reads() === 1);
      assertEquals(halves.said, []);
      proxy.fault = () => undefined;
    }
  });
});
