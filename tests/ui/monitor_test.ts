/** The samples of the dashboard: where some are missing, and when a dead letter was made. */
import { assertEquals } from "@std/assert";
import { describe, it } from "@std/testing/bdd";
import { Bus, memory } from "../../mod.ts";
import { Monitor } from "../../ui/monitor.ts";
import type { Frame } from "../../ui/protocol.ts";
import { type Snapshot, Source } from "../../ui/source.ts";
import { until } from "../support/until.ts";

class Failing extends Source {
  fails = false;

  override async snapshot(): Promise<Snapshot> {
    if (this.fails) throw new Error("on purpose");
    return await super.snapshot();
  }
}

describe("the monitor of the dashboard", () => {
  it("marks the first sample after missing ones, and reports dead letters with the time of the last one", async () => {
    const provider = memory();
    await using bus = await Bus.open(provider);
    const admin = await provider.admin!.open("global");
    const source = new Failing(bus, admin);
    const frames: Frame[] = [];
    const samples = () => frames.flatMap((frame) => frame.type === "sample" ? [frame.totals] : []);
    {
      await using monitor = new Monitor(source, { transport: "", namespace: "global", interval: 50 });
      monitor.watch((text) => frames.push(JSON.parse(text) as Frame));
      await until("it has two samples", () => samples().length > 2);
      source.fails = true;
      await until("one fails", () => frames.some((frame) => frame.type === "report"));
      const cause = { name: "Error", message: "why" };
      await bus.queue("jobs.dead").put({ queue: "jobs", item: 1, attempts: 1, cause, time: 60_000 });
      const before = samples().length;
      source.fails = false;
      await until("there are further samples", () => samples().length > before + 1);
      assertEquals(samples().slice(1).map(({ gap }) => gap).indexOf(true), before - 1);
      assertEquals(samples().filter(({ gap }) => gap).length, 1);
      const reports = frames.flatMap((frame) => frame.type === "report" ? [frame.report] : []);
      assertEquals(reports.at(-1), { time: 60_000, kind: "dead", text: "jobs: 1 more, the last one: Error: why" });
    }
    await admin.close();
  });

  it("counts reading dead letters in the twentieth of the time that samples take", async () => {
    const { now } = performance;
    let late = 0;
    /** Each sample has a further dead letter, and reading it takes 1,234 ms. */
    class Slow extends Source {
      reads = 0;
      override async snapshot(): Promise<Snapshot> {
        const found = await super.snapshot();
        const queues = [{ id: "jobs", name: "jobs", dead: ++this.reads }];
        return { ...found, tables: { ...found.tables, queues }, took: 1 };
      }
      override lastLetter(): Promise<{ cause: string }> {
        late += 1_234;
        return Promise.resolve({ cause: "why" });
      }
    }
    await using bus = await Bus.open(memory());
    const pauses: unknown[] = [];
    const { setTimeout: timer } = globalThis;
    performance.now = () => now.call(performance) + late;
    globalThis.setTimeout = ((act: () => void, ms: number) => {
      pauses.push(ms);
      return timer(act, ms);
    }) as typeof setTimeout;
    try {
      const source = new Slow(bus, undefined);
      await using monitor = new Monitor(source, { transport: "", namespace: "global", interval: 50 });
      monitor.watch(() => {});
      // no timer of a bus has such a time
      const rests = () => pauses.some((ms) => Number(ms) >= 19 * 1_235 && Number(ms) < 29_000);
      await until("it rests or takes a further sample", () => rests() || source.reads > 2);
      assertEquals(source.reads, 2);
    } finally {
      performance.now = now;
      globalThis.setTimeout = timer;
    }
  });
});
