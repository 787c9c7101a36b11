/** The limit for what a bus decodes. */
// run: on bun
import { assertEquals, assertRejects } from "@std/assert";
import { describe, it } from "@std/testing/bdd";
import {
  Bus,
  type DeadLetter,
  memory,
  ProviderError,
  RemoteInvocationError,
  TimeoutError,
  ValidationError,
} from "../../mod.ts";
import { RawClient } from "../../src/conformance/raw_client.ts";
import { PATIENCE, until } from "../support/until.ts";
import { fresh, onEach } from "./grounds.ts";

/** The limit in bytes. */
const MOST = 2_000;

onEach("a body that is larger than maxReceive", ({ it, provider }) => {
  it("is dropped and reported if it is an event, a request or an answer, and dead-lettered if it is an item", async () => {
    const [namespace, transport] = [fresh(), provider()];
    await using bus = await Bus.open(transport, { namespace, maxReceive: MOST });
    await using peer = await Bus.open(transport, { namespace });
    const errors: string[] = [];
    bus.addEventListener("error", (event) => errors.push(event.message));
    const expected = (count: number) => until("it is reported", () => errors.length >= count);

    const received: number[] = [];
    await bus.subscribe<string>("topic", (text) => received.push(text.length)).ready;
    const [fits, large] = ["x".repeat(MOST - 2), "ä".repeat(MOST / 2)]; // with two quotes
    await peer.publish(large, "topic");
    await peer.publish(fits, "topic");
    await until("the next event arrives", () => received.length > 0);
    assertEquals(received, [fits.length]);
    await expected(1);

    let runs = 0;
    await bus.expose("count", (_text: string) => ++runs);
    await assertRejects(() => peer.stub("count", { timeout: 1_000 })(large), TimeoutError);
    await expected(2);
    assertEquals(await peer.stub("count")("small"), 1);

    await peer.expose("repeat", (count: number) => "x".repeat(count));
    await assertRejects(() => bus.stub("repeat", { timeout: 1_000 })(MOST), TimeoutError);
    await expected(3);
    assertEquals(await bus.stub("repeat")(1), "x");

    const [jobs, sender] = [bus.queue<string>("jobs"), peer.queue<string>("jobs")];
    const letter = () => peer.queue<DeadLetter<string>>("jobs.dead").get({ timeout: PATIENCE });
    const body = JSON.stringify(large);
    await sender.put(large);
    assertEquals((await assertRejects(() => jobs.get(), ValidationError)).body, body);
    await sender.put(large);
    await assertRejects(() => jobs.receive(), ValidationError);
    assertEquals((await letter()).item, body);
    await sender.put(large);
    await sender.put("small");
    const items: string[] = [];
    jobs.consume((item) => items.push(item));
    await until("the next item arrives", () => items.length > 0);
    assertEquals([items, (await letter()).item], [["small"], body]);
    await expected(4);
    assertEquals(errors.filter((message) => !message.includes("(maxReceive)")), []);
  });
});

onEach("a body that its own bus would refuse to receive", ({ it, provider }) => {
  it("is not sent, as event, item, argument, result and value of a stream", async () => {
    const [namespace, transport] = [fresh(), provider()];
    await using bus = await Bus.open(transport, { namespace, maxReceive: MOST });
    await using peer = await Bus.open(transport, { namespace });
    const errors: string[] = [];
    bus.addEventListener("error", ({ message }) => errors.push(message));
    const [fits, large] = ["x".repeat(MOST - 2), "ä".repeat(MOST / 2)];
    const lengths: number[] = [];
    const runs: number[] = [];
    await peer.subscribe<string>("topic", (text) => lengths.push(text.length)).ready;
    await peer.expose("length", (text: string) => runs.push(text.length));
    const queue = bus.queue<string>("jobs");
    const verbs: Record<string, () => Promise<unknown>> = {
      'publish to "topic"': async () => await bus.publish(large, "topic"),
      'put into queue "jobs"': () => queue.put(large),
      'call "length"': () => bus.stub("length")(large),
      "call all servers": () => bus.stub("length", { multi: true })(large),
    };
    for (const [doing, use] of Object.entries(verbs)) {
      const error = await assertRejects(use, ProviderError, `exceed ${MOST} bytes (maxReceive)`, doing);
      assertEquals([error.code, error.retryable], ["too_large", false]);
      if (doing !== "call all servers") assertEquals(error.message.split(":")[0], `Cannot ${doing}`);
    }
    await bus.publish(fits, "topic");
    await queue.put(fits);
    assertEquals(await peer.queue<string>("jobs").get(), fits);
    await bus.stub("length")("small");
    await until("the event arrives", () => lengths.length === 1);
    assertEquals([lengths, runs, await queue.qsize(), errors], [[fits.length], [5], 0, []]);

    await bus.expose("repeat", (count: number) => "x".repeat(count));
    await bus.expose("stream", async function* (count: number) {
      yield await Promise.resolve("x".repeat(count));
    });
    await assertRejects(() => peer.stub("repeat")(MOST), RemoteInvocationError, "(maxReceive)");
    const stream = peer.stream<(count: number) => AsyncIterable<string>>("stream");
    await assertRejects(() => stream(MOST)[Symbol.asyncIterator]().next(), RemoteInvocationError, "(maxReceive)");
    assertEquals([await peer.stub("repeat")(1), errors.length], ["x", 2]);
    await queue.free();
  });
});

describe("maxReceive", () => {
  it("is 32 MiB by default", async () => {
    const [namespace, transport] = [fresh(), memory()];
    await using bus = await Bus.open(transport, { namespace });
    const client = await RawClient.open(transport, namespace);
    const longest = 32 * 2 ** 20;
    try {
      for (const length of [longest, longest + 1]) await client.put("jobs", JSON.stringify("x".repeat(length - 2)));
      assertEquals((await bus.queue<string>("jobs").get()).length, longest - 2);
      await assertRejects(() => bus.queue("jobs").get(), ValidationError, "(maxReceive)");
    } finally {
      await client.close();
    }
  });
});
