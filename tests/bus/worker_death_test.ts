import { assert, assertEquals, assertRejects } from "@std/assert";
import { describe, it } from "@std/testing/bdd";
import { Bus, BusError, type BusState, memory, ProviderError } from "../../mod.ts";
import { faulty } from "./faulty.ts";
import { pause, timed, until, within } from "../support/until.ts";

/** A connect timeout that is longer than each wait of these tests. */
const LATE = { connectTimeout: 120_000 };

/** The reports of a bus. */
function listen(bus: Bus): { states: BusState[]; gaps: string[] } {
  const said = { states: [] as BusState[], gaps: [] as string[] };
  bus.addEventListener("state", (event) => said.states.push(event.detail));
  bus.addEventListener("gap", (event) => said.gaps.push(event.detail.reason));
  bus.addEventListener("error", () => {});
  return said;
}

/** Returns the error of a promise. Fails if the promise takes much longer than the detection of a dead worker. */
function rejection(promise: Promise<unknown>): Promise<unknown> {
  const settled = promise.then((value) => new Error(`it resolved with ${value}`), (error) => error);
  return within("a promise rejects when its worker dies", settled, 30_000);
}

describe("a worker that dies", () => {
  for (const how of ["throw", "reject", "exit", "terminate", "hang"] as const) {
    it(`is replaced, and everything that waited rejects, when it ends by "${how}"`, async () => {
      const { provider, fault } = faulty();
      await using bus = await Bus.open(provider);
      await using other = await Bus.open(provider);
      const said = listen(bus);
      const otherSaid = listen(other);
      const got: unknown[] = [];
      const globbed: unknown[] = [];
      const consumed: unknown[] = [];
      await bus.subscribe("news", (event) => got.push(event)).ready;
      await bus.subscribe("n*s", (event) => globbed.push(event), { pattern: true }).ready;
      const released = Promise.withResolvers<void>();
      await other.expose("wait", () => released.promise);
      await other.expose("add", (a: number, b: number) => a + b);
      const consumer = bus.queue("jobs").consume((item) => void consumed.push(item));

      const pending = [
        bus.queue("empty").get(),
        bus.queue("empty").receive(),
        bus.stub("wait")(),
        bus.stub("wait", { multi: true })(),
      ];
      const rejections = pending.map(rejection);
      const looped = bus.queue("looped")[Symbol.asyncIterator]().next();
      await until("the calls are under way", () => bus.health().pending.calls === 2);
      await until("they are served", () => other.health().pending.handlers === 2);
      fault(how);
      for (const error of await Promise.all(rejections)) {
        assert(error instanceof BusError && error.code === "worker_died", String(error));
        assert(error.retryable);
      }
      await until("both buses are up again", () => bus.health().state === "up" && other.health().state === "up");
      assertEquals([said.states, otherSaid.states], [["down", "up"], ["down", "up"]]);
      assertEquals([bus.health().restarts, other.health().restarts], [1, 1]);
      // one for each subscription, and one for the bus without subscriptions
      assertEquals([said.gaps.length, otherSaid.gaps.length], [2, 1]);

      assertEquals(await other.publish("again", "news"), 2);
      await until("the event is handled twice", () => got.length === 1 && globbed.length === 1);
      assertEquals(await bus.stub<(a: number, b: number) => number>("add")(1, 2), 3);
      await other.queue("jobs").put("job");
      await until("the consumer continues", () => consumed.length === 1);
      await other.queue("looped").put("item");
      assertEquals(await within("the loop continues", looped), { done: false, value: "item" });
      await consumer.close();
      released.resolve();
    });
  }

  it("does not keep a bus from being closed while it hangs", async () => {
    const { provider, fault } = faulty();
    const bus = await Bus.open(provider);
    const taken = rejection(bus.queue("empty").get());
    fault("hang");
    const abort = new AbortController();
    const put = rejection(bus.queue("empty").put(1, { signal: abort.signal }));
    await pause(10);
    abort.abort();
    const took = await timed(async () => assertEquals((await bus.close({ timeout: 200 })).clean, false));
    assert(took < 3_000, `it took ${took} ms`);
    assertEquals(((await taken) as BusError).code, "closed");
    assertEquals(await put, abort.signal.reason);
  });

  it("delivers items that are put after its death to later gets", async () => {
    const { provider, fault } = faulty();
    await using bus = await Bus.open(provider);
    listen(bus);
    const queue = bus.queue<string>("q");
    await queue.put("before");
    const held = await queue.receive();
    fault("throw");
    await until("it is replaced", () => bus.health().restarts === 1);
    await queue.put("after");
    const fresh = await queue.receive();
    assertEquals(fresh.item, "after");
    // the lease of the old broker says nothing about the items of the new one
    const lost = await assertRejects(() => held.ack(), BusError);
    assertEquals(lost.code, "lease_lost");
    await fresh.ack();
  });

  it("rejects Bus.open() at once: an error while it starts", async () => {
    const bus = Bus.open(faulty("throw").provider, LATE).then(async (bus) => await bus.close());
    // the worker may have become ready before it threw; then it is replaced
    const opened = bus.catch((error) =>
      assert(error instanceof ProviderError && error.code === "unavailable", String(error))
    );
    await within("it is opened or rejects", opened);
  });

  it("rejects Bus.open() within the connect timeout: a worker that never becomes ready", async () => {
    const open = () => Bus.open(faulty("hang").provider, { connectTimeout: 500 });
    const error = await within("it rejects", assertRejects(open, ProviderError));
    assertEquals(error.code, "unavailable");
  });

  it("rejects Bus.open(): a worker that cannot be loaded", async () => {
    const provider = { ...memory(), worker: new URL("./no_such_worker.ts", import.meta.url) };
    const error = await within("it rejects", assertRejects(() => Bus.open(provider, LATE), ProviderError));
    assertEquals([error.code, error.retryable], ["unavailable", false]);
  });
});

describe("a worker that buses share", () => {
  it("continues after one of them is closed by force, which leaves nothing there", async () => {
    const provider = memory();
    await using bus = await Bus.open(provider);
    const other = await Bus.open(provider);
    const said = listen(bus);
    await other.subscribe("news", () => {}).ready;
    await bus.queue("q").put("kept");
    // the worker cannot answer at once
    const published = Array.from({ length: 10_000 }, () => bus.publish("x".repeat(1_000), "busy"));
    await other.close({ timeout: 0 });
    await Promise.all(published);
    assertEquals(await bus.publish("x", "news"), 0);
    assertEquals(await bus.queue("q").getNowait(), "kept");
    assertEquals([said.gaps, bus.health().restarts], [[], 0]);
  });
});

describe("a worker that dies while the sender is still being opened", () => {
  it("is replaced, and the bus opens", async () => {
    const { provider, fault } = faulty();
    const dead = Promise.withResolvers<void>();
    const opening = Bus.open({
      ...provider,
      open: async (context) => {
        const sender = await provider.open(context);
        const lost = context.ask("fault", "none").catch(() => {}); // it never answers, until its worker dies
        fault("throw");
        await lost;
        dead.resolve();
        return sender;
      },
    });
    await within("the worker has died", dead.promise);
    await using bus = await opening;
    await until("it is replaced", () => bus.health().restarts === 1 && bus.health().state === "up");
    await bus.queue("q").put("item");
    assertEquals(await bus.queue("q").get(), "item");
  });
});

describe("a busy main thread", () => {
  it("does not count as death of the worker, even if it is blocked for seven seconds", async () => {
    await using bus = await Bus.open(memory());
    const said = listen(bus);
    const got: unknown[] = [];
    await bus.subscribe("news", (event) => got.push(event)).ready;
    const taken = bus.queue("q").get();
    Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, 7_000);
    const since = performance.now();
    // long enough for the watch to judge several times
    while (performance.now() - since < 3_000) await new Promise((resolve) => setTimeout(resolve, 50));
    await bus.publish("after", "news");
    await bus.queue("q").put("item");
    assertEquals(await taken, "item");
    await until("the event is handled", () => got.length === 1);
    assertEquals([said.states, said.gaps, bus.health().restarts], [[], [], 0]);
  });
});
