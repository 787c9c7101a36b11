/** Members of a group, who create many names in the directories of the namespace that they share with a user. */
// run: kernel-queues
import { assertEquals, assertMatch, assertRejects, assertThrows } from "@std/assert";
import { describe, it } from "@std/testing/bdd";
import { rmSync } from "node:fs";
import { Bus } from "../../src/bus.ts";
import { BusError } from "../../src/errors.ts";
import { MAX_BINDINGS } from "../../src/provider/bindings.ts";
import { Cleanup } from "../../src/providers/ipc/cleanup.ts";
import { hashed, MAX_BUSES } from "../../src/providers/ipc/names.ts";
import { Namespace, type Settings } from "../../src/providers/ipc/namespace.ts";
import { ipc } from "../../src/providers/ipc/provider.ts";
import { skip } from "../support/skip.ts";
import { pause, until } from "../support/until.ts";
import { calls, fresh, noOtherUser, runAs } from "./ground.ts";

const INTRUDER = new URL("intruder.ts", import.meta.url);
/** The group that the user of this test shares with a user of this run alone, of the same id. */
const GROUP = 40_000 + Math.floor(Math.random() * 20_000);
const TOPIC = "subscribers/topic";

/** A namespace that a member of the group has flooded. */
interface Flooded {
  readonly name: string;
  readonly ours: Namespace;
  /** The number of requests for a cleanup. */
  readonly asked: () => number;
  intrude(what: string, ...args: (string | number)[]): Promise<void>;
}

describe("many names that a member of a group has created", () => {
  const missing = noOtherUser(INTRUDER);
  const each = (title: string, act: (flooded: Flooded) => Promise<void>) => {
    if (missing) return skip(title, missing);
    it(title, async () => {
      const name = fresh();
      let asked = 0;
      const ours = await Namespace.open(ipc({ group: GROUP }).options as Settings, name, () => void asked++);
      ours.directories.make("loops");
      const intrude = async (what: string, ...args: (string | number)[]) => {
        const { output } = await runAs(GROUP, INTRUDER, name, String(GROUP), what, ...args.map(String));
        assertMatch(output, /^done$/m);
        await pause(50); // names that have just changed are listed again
      };
      try {
        await act({ name, ours, asked: () => asked, intrude });
      } finally {
        ours.close();
        rmSync(`/dev/shm/${name}`, { recursive: true, force: true });
      }
    });
  };

  each("of dead subscribers and servers: one cleanup is asked for, and it removes them in parts", async (flooded) => {
    const { ours, asked, intrude } = flooded;
    const { directories, names, posix, subscriptions } = ours;
    const servers = names.servers("function");
    await intrude("links", TOPIC, MAX_BUSES);
    await intrude("links", servers, MAX_BUSES);
    const left = () => directories.list(TOPIC).length + directories.list(servers).length;
    assertEquals(left(), 2 * MAX_BUSES);
    assertEquals([subscriptions.route("topic").destinations, asked()], [[], 1]);
    assertEquals([subscriptions.servers("function"), asked()], [[], 2]);
    const cleanup = new Cleanup(ours);
    cleanup.ask();
    let most = 0;
    await until("all are removed", () => {
      most = Math.max(most, calls(posix, ["unlink", "unlinkQueue", "openFile"], () => cleanup.run()));
      return left() === 0;
    });
    assertEquals(most > 0 && most <= MAX_BUSES, true, `${most} calls at once`);
    cleanup.end();
  });

  each(
    "of more subscribers than there can be: publishes are refused until those of dead ones are removed",
    async (flooded) => {
      const { name, ours, intrude } = flooded;
      await using bus = await Bus.open(ipc({ group: GROUP }), { namespace: name });
      await bus.subscribe("topic", () => {}).ready;
      await bus.expose("function", () => "result");
      const rounds: [directory: string, act: () => Promise<unknown>, result: unknown][] = [
        [TOPIC, () => bus.publish("event", "topic"), 1],
        [ours.names.servers("function"), () => bus.stub("function")(), "result"],
      ];
      for (const [directory, act, result] of rounds) {
        await intrude("links", directory, 4 * MAX_BUSES);
        const error = await assertRejects(act, BusError, `there are the names of more than ${MAX_BUSES} buses`);
        assertEquals(error.code, "busy");
        await until("they are removed", () => ours.directories.list(directory).length === 1);
        assertEquals(await act(), result);
      }
      assertEquals(bus.health().restarts, 0);
    },
  );

  each(
    "in the directory of patterns: foreign ones cost no call, and too many of buses stop publishes",
    async (flooded) => {
      const { ours, intrude } = flooded;
      const { directories, names, posix, processes, subscriptions } = ours;
      const bus = names.newBus(processes.self, 0);
      directories.make(ours.busDirectory(bus));
      subscriptions.patterns.subscribe("t*", bus, ours.busDirectory(bus));
      await intrude("files", "patterns", 1_000, "x", hashed("pattern"));
      const route = () => subscriptions.route("topic").destinations.length;
      assertEquals(route(), 1);
      assertEquals(calls(posix, ["stat", "openFile"], () => assertEquals(route(), 1)) < 10, true);
      await intrude("files", "patterns", MAX_BINDINGS, bus.slice(0, bus.lastIndexOf(".") + 1), hashed("pattern"));
      for (const act of [route, () => subscriptions.patterns.subscribe("a*", bus, ours.busDirectory(bus))]) {
        const error = assertThrows(act, BusError, `has ${MAX_BINDINGS + 1} patterns of buses`);
        assertEquals(error.code, "busy");
      }
    },
  );
});
