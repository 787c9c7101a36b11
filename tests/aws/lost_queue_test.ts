// run: on bun, waiting
import { assertEquals, assertMatch } from "@std/assert";
import { afterAll, beforeAll, describe } from "@std/testing/bdd";
import { Bus } from "../../src/bus.ts";
import { Names } from "../../src/providers/aws/names.ts";
import { aws } from "../../src/providers/aws/provider.ts";
import { sideBySide } from "../support/side_by_side.ts";
import { until } from "../support/until.ts";
import { Admin, NOTHING } from "./admin.ts";
import { type Emulator, startEmulator } from "./emulator.ts";
import { fresh } from "./halves.ts";

/** Tests that run at a time: they wait for polls. */
const LANES = 4;

describe("a bus whose own queue was deleted, because its lease had expired", () => {
  let emulator: Emulator;
  let admin: Admin;
  beforeAll(async () => {
    emulator = await startEmulator();
    admin = new Admin(emulator.options);
  });
  afterAll(async () => {
    admin[Symbol.dispose]();
    await emulator.stop();
  });
  const it = sideBySide(LANES);

  interface Losing extends AsyncDisposable {
    readonly bus: Bus;
    /** The reported errors. */
    readonly errors: unknown[];
    /** Deletes the queue of the bus. */
    lose(): Promise<void>;
  }

  async function open(namespace: string): Promise<Losing> {
    const prefix = new Names(namespace).busPrefix;
    const before = await admin.queues(prefix);
    const bus = await Bus.open(aws({ ...emulator.options, poll: 1_000 }), { namespace });
    const errors: unknown[] = [];
    bus.addEventListener("error", ({ error }) => errors.push(error));
    const [own] = (await admin.queues(prefix)).filter((name) => !before.includes(name));
    return {
      bus,
      errors,
      lose: () => admin.deleteQueue(own!),
      [Symbol.asyncDispose]: async () => void await bus.close(),
    };
  }

  it("subscribes, joins groups and exposes functions as soon as the queue exists again", async () => {
    const namespace = fresh();
    await using caller = await open(namespace);
    await using losing = await open(namespace);
    const { bus } = losing;
    const got: string[] = [];
    await losing.lose();
    const group = bus.subscribe<string>("topic", (event) => got.push(`group ${event}`), { group: "group" });
    await Promise.all([
      bus.subscribe<string>("topic", (event) => got.push(`exact ${event}`)).ready,
      bus.subscribe<string>("top*", (event) => got.push(`pattern ${event}`), { pattern: true }).ready,
      group.ready,
      bus.expose("fn", () => "served"),
    ]);
    await caller.bus.publish("event", "topic");
    await until("the events arrive", () => got.length === 3);
    assertEquals(got.toSorted(), ["exact event", "group event", "pattern event"]);
    assertEquals(await caller.bus.stub("fn")(), "served");
    assertEquals(await caller.bus.stub("fn", { multi: true })(), [{ status: "fulfilled", value: "served" }]);
    await group.free();
    for (const error of losing.errors) {
      assertMatch(`${error}`, /^ProviderError: Cannot subscribe to ".*": the queue of the bus was deleted$/);
    }
  });

  it("receives the answers of the calls that it makes before the queue exists again", async () => {
    const namespace = fresh();
    await using server = await open(namespace);
    await using losing = await open(namespace);
    await server.bus.expose("fn", () => "served");
    await losing.lose();
    const one = losing.bus.stub("fn")();
    const all = losing.bus.stub("fn", { multi: true })();
    assertEquals(await one, "served");
    assertEquals(await all, [{ status: "fulfilled", value: "served" }]);
    assertEquals(losing.errors, []);
  });

  it("ends its subscriptions and functions, and closes, without a fault", async () => {
    const namespace = fresh();
    const losing = await open(namespace);
    const { bus } = losing;
    const ended = bus.subscribe("ended", () => {});
    await Promise.all([ended.ready, bus.subscribe("kept", () => {}).ready]);
    await Promise.all([bus.expose("fn", () => {}), bus.expose("kept", () => {})]);
    await losing.lose();
    await Promise.all([ended.unsubscribe(), bus.unexpose("fn")]);
    assertEquals((await bus.close()).clean, true);
    assertEquals(losing.errors, []);
    assertEquals(await admin.leftovers(namespace), NOTHING);
  });
});
