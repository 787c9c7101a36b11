// run: lane kernel-queues
import { assertEquals, assertMatch, assertRejects } from "@std/assert";
import { describe, it } from "@std/testing/bdd";
import { Bus } from "../../src/bus.ts";
import { ClosedError } from "../../src/errors.ts";
import type { Sender } from "../../src/provider/provider.ts";
import { eventsOf, inboxOf, Names } from "../../src/providers/ipc/names.ts";
import type { Posix } from "../../src/providers/ipc/posix.ts";
import { ipc } from "../../src/providers/ipc/provider.ts";
import type { OpenQueue } from "../../src/providers/ipc/mqueues.ts";
import { writeRequest } from "../../src/rpc/wire.ts";
import { pause, until, within } from "../support/until.ts";
import { fresh, HandmadeBus, loopsOf } from "./ground.ts";

/** Bytes of a message. */
const SIZE = 512;

/** A bus whose queues nobody reads but the test, and a sender of the same namespace. */
class Ground implements AsyncDisposable {
  readonly posix: Posix;
  readonly loop: string;
  readonly inbox: OpenQueue;
  readonly #bus: HandmadeBus;

  private constructor(readonly namespace: string, bus: HandmadeBus, readonly sender: Sender) {
    const { loop, space: { posix, queues, tree } } = this.#bus = bus;
    this.posix = posix;
    this.loop = loop;
    const size = [{ messages: 1, size: SIZE }];
    this.inbox = queues.make(inboxOf(loop), size);
    queues.make(eventsOf(loop), size);
    tree.subscribe("topic", loop);
  }

  static async open(): Promise<Ground> {
    const namespace = fresh();
    const bus = await HandmadeBus.open(namespace);
    const ask = () => pause(10);
    const state = () => {};
    const context = { namespace, connectTimeout: 1_000, sendTimeout: 60_000, ask, state };
    return new Ground(namespace, bus, await ipc().open(context));
  }

  /** The next message of its inbox; undefined if there is none. */
  read(): string | undefined {
    const buffer = new Uint8Array(SIZE);
    const length = this.posix.receive(this.inbox.descriptor, buffer);
    return length < 0 ? undefined : new TextDecoder().decode(buffer.subarray(0, length));
  }

  /** What a bus does first, and last, when it closes. */
  unlink(): void {
    this.posix.unlinkQueue(inboxOf(this.loop));
  }

  remove(): void {
    this.#bus.remove();
  }

  /** Does something at the moment at which a message leaves: the sender has just seen that the queue is there. */
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

describe("to a bus that is closing", () => {
  it("what it reads before it goes was sent", async () => {
    await using ground = await Ground.open();
    const { loop, sender } = ground;
    using _ = ground.atSend(() => ground.unlink());
    const posted = sender.post(loop, "body");
    await pause(50);
    assertMatch(ground.read()!, /body$/);
    assertEquals(await posted, true);
  });

  it("what nobody reads any more was not sent", async () => {
    await using ground = await Ground.open();
    using _ = ground.atSend(() => ground.unlink());
    const posted = ground.sender.post(ground.loop, "body");
    assertEquals(await Promise.race([posted, pause(50).then(() => "unknown")]), "unknown");
    ground.remove();
    assertEquals(await posted, false);
  });

  it("who waits for room in its queue waits no longer than it is there", async () => {
    await using ground = await Ground.open();
    const { sender } = ground;
    assertEquals(await sender.publish("topic", "fills the queue"), 1);
    const published = sender.publish("topic", "body");
    await pause(50);
    ground.remove();
    assertEquals(await published, 0);
  });
});

describe("an answer for PyMQ whose queue is full", () => {
  it("is given up when its bus closes", async () => {
    await using ground = await Ground.open();
    const { namespace, posix, sender } = ground;
    const { put } = sender.replies!;
    for (const answer of ["first", "second"]) await put("answers", answer);
    const third = assertRejects(() => put("answers", "third"), ClosedError);
    await sender.close();
    await within("it is", third, 2_500);
    posix.unlinkQueue(new Names(namespace).queue("answers"));
  });
});

describe("a bus that is closing", () => {
  it("tells whom it refuses before it lets go, also one whose inbox is full", async () => {
    await using ground = await Ground.open();
    const { loop, namespace, sender } = ground;
    const bus = await Bus.open(ipc(), { namespace });
    await bus.expose("work", () => {});
    const server = (await sender.servers("work"))[0]!;
    assertEquals(await sender.post(loop, "fills the inbox"), true);
    const call = { id: "call", inbox: loop, deadline: Date.now() + 60_000 };
    assertEquals(await sender.post(server, writeRequest("nobody's work", "", { json: "[]" }, call)), true);
    const closed = bus.close({ timeout: 30_000 });
    await until("its worker has gone", async () => !(await loopsOf(namespace)).includes(server));
    await pause(50);
    assertMatch(ground.read()!, /fills the inbox$/);
    assertMatch(await until("it is refused", () => ground.read() ?? ""), /"id":"call".*"refused":"gone"/);
    assertEquals((await closed).clean, true);
  });
});
