import { assertEquals, assertMatch } from "@std/assert";
import { describe, it } from "@std/testing/bdd";
import { Bus } from "../../src/bus.ts";
import type { Sender } from "../../src/provider.ts";
import { eventsOf, inboxOf } from "../../src/providers/ipc/names.ts";
import type { Posix } from "../../src/providers/ipc/posix.ts";
import { ipc } from "../../src/providers/ipc/provider.ts";
import type { OpenQueue } from "../../src/providers/ipc/queues.ts";
import { type Settings, Space } from "../../src/providers/ipc/space.ts";
import { writeRequest } from "../../src/rpc/wire.ts";
import { pause, until } from "../support/until.ts";
import { fresh, loopsOf } from "./ground.ts";

/** Bytes of a message. */
const SIZE = 512;

/** A bus of this process whose queues nobody reads but the test, and a sender of the same namespace. */
class Ground implements AsyncDisposable {
  readonly posix: Posix;
  readonly loop: string;
  readonly inbox: OpenQueue;
  readonly events: OpenQueue;
  readonly #space: Space;

  private constructor(readonly namespace: string, space: Space, readonly sender: Sender) {
    this.#space = space;
    this.posix = space.posix;
    this.loop = space.names.loop(space.processes.self, 0);
    space.place.within("loops", () => this.posix.makeDirectory(this.#directory, 0o700));
    const size = [{ messages: 1, size: SIZE }];
    this.inbox = space.queues.make(inboxOf(this.loop), size);
    this.events = space.queues.make(eventsOf(this.loop), size);
    space.tree.subscribe("topic", this.loop);
  }

  static async open(): Promise<Ground> {
    const namespace = fresh();
    const space = await Space.open(ipc().options as Settings, namespace, () => {});
    const ask = () => pause(10);
    const state = () => {};
    const context = { namespace, connectTimeout: 1_000, sendTimeout: 60_000, ask, state };
    return new Ground(namespace, space, await ipc().open(context));
  }

  get #directory(): string {
    return this.#space.place.of(this.#space.loopDirectory(this.loop));
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
    this.#space.removeLoop(this.loop);
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
    this.remove();
    this.#space.queues.close();
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

describe("a bus that is closing", () => {
  it("tells whom it refuses before it lets go, also one whose inbox is full", async () => {
    await using ground = await Ground.open();
    const { loop, namespace, sender } = ground;
    const bus = await Bus.open(ipc(), { namespace });
    await bus.expose("work", () => {});
    const server = (await sender.servers("work"))[0]!;
    assertEquals(await sender.post(loop, "fills the inbox"), true);
    const call = { id: "call", inbox: loop, deadline: Date.now() + 60_000 };
    assertEquals(await sender.post(server, writeRequest("nobody's work", "", "[]", call)), true);
    const closed = bus.close({ timeout: 30_000 });
    await until("its worker has gone", async () => !(await loopsOf(namespace)).includes(server));
    await pause(50);
    assertMatch(ground.read()!, /fills the inbox$/);
    assertMatch(await until("it is refused", () => ground.read() ?? ""), /"id":"call".*"refused":"gone"/);
    assertEquals((await closed).clean, true);
  });
});
