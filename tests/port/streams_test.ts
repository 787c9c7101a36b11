import { assertEquals } from "@std/assert";
import { describe, it } from "@std/testing/bdd";
import { pack } from "../../src/port/batch.ts";
import { WINDOW } from "../../src/port/credit.ts";
import { ProviderError } from "../../mod.ts";
import { fromPlain } from "../../src/errors.ts";
import { REPLACED, Streams, type StreamsLink } from "../../src/port/streams.ts";
import { until } from "../support/until.ts";
import type { Filter } from "../../src/provider/provider.ts";

const filterOf = (topic: string): Filter => ({ topic, pattern: false, serves: false });

/** Streams whose link records what it is asked, and whose worker can be replaced. */
function streams() {
  let worker = 1;
  let ids = 0;
  const asked: unknown[] = [];
  const refusals: Error[] = [];
  const during: (() => void)[] = [];
  const link: StreamsLink = {
    worker: () => `worker ${worker}`,
    connected: () => true,
    nextId: () => ++ids,
    subscribe: (_id, { topic }) => {
      asked.push(["subscribe", topic, `worker ${worker}`]);
      during.shift()?.();
      return refusals.length > 0 ? Promise.reject(refusals.shift()) : Promise.resolve();
    },
    unsubscribe: (id) => Promise.resolve(void asked.push(["unsubscribe", id])),
    credit: (id, count) => void asked.push(["credit", id, count]),
    fault: (error) => void asked.push(fromPlain(error)),
  };
  const made = new Streams(link);
  const replace = () => {
    made.broke();
    worker++;
    return made.resume();
  };
  return { streams: made, asked, refusals, during, replace };
}

describe("Streams", () => {
  it("subscribes all streams again at a new worker, except closed ones", async () => {
    const { streams: some, asked, replace } = streams();
    const all = ["a", "b", "c"].map((topic) => some.open(filterOf(topic), () => {}));
    await Promise.all(all.map(({ ready }) => ready));
    await all[1]!.close();
    asked.length = 0;
    await replace();
    assertEquals(asked, [["subscribe", "a", "worker 2"], ["subscribe", "c", "worker 2"]]);
  });

  it("reports the gap of a dead worker once, before the events of the next one", async () => {
    const { streams: some, replace } = streams();
    const seen: unknown[] = [];
    const stream = some.open(
      filterOf("a"),
      (_, bodies) => seen.push(...bodies),
      (reason, lost) => seen.push({ reason, lost }),
    );
    await stream.ready;
    some.receive({ kind: "events", runs: [1, 1], bodies: pack(["before"]) });
    const replaced = replace();
    some.receive({ kind: "events", runs: [1, 1], bodies: pack(["after"]) });
    await replaced;
    assertEquals(seen, ["before", { reason: REPLACED, lost: 0 }, "after"]);
  });

  it("tries again when a transport refuses to restore a stream or a binding, and nothing waits for that", async () => {
    const { streams: some, asked, refusals, during, replace } = streams();
    const all = [some.open(filterOf("a"), () => {}), some.open(filterOf("b"), () => {}, undefined, "b@g")];
    await Promise.all(all.map(({ ready }) => ready));
    asked.length = 0;
    const full = () => new ProviderError("denied", "Cannot subscribe: on purpose");
    refusals.push(full(), full(), full());
    await replace();
    some.rebind(); // does not add further attempts
    await until("both are subscribed", () => asked.length === 8);
    const codes = asked.filter((each) => each instanceof ProviderError).map(({ code }) => code);
    assertEquals(codes, ["denied", "denied", "denied"]);
    for (const topic of ["a", "b"]) {
      const times = asked.filter((each) => Array.isArray(each) && each[1] === topic).length;
      assertEquals(times, topic === "a" ? 3 : 2, topic);
    }
    // a rebind of a connected bus is refused for a while too
    asked.length = 0;
    refusals.push(full());
    during.push(() => {}, () => some.rebind()); // a reconnection during the retry adds no attempt either
    some.rebind();
    await until("it is bound", () => asked.length === 3);
    assertEquals(asked.filter(Array.isArray), [1, 2].map(() => ["subscribe", "b", "worker 2"]));
  });

  it("gives all credit back, in pieces of half a window", async () => {
    const { streams: some, asked } = streams();
    const stream = some.open(filterOf("a"), () => {});
    await stream.ready;
    asked.length = 0;
    for (let i = 0; i < 8; i++) stream.credit(WINDOW / 4);
    assertEquals(asked, Array.from({ length: 4 }, () => ["credit", 1, WINDOW / 2]));
  });
});
