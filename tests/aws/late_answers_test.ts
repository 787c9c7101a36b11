// run: on deno, waiting, deadline 60
/** Late answers of SQS: a bus never considers a lease valid for longer than SQS does. */
import { assertEquals } from "@std/assert";
import { afterAll, beforeAll, describe } from "@std/testing/bdd";
import type { AwsOptions } from "../../src/providers/aws/provider.ts";
import { Names } from "../../src/providers/aws/names.ts";
import type { Delivery } from "../../src/provider/provider.ts";
import { pause, until } from "../support/until.ts";
import { type Emulator, itProxied, startEmulator } from "./emulator.ts";
import { type Halves, open } from "./halves.ts";
import { HttpProxy } from "./http_proxy.ts";

describe("answers of SQS that come late", () => {
  let emulator: Emulator;
  let proxy: HttpProxy;
  let late: AwsOptions;
  let other: Halves;
  beforeAll(async () => {
    emulator = await startEmulator();
    proxy = await HttpProxy.to(emulator.port);
    late = { ...emulator.through(proxy.port), attempts: 1, poll: 5_000 };
    other = await open(emulator.through(emulator.port));
  });
  afterAll(async () => {
    for (const queue of ["receive", "lost", "extend", "poll", "get"]) await other.sender.drop(queue);
    await other.close();
    await proxy.close();
    await emulator.stop();
  });

  /** The end of the URL of a queue. */
  const address = (queue: string) => `/${new Names(other.namespace).queue(queue)}"`;

  /** A second bus of the namespace, whose requests go through the proxy, and a queue with one item. */
  async function start(queue: string): Promise<Halves> {
    const halves = await open(late, { namespace: other.namespace });
    await other.sender.send(queue, "item", { wait: 0 });
    return halves;
  }

  /** Receives the item with the other bus, as soon as SQS delivers it. */
  async function receiveElsewhere(queue: string): Promise<string> {
    let held: Delivery | undefined;
    await until("SQS delivers the item again", async () => {
      [held] = await other.receive(queue, { lease: 30_000, wait: 1_000 });
      return held;
    });
    return held!.receipt;
  }

  itProxied("a lease is counted from when the request left", async () => {
    await using halves = await start("receive");
    const answer = proxy.hold("sqs:ReceiveMessage", address("receive"));
    const receiving = halves.receive("receive", { lease: 3_000 });
    await answer.done;
    await pause(1_500);
    answer.answer();
    const [held] = await receiving;
    assertEquals(held?.body, "item");
    assertEquals(await halves.receiver.start("receive", [held!.receipt]), [true]);
    const again = await receiveElsewhere("receive");
    assertEquals(await halves.receiver.start("receive", [held!.receipt]), [false]);
    assertEquals(await halves.receiver.settle("receive", [held!.receipt], "ack", 0), [false]);
    assertEquals(await other.receiver.settle("receive", [again], "ack", 0), [true]);
  });

  itProxied("an item whose lease has ended before its answer came is not delivered", async () => {
    await using halves = await start("lost");
    const answer = proxy.hold("sqs:ReceiveMessage", address("lost"));
    const receiving = halves.receive("lost", { lease: 1_000 });
    await answer.done;
    const again = await receiveElsewhere("lost");
    answer.answer();
    assertEquals(await receiving, []);
    assertEquals(await other.receiver.settle("lost", [again], "ack", 0), [true]);
  });

  itProxied("an extension that is confirmed after the end of the lease does not count", async () => {
    await using halves = await start("extend");
    const [held] = await halves.receive("extend", { lease: 2_000 });
    const arrival = Promise.withResolvers<void>();
    proxy.next("sqs:ChangeMessageVisibilityBatch", { before: arrival.promise });
    const extending = halves.receiver.extend("extend", [held!.receipt], 30_000);
    const again = await receiveElsewhere("extend");
    arrival.resolve();
    assertEquals(await extending, [false]);
    assertEquals(await halves.receiver.settle("extend", [held!.receipt], "ack", 0), [false]);
    assertEquals(await other.receiver.settle("extend", [again], "ack", 0), [true]);
  });

  itProxied("an item that comes late in a long poll is held for its whole lease", async () => {
    const halves = await open(late, { namespace: other.namespace });
    const receiving = halves.receive("poll", { lease: 1_000, wait: 10_000 });
    await until(
      "it polls",
      () => proxy.seen.some(({ action, body }) => action === "sqs:ReceiveMessage" && body.includes(address("poll"))),
    );
    await pause(1_500);
    await other.sender.send("poll", "item", { wait: 0 });
    const [held] = await receiving;
    assertEquals(await halves.receiver.start("poll", [held!.receipt]), [true]);
    assertEquals(await halves.receiver.settle("poll", [held!.receipt], "ack", 0), [true]);
    await halves.close();
  });

  itProxied("a get does not claim an item that another consumer may have", async () => {
    await using halves = await start("get");
    const answer = proxy.hold("sqs:ReceiveMessage", address("get"));
    const getting = halves.receive("get");
    await answer.done;
    await pause(5_500);
    proxy.seen.length = 0;
    answer.answer();
    assertEquals(await getting, []);
    assertEquals(proxy.count("sqs:DeleteMessageBatch"), 0);
  });
});
