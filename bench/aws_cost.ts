/**
 * Measures the cost of the AWS provider: the requests for each delivered message and for each idle minute, counted at a proxy before an
 * emulator, beside plain loops of sqs-consumer that do the same work. AWS charges by the request.
 *
 * @module
 */
import { CreateTopicCommand, PublishCommand, SNSClient, SubscribeCommand } from "@aws-sdk/client-sns";
import { CreateQueueCommand, GetQueueAttributesCommand, SendMessageCommand, SQSClient } from "@aws-sdk/client-sqs";
import process from "node:process";
import { Consumer } from "sqs-consumer";
import { Bus } from "../src/bus.ts";
import { Names } from "../src/providers/aws/names.ts";
import { aws } from "../src/providers/aws/provider.ts";
import { HttpProxy } from "../tests/aws/http_proxy.ts";
import { FauxqsServer } from "../tests/support/fauxqs_server.ts";

/** Rounds of each workload that delivers. */
const ROUNDS = 3;
/** Milliseconds of the idle workload. */
const IDLE = 60_000;
/** Milliseconds after which earlier work causes no more requests. */
const REST = 2_000;

/** One system that does the work, through its own proxy. */
interface Side {
  readonly name: string;
  readonly proxy: HttpProxy;
  /** The SQS queue of a queue. */
  queue(name: string): string;
  /** Handles the items of a queue with a limit of concurrent handlers. Ends with the side. */
  consume(queue: string, atOnce: number, handler: () => void): Promise<void>;
  /** Handles the events of a topic. */
  subscribe(topic: string, handler: () => void): Promise<void>;
  publish(topic: string): Promise<unknown>;
}

/** A workload that delivers messages: how many, and how fast. */
interface Workload {
  readonly name: string;
  readonly kind: "items" | "events";
  readonly count: number;
  /** Milliseconds between two; 0: all at once. */
  readonly gap: number;
  /** Handlers that may run at once. */
  readonly atOnce: number;
}

const WORKLOADS: readonly Workload[] = [
  { name: "1,000 items that wait, ten at once", kind: "items", count: 1_000, gap: 0, atOnce: 10 },
  { name: "300 items that wait, one at a time", kind: "items", count: 300, gap: 0, atOnce: 1 },
  { name: "100 items, one each 200 ms", kind: "items", count: 100, gap: 200, atOnce: 10 },
  { name: "1,000 events at once", kind: "events", count: 1_000, gap: 0, atOnce: 10 },
  { name: "100 events, one each 200 ms", kind: "events", count: 100, gap: 200, atOnce: 10 },
];

const EVENT = { id: "o-1", total: 12 };
const BODY = JSON.stringify(EVENT);
const ACCOUNT = { region: "us-east-1", credentials: { accessKeyId: "test", secretAccessKey: "test" } };
const pause = (ms: number) => new Promise((resolve) => setTimeout(resolve, ms));

function at(port: number): typeof ACCOUNT & { endpoint: string } {
  return { ...ACCOUNT, endpoint: `http://127.0.0.1:${port}` };
}

/** A tsmq bus. */
async function openTsmq(port: number): Promise<Side> {
  const proxy = await HttpProxy.to(port);
  const names = new Names("bench");
  const bus = await Bus.open(aws(at(proxy.port)), { namespace: "bench" });
  return {
    name: "tsmq",
    proxy,
    queue: (name) => names.queue(name),
    consume: (queue, concurrency, handler) => Promise.resolve(void bus.queue(queue).consume(handler, { concurrency })),
    subscribe: (topic, handler) => bus.subscribe(topic, handler).ready,
    publish: (topic) => bus.publish(EVENT, topic),
  };
}

/** Plain loops of sqs-consumer; events come over SNS to a queue. Handled and deleted by `batches`, or one by one. */
async function openPlain(port: number, name: string, batches: boolean): Promise<Side> {
  const proxy = await HttpProxy.to(port);
  const sqs = new SQSClient(at(proxy.port));
  const sns = new SNSClient(at(proxy.port));
  const prefix = batches ? "batches-" : "single-";
  const arns = new Map<string, string>();
  const make = async (queue: string) =>
    (await sqs.send(new CreateQueueCommand({ QueueName: prefix + queue }))).QueueUrl!;
  const loop = (queueUrl: string, batchSize: number, handler: () => void) => {
    const options = { queueUrl, sqs, batchSize, waitTimeSeconds: 20 };
    const consumer = batches
      ? Consumer.create({
        ...options,
        handleMessageBatch: (messages) => {
          messages.forEach(handler);
          return Promise.resolve(messages); // they are deleted
        },
      })
      : Consumer.create({
        ...options,
        handleMessage: (message) => {
          handler();
          return Promise.resolve(message);
        },
      });
    consumer.on("error", (error) => console.error(error));
    consumer.start();
  };
  return {
    name,
    proxy,
    queue: (name) => prefix + name,
    consume: async (queue, atOnce, handler) => loop(await make(queue), atOnce, handler),
    subscribe: async (topic, handler) => {
      const queueUrl = await make(topic);
      const command = new GetQueueAttributesCommand({ QueueUrl: queueUrl, AttributeNames: ["QueueArn"] });
      const { TopicArn } = await sns.send(new CreateTopicCommand({ Name: prefix + topic }));
      const Endpoint = (await sqs.send(command)).Attributes!.QueueArn!;
      await sns.send(new SubscribeCommand({ TopicArn, Protocol: "sqs", Endpoint }));
      arns.set(topic, TopicArn!);
      loop(queueUrl, 10, handler);
    },
    publish: (topic) => sns.send(new PublishCommand({ TopicArn: arns.get(topic)!, Message: BODY })),
  };
}

/** Requests for each message: to take and delete items, to publish, take and delete events. */
async function deliver(side: Side, workload: Workload, name: string, admin: SQSClient): Promise<number> {
  const { kind, count, gap, atOnce } = workload;
  const { QueueUrl } = await admin.send(new CreateQueueCommand({ QueueName: side.queue(name) }));
  const put = () => admin.send(new SendMessageCommand({ QueueUrl, MessageBody: BODY }));
  const send = kind === "items" ? put : () => side.publish(name);
  const all = Promise.withResolvers<void>();
  let handled = 0;
  const handler = () => void (++handled === count && all.resolve());
  const waiting = kind === "items" && gap === 0;
  if (waiting) { for (let sent = 0; sent < count; sent += 50) await Promise.all(Array.from({ length: 50 }, put)); }

  let before = side.proxy.seen.length;
  if (kind === "items") await side.consume(name, atOnce, handler);
  else await side.subscribe(name, handler);
  if (!waiting) {
    await pause(REST); // does not count the requests of subscribing
    before = side.proxy.seen.length;
    if (gap === 0) await Promise.all(Array.from({ length: count }, send));
    else for (let sent = 0; sent < count; sent++) await Promise.all([send(), pause(gap)]);
  }
  await all.promise;
  await pause(REST); // counts late deletions too
  return (side.proxy.seen.length - before) / count;
}

/** Requests in a minute of waiting for one queue. */
async function idle(side: Side): Promise<number> {
  await side.consume("idle", 10, () => {});
  await pause(REST);
  const before = side.proxy.seen.length;
  await pause(IDLE);
  return side.proxy.seen.length - before;
}

/** Requests of each call, of both buses, one call after the other. */
async function calls(port: number, count: number): Promise<number> {
  const proxies = [await HttpProxy.to(port), await HttpProxy.to(port)];
  const open = (proxy: HttpProxy) => Bus.open(aws(at(proxy.port)), { namespace: "calls" });
  const [server, caller] = await Promise.all(proxies.map(open)) as [Bus, Bus];
  await server.expose("fn", (value: unknown) => value);
  await pause(REST);
  const seen = () => proxies.reduce((sum, proxy) => sum + proxy.seen.length, 0);
  const before = seen();
  for (let i = 0; i < count; i++) await caller.stub("fn")(EVENT);
  await pause(REST);
  return (seen() - before) / count;
}

function row(cells: readonly string[]): void {
  console.log(`| ${cells.join(" | ")} |`);
}

function spread(values: number[]): string {
  const sorted = values.toSorted((a, b) => a - b).map((value) => value.toFixed(2));
  const middle = sorted[Math.floor(sorted.length / 2)]!;
  return sorted[0] === sorted.at(-1) ? middle : `${middle} (${sorted[0]} – ${sorted.at(-1)})`;
}

/** Opens the sides for one workload, so that requests of another workload are not counted. */
async function onSides<T>(port: number, run: (side: Side) => Promise<T>): Promise<T[]> {
  const plain = [openPlain(port, "sqs-consumer", false), openPlain(port, "sqs-consumer, by batches", true)];
  return await Promise.all((await Promise.all([openTsmq(port), ...plain])).map(run));
}

const server = await FauxqsServer.start();
const admin = new SQSClient({ ...ACCOUNT, endpoint: server.endpoint });
const port = Number(new URL(server.endpoint).port);
row(["requests", ...await onSides(port, (side) => Promise.resolve(side.name))]);
row(["---", "---", "---", "---"]);
for (const [index, workload] of WORKLOADS.entries()) {
  const rounds: number[][] = [];
  for (let round = 0; round < ROUNDS; round++) {
    rounds.push(await onSides(port, (side) => deliver(side, workload, `w${index}-${round}`, admin)));
  }
  row([workload.name, ...rounds[0]!.map((_, side) => spread(rounds.map((figures) => figures[side]!)))]);
}
const called: number[] = [];
for (let round = 0; round < ROUNDS; round++) called.push(await calls(port, 100));
row(["100 calls, one after the other", spread(called), "–", "–"]);
row(["an idle minute, one queue waited for", ...(await onSides(port, idle)).map(String)]);
await server.stop();
process.exit(); // the loops would never end
