// run: on bun, kernel-queues
import { assert, assertEquals, assertMatch, assertRejects } from "@std/assert";
import { describe, it } from "@std/testing/bdd";
import { Bus } from "../../src/bus.ts";
import { ClosedError, ProviderError } from "../../src/errors.ts";
import type { Sender } from "../../src/provider/provider.ts";
import { eventsOf, inboxOf, Names } from "../../src/providers/ipc/names.ts";
import { loadPosix, type Posix } from "../../src/providers/ipc/posix.ts";
import { ipc } from "../../src/providers/ipc/provider.ts";
import type { OpenQueue } from "../../src/providers/ipc/mqueues.ts";
import { writeRequest } from "../../src/rpc/wire.ts";
import { Peer } from "../support/peer.ts";
import { pause, timed, until, within } from "../support/until.ts";
import { fresh, HandmadeBus } from "./ground.ts";

/** Bytes of a message. */
const SIZE = 512;

/** A bus whose queues only the test reads, and a sender of the same namespace. */
class Ground implements AsyncDisposable {
  readonly posix: Posix;
  readonly busName: string;
  readonly inbox: OpenQueue;
  readonly #bus: HandmadeBus;

  private constructor(readonly namespace: string, bus: HandmadeBus, readonly sender: Sender) {
    const { busName, internals: { posix, queues, subscriptions } } = this.#bus = bus;
    this.posix = posix;
    this.busName = busName;
    const size = [{ messages: 1, size: SIZE }];
    this.inbox = queues.create(inboxOf(busName), size);
    queues.create(eventsOf(busName), size);
    subscriptions.subscribe("topic", busName);
  }

  static async open(sendTimeout = 60_000): Promise<Ground> {
    const namespace = fresh();
    const bus = await HandmadeBus.open(namespace);
    const ask = () => pause(10);
    const state = () => {};
    const context = { namespace, connectTimeout: 1_000, sendTimeout, maxReceive: Infinity, ask, state };
    return new Ground(namespace, bus, await ipc().open(context));
  }

  /** Returns the next message of its inbox, or undefined if the inbox is empty. */
  read(): string | undefined {
    const buffer = new Uint8Array(SIZE);
    const length = this.posix.receive(this.inbox.descriptor, buffer);
    return length < 0 ? undefined : new TextDecoder().decode(buffer.subarray(0, length));
  }

  /** Removes its inbox queue, as a bus does first when it closes. */
  unlink(): void {
    this.posix.unlinkQueue(inboxOf(this.busName));
  }

  remove(): void {
    this.#bus.remove();
  }

  /** Runs `act` when a message is sent, just after the sender has checked that the queue exists. */
  atSend(act: () => void): Disposable {
    const { posix } = this;
    const { send } = posix;
    posix.send = (...args) => {
      act();
      return send.apply(posix, args);
    };
    return { [Symbol.dispose]: () => void (posix.send = send) };
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.sender.close();
    this.#bus[Symbol.dispose]();
  }
}

describe("a message to a closing bus", () => {
  it("was sent if the bus reads it before it ends", async () => {
    await using ground = await Ground.open();
    const { busName, sender } = ground;
    using _ = ground.atSend(() => ground.unlink());
    const posted = sender.post(busName, "body");
    await pause(50);
    assertMatch(ground.read()!, /body$/);
    assertEquals(await posted, true);
  });

  it("was not sent if no bus reads it any more", async () => {
    await using ground = await Ground.open();
    using _ = ground.atSend(() => ground.unlink());
    const posted = ground.sender.post(ground.busName, "body");
    assertEquals(await Promise.race([posted, pause(50).then(() => "unknown")]), "unknown");
    ground.remove();
    assertEquals(await posted, false);
  });

  it("was sent if the bus reads it and leaves another sender's message unread", async () => {
    await using ground = await Ground.open();
    const { inbox, busName, posix, sender } = ground;
    const posted = await (async () => {
      using _ = ground.atSend(() => ground.unlink());
      const posted = sender.post(busName, "body");
      await Promise.resolve(); // it has left
      return { posted };
    })();
    assertMatch(ground.read()!, /body$/);
    const other = new TextEncoder().encode("another's");
    assertEquals(posix.send(inbox.descriptor, other, other.length), 0);
    ground.remove();
    assertEquals(await posted.posted, true);
    assertEquals(ground.read(), "another's");
  });

  for (const what of ["this bus closes", "sendTimeout ends"]) {
    it(`rejects "unavailable" if it may still be read when ${what}`, async () => {
      await using ground = await Ground.open(what === "sendTimeout ends" ? 100 : undefined);
      const { busName, sender } = ground;
      using _ = ground.atSend(() => ground.unlink());
      const posted = assertRejects(() => sender.post(busName, "body"), ProviderError, "Cannot tell whether");
      await pause(20);
      if (what === "this bus closes") await sender.close();
      assertEquals((await within("it is", posted, 2_500)).code, "unavailable");
      assertMatch(ground.read()!, /body$/);
    });
  }

  it("waits for room only as long as the queue exists", async () => {
    await using ground = await Ground.open();
    const { sender } = ground;
    assertEquals(await sender.publish("topic", "fills the queue"), 1);
    const published = sender.publish("topic", "body");
    await pause(50);
    ground.remove();
    assertEquals(await published, 0);
  });
});

describe("an answer to PyMQ whose queue is full", () => {
  it("rejects when its bus closes", async () => {
    await using ground = await Ground.open();
    const { namespace, posix, sender } = ground;
    const { open, put } = sender.replies!;
    await open("answers");
    for (const answer of ["first", "second"]) await put("answers", answer);
    const third = assertRejects(() => put("answers", "third"), ClosedError);
    await sender.close();
    await within("it is", third, 2_500);
    posix.unlinkQueue(new Names(namespace).queue("answers"));
  });
});

describe("a closing bus", () => {
  it("holds its deadline while a subscriber and a queue are full and the subscriber's process is stopped", async () => {
    const namespace = fresh();
    const bus = await Bus.open(ipc({ capacity: 10 }), { namespace });
    const queue = bus.queue<number>("full");
    await using subscriber = Peer.start(new URL("subscriber_peer.ts", import.meta.url), { args: [namespace, "topic"] });
    await subscriber.next();
    subscriber.signal("SIGSTOP");
    const outcomes: string[] = [];
    const note = (work: Promise<unknown>) =>
      work.then(() => "sent", ({ code }) => code).then((how) => outcomes.push(how));
    let blocked: unknown;
    await bus.expose("work", async () => {
      while (true) await (blocked = bus.publish("x".repeat(3_000), "topic"));
    });
    const called = note(bus.stub("work")());
    const itemSender = Array.from({ length: 20 }, (_, i) => note(queue.put(i)));
    await until("all that there is room for is sent", async () => {
      const before = blocked;
      await pause(250);
      return before !== undefined && before === blocked && outcomes.length === 10;
    });
    const took = await timed(async () => {
      const { abandoned, clean } = await bus.close({ timeout: 5_000 }); // a second of it is the transport's
      assertEquals([abandoned, clean], [1, true]);
    });
    assert(took < 7_000, `it took ${took} ms`);
    await Promise.all([called, ...itemSender]);
    assertEquals(outcomes.filter((how) => how === "sent").length, 10);
    subscriber.signal("SIGCONT");
    await using other = await Bus.open(ipc(), { namespace });
    assertEquals(await other.queue("full").qsize(), 10);
    await other.queue("full").free();
  });

  it("refuses late calls before its transport closes, also of a caller whose inbox is full", async () => {
    await using ground = await Ground.open();
    const { busName, namespace, sender } = ground;
    const bus = await Bus.open(ipc(), { namespace });
    await bus.expose("work", () => {});
    const server = (await sender.servers("work"))[0]!.inbox;
    assertEquals(await sender.post(busName, "fills the inbox"), true);
    const call = { id: "call", inbox: busName, deadline: Date.now() + 60_000 };
    assertEquals(await sender.post(server, writeRequest("nobody's work", "", { json: "[]" }, call)), true);
    const closed = bus.close({ timeout: 30_000 });
    await until("it serves no more", async () => (await sender.servers("work")).length === 0);
    await pause(50); // the refusal waits for room now
    assertMatch(ground.read()!, /fills the inbox$/);
    assertMatch(await until("it is refused", () => ground.read() ?? ""), /"id":"call".*"refused":"gone"/);
    assertEquals((await closed).clean, true);
  });
});

describe("closing a bus", () => {
  it("closes each descriptor of its namespace's directory", async () => {
    const namespace = fresh();
    const posix = await loadPosix();
    for (let i = 0; i < 3; i++) {
      const bus = await Bus.open(ipc(), { namespace });
      await bus.subscribe("topic", () => {}).ready;
      const waiting = assertRejects(() => bus.queue("queue").get(), ClosedError);
      await bus.publish("event", "topic");
      await bus.close();
      await waiting;
    }
    const open = (posix.list("/proc/self/fd") as string[]).map((name) => posix.readLink(`/proc/self/fd/${name}`));
    assertEquals(open.filter((path) => String(path).includes(`/${namespace}`)), []);
  });
});
