// run: waiting
import { assert, assertEquals, assertRejects } from "@std/assert";
import { describe, it } from "@std/testing/bdd";
import { BusError, ProviderError } from "../../src/errors.ts";
import { Link } from "../../src/port/link.ts";
import { Place, STARTING } from "../../src/port/pool.ts";
import type { Provider, ReceiverContext } from "../../src/provider/provider.ts";
import { withDeadline } from "../../src/internal/time.ts";
import { pause, until } from "../support/until.ts";
import { OneThread } from "./one_thread.ts";
import { TestReceiver } from "./receiver.ts";

/** A link, and the other end of its port. */
class Opened {
  readonly said: string[] = [];
  link!: Link;
  /** The receivers that were opened for the link, and their contexts. The last one is in use. */
  readonly receivers: TestReceiver[] = [];
  readonly contexts: ReceiverContext[] = [];

  /** Closes the link, by force after `ms`. */
  close(ms = 60_000): ReturnType<Link["close"]> {
    return withDeadline(ms, (over) => this.link.close(over));
  }

  async works(): Promise<void> {
    assertEquals(await this.link.request<"ask">({ kind: "ask", verb: "echo", argument: "x" }), "x");
  }
}

/** Links of one process, whose workers are threads like this one. */
class Stage implements AsyncDisposable {
  readonly threads: OneThread;
  /** While it is pending, no receiver opens. */
  opening: Promise<void> | undefined;
  readonly #opened: Opened[] = [];

  constructor() {
    this.threads = new OneThread(async (context) => {
      const opened = this.#opened[context.options as number]!;
      const receiver = new TestReceiver();
      opened.receivers.push(receiver);
      opened.contexts.push(context);
      await this.opening;
      return receiver;
    }, () => new Promise(() => {}));
  }

  get count(): number {
    return this.threads.threads.length;
  }

  /** Opens a link, with options of its own. */
  async open(changes: Partial<Provider> = {}, connectTimeout = 60_000, place?: Place): Promise<Opened> {
    const opened = new Opened();
    const options = this.#opened.push(opened) - 1;
    const { said } = opened;
    const provider = { ...this.threads.provider, options, ...changes };
    opened.link = await Link.open(provider, { namespace: "n", connectTimeout, maxReceive: Infinity }, {
      died: (error) => said.push(`died: ${error.message}`),
      state: (connected) => said.push(connected ? "up" : "down"),
      gap: (reason) => said.push(`gap: ${reason}`),
      fault: (error) => said.push(`fault: ${error.message}`),
      inbox: (bodies) => said.push(`inbox: ${bodies}`),
      requests: () => {},
      posted: () => {},
    }, place);
    return opened;
  }

  /** The receiver of the last link, as soon as it is being opened. */
  get late(): TestReceiver | undefined {
    return this.#opened.at(-1)!.receivers.at(-1);
  }

  three(): Promise<Opened[]> {
    return Promise.all([this.open(), this.open(), this.open()]);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await Promise.all(this.#opened.map((opened) => opened.link && opened.close(1_000)));
    this.threads[Symbol.dispose]();
  }
}

const DIED = 'died: Cannot complete the operation: the worker of "test" died';

describe("a worker that buses share", () => {
  it("is started by the first, and terminated with the last", async () => {
    await using stage = new Stage();
    const buses = [...await stage.three(), await stage.open()];
    assertEquals(stage.count, 1);
    for (const [i, bus] of buses.entries()) {
      await bus.works();
      assert(!stage.threads.last.terminated);
      assertEquals(await bus.close(), { returned: 0, uncertain: 0, clean: true });
      assert(bus.receivers[0]!.closed && !bus.receivers[0]!.aborted, `${i}`);
    }
    assert(stage.threads.last.terminated);
  });

  it("is not used by a bus whose provider has another worker, or does not share it", async () => {
    await using stage = new Stage();
    const [bus] = await Promise.all([stage.open(), stage.open({ worker: new URL("one-thread:other") })]);
    const own = await stage.open({ sharedWorker: false });
    assertEquals(stage.count, 3);
    await own.close();
    assert(stage.threads.last.terminated);
    await bus.works();
  });

  it("is started by a place, which a bus takes later, and ends with the place if no bus took it", async () => {
    await using stage = new Stage();
    for (const sharedWorker of [true, false]) {
      const provider = { ...stage.threads.provider, sharedWorker };
      const place = new Place(provider);
      const before = stage.count;
      const bus = await stage.open({ sharedWorker }, undefined, place);
      place[Symbol.dispose]();
      await bus.works();
      assertEquals(stage.count, before);
      await bus.close();
      assert(stage.threads.last.terminated);
      new Place(provider)[Symbol.dispose]();
      assert(stage.count === before + 1 && stage.threads.last.terminated);
    }
  });

  it("that dies before a bus takes its place fails that opening with its error, once", async () => {
    await using stage = new Stage();
    stage.threads.listens = false;
    const place = new Place(stage.threads.provider);
    stage.threads.last.fail("it cannot be loaded");
    const error = await assertRejects(() => stage.open({}, undefined, place), ProviderError);
    assert(error.message.includes("it cannot be loaded") && stage.count === 1, error.message);
    // the place is gone: a further attempt starts another worker
    stage.threads.listens = true;
    await (await stage.open({}, undefined, place)).works();
    assertEquals(stage.count, 2);
  });

  it("is replaced by another one for a bus that opens while the last one closes", async () => {
    await using stage = new Stage();
    for (let round = 1; round <= 20; round++) {
      const [bus] = await Promise.all([stage.open(), stage.open().then((other) => other.close())]);
      const [next] = await Promise.all([stage.open(), bus.close()]);
      await next.works();
      const [, another] = await Promise.all([next.close(), stage.open()]);
      await another.works();
      await another.close();
    }
    assertEquals(stage.threads.threads.filter(({ terminated }) => !terminated).length, 0);
  });

  it("ends the receiver of a bus that is closed by force; the other receivers continue", async () => {
    await using stage = new Stage();
    const [bus, other] = await stage.three() as [Opened, Opened];
    const { receivers: [receiver], contexts: [context], link } = bus;
    receiver!.close = () => new Promise(() => {});
    const events: string[] = [];
    await link.subscribe({ topic: "a", pattern: false, serves: false }, (_, bodies) => events.push(...bodies)).ready;
    receiver!.offer("held");
    await link.receive("q", { max: 1, wait: 0, lease: 60 });
    const waiting = assertRejects(() => link.receive("q", { max: 1, wait: Infinity }), BusError, "closed");
    const asking = assertRejects(() => context!.ask("credentials", 0), BusError, "closed");
    await until("the lease is extended", () => receiver!.calls.some(([verb]) => verb === "extend"));

    assertEquals((await bus.close(20)).clean, false);
    await until("it is aborted", () => receiver!.aborted);
    await Promise.all([waiting, asking]);
    const calls = receiver!.calls.length;
    const posted = stage.threads.last.toMain.length;
    // whatever a receiver still does reaches nobody
    receiver!.emits.get("a")!("a", "late");
    context!.inbox("late");
    context!.state(false);
    context!.fault(new Error("late"));
    await assertRejects(() => context!.ask("credentials", 0), BusError, "closed");
    await other.works();
    await pause(100); // a lease and a half
    assertEquals(receiver!.calls.length, calls, "the lease was extended again");
    assertEquals(stage.threads.last.toMain.slice(posted).flat().map(({ kind }) => kind), ["done"]);
    assertEquals([events, bus.said, other.said], [[], [], []]);
    assert(!stage.threads.last.terminated && !other.receivers[0]!.aborted);
  });

  it("aborts a receiver that is opened too late", async () => {
    await using stage = new Stage();
    const bus = await stage.open();
    const opened = Promise.withResolvers<void>();
    stage.opening = opened.promise;
    const late = stage.open({}, 0);
    const error = await assertRejects(() => late, ProviderError);
    assert(error.code === "unavailable" && error.message.includes("did not open the receiver"), error.message);
    opened.resolve();
    await bus.works();
    await until("it is aborted", () => stage.late?.aborted);
  });

  it("dies for all of them, and one worker replaces it", async () => {
    await using stage = new Stage();
    const buses = await stage.three();
    const asked = buses.map(({ link }) =>
      assertRejects(() => link.request<"ask">({ kind: "ask", verb: "never", argument: 0 }), BusError, "it broke")
    );
    stage.threads.last.fail("it broke");
    for (const error of await Promise.all(asked)) assertEquals(error.code, "worker_died");
    for (const { link, said } of buses) {
      await until("it is up again", () => said.at(-1) === "up");
      const died = `${DIED}: Cannot use the worker of "test": it broke`;
      assertEquals([link.restarts, said], [1, [died, "down", "gap: the worker was replaced", "up"]]);
    }
    assertEquals(stage.threads.threads.map(({ terminated }) => terminated), [true, false]);
    for (const bus of buses) await bus.works();
  });

  it("is asked for one heartbeat, by a bus that is open, and counts as dead for all of them without it", async () => {
    await using stage = new Stage();
    const first = await stage.open();
    const buses = await stage.three();
    const beats = () => stage.threads.threads[0]!.toWorker.flat().filter(({ kind }) => kind === "beat").length;
    await until("it is asked", () => beats() > 0);
    assertEquals(beats(), 1);
    const before = Date.now() - 1;
    await until("it has answered", () => stage.threads.last.toMain.flat().some(({ kind }) => kind === "beat"));
    for (const { link } of buses) assert(link.lastHeard > before - 4_000);
    stage.threads.last.mute = true;
    await first.close(0);
    for (const { link, said } of buses) {
      await until("it is up again", () => said.at(-1) === "up", 30_000);
      assertEquals([link.restarts, said[0]], [1, `${DIED}: Cannot use the worker of "test": it does not answer`]);
    }
    assertEquals(stage.count, 2);
  });

  it("that dies while a bus joins it fails no opening: the bus joins its successor", async () => {
    await using stage = new Stage();
    const bus = await stage.open();
    stage.opening = new Promise(() => {});
    const joining = stage.open();
    await until("its receiver is being opened", () => stage.late);
    stage.opening = undefined;
    stage.threads.last.fail("it broke");
    const joined = await joining;
    await joined.works();
    await until("the other is up again", () => bus.said.at(-1) === "up");
    assertEquals([stage.count, joined.link.restarts, joined.said], [2, 0, []]);
  });

  it("that starts slowly is the worker of later buses too, though an earlier one did not wait for it", async () => {
    await using stage = new Stage();
    stage.threads.listens = false;
    const patient = stage.open();
    const error = await assertRejects(() => stage.open({}, 0), ProviderError);
    assert(error.code === "unavailable" && error.message.includes("did not start in time"), error.message);
    const later = stage.open();
    stage.threads.last.onmessage?.({ data: { kind: "tsmq:listening" } });
    for (const bus of await Promise.all([patient, later])) await bus.works();
    assertEquals(stage.count, 1);
  });

  it("that cannot be loaded rejects all that wait for it, and the next bus starts another one", async () => {
    await using stage = new Stage();
    stage.threads.listens = false;
    const openings = [stage.open(), stage.open()].map((opening) => assertRejects(() => opening, ProviderError));
    stage.threads.last.fail("it cannot be loaded");
    for (const error of await Promise.all(openings)) assert(error.message.includes("it cannot be loaded"));
    stage.threads.listens = true;
    await (await stage.open()).works();
    assertEquals(stage.threads.threads.map(({ terminated }) => terminated), [true, false]);
  });

  it("that never answers is replaced, though no receiver is ready and buses wait for it all the time", async () => {
    await using stage = new Stage();
    const { missed } = STARTING;
    try {
      STARTING.missed = 1;
      stage.threads.listens = false;
      const error = await assertRejects(() => stage.open(), ProviderError);
      assert(error.code === "unavailable" && error.message.includes("it does not answer"), error.message);
      stage.threads.listens = true;
      stage.opening = new Promise(() => {});
      const first = assertRejects(() => stage.open(), ProviderError, "it does not answer");
      await until("its receiver is being opened", () => stage.late);
      const second = stage.open(); // the worker listens by now, so this bus joins the next one
      await until("its receiver is being opened too", () => stage.late);
      stage.opening = undefined;
      stage.threads.last.mute = true;
      await first;
      await (await second).works();
      assertEquals(stage.count, 3);
    } finally {
      STARTING.missed = missed;
    }
  });
});
