/** The dashboard of a namespace in which a peer has put what nobody can read, or much of it: everything else is shown. */
// run: on bun
import { Buffer } from "node:buffer";
import { assert, assertEquals } from "@std/assert";
import { afterAll, beforeAll, describe, it } from "@std/testing/bdd";
import { Bus } from "../../mod.ts";
import { Codec } from "../../src/codec/codec.ts";
import { writeMarks } from "../../src/codec/marks.ts";
import type { Sender, SenderContext } from "../../src/provider/provider.ts";
import { memory } from "../../src/providers/memory/provider.ts";
import { writeLetter } from "../../src/queue/letter.ts";
import { type Dashboard, openDashboard } from "../../ui/mod.ts";
import { Monitor } from "../../ui/monitor.ts";
import type { Frame, Page } from "../../ui/protocol.ts";
import { type Snapshot, Source } from "../../ui/source.ts";
import { spy } from "../support/spy.ts";
import { until } from "../support/until.ts";

const CAUSE = { name: "Error", message: "why" };
/** A text that each reader of JSON reads, and that no bus writes. */
const DEEP = "[".repeat(2_000) + "]".repeat(2_000);

describe("the dashboard of a hostile peer's namespace", () => {
  const inner = memory();
  let sender: Sender;
  const provider = { ...inner, open: async (context: SenderContext) => sender = await inner.open(context) };
  /** Puts a text that no codec has written. */
  const putRaw = (queue: string, text: string) => sender.send(queue, text, { wait: 0 });
  let bus: Bus;
  let dashboard: Dashboard;
  beforeAll(async () => {
    bus = await Bus.open(provider);
    dashboard = await openDashboard(provider, { interval: 50 });
  });
  afterAll(async () => {
    await dashboard.close();
    await bus.close();
  });

  async function page(path: string): Promise<Page["items"]> {
    const answer = await fetch(`${dashboard.url}${path}&offset=0&limit=25`);
    assertEquals(answer.status, 200, await answer.clone().text());
    return ((await answer.json()) as Page).items;
  }

  it("shows its items and dead letters, also beside those that are malformed", async () => {
    const good = { queue: "a", item: 1, attempts: 2, cause: CAUSE };
    const malformed = [
      null,
      "text",
      { ...good, cause: null },
      { ...good, cause: { name: { toString: 1 }, message: "x" } },
      { ...good, attempts: { valueOf: 1 } },
      { ...good, unreadable: true, item: { toString: 1 } },
    ];
    for (const letter of malformed) await bus.queue("a.dead").put(letter);
    await putRaw("a.dead", `{"queue":"a","item":${DEEP},"attempts":1,"cause":{"name":"Error","message":"why"}}`);
    await bus.queue("a.dead").put(good);
    const letters = await page("letters?queue=a");
    assertEquals(letters.length, malformed.length + 2);
    assertEquals(letters.map(({ key }) => key !== undefined), [...Array(malformed.length + 1).fill(false), true]);
    const { text, attempts, cause, queue } = letters.at(-1)!;
    assertEquals([text, attempts, cause, queue], ["1", 2, CAUSE, "a"]);
    assertEquals(await bus.queue("a").dead.retry({ only: ({ cause }) => cause.message === "why" }), 1);

    const times: unknown[] = [1e300, NaN, "now", null, 5];
    for (const time of times) await bus.queue("t.dead").put({ ...good, queue: "t", time });
    assertEquals((await page("letters?queue=t")).map(({ time }) => time), [...Array(4).fill(undefined), 5]);

    // the mark of a set or a map says nothing about the values in it; a map takes two levels when it is written
    const nested: [json: string, mark?: string][] = [
      [DEEP],
      [`[${DEEP}]`, '"S"'],
      [`{"a":${DEEP}}`, '"M"'],
      [`{"b":[${DEEP}]}`, '{"b":"S"}'],
      ['{"a":'.repeat(300) + "1" + "}".repeat(300), '["M",['.repeat(299) + '"M"' + "]]".repeat(299)],
    ];
    const texts = nested.map(([json, mark]) => json + writeMarks(mark));
    const rest = ',"attempts":1,"cause":{"name":"Error","message":"why"}}';
    for (const text of texts) await putRaw("b", text);
    for (const [json, mark] of nested) {
      await putRaw("b.dead", `{"queue":"b","item":${json}${rest}${writeMarks(mark && `{"item":${mark}}`)}`);
    }
    await bus.queue("b").put("readable");
    const items = await page("items?queue=b");
    assertEquals(items.map(({ text }) => text), [...texts, '"readable"']);
    for (const { cause } of items.slice(0, -1)) {
      assertEquals(cause?.message, "Cannot show a value: it is nested more than 500 levels deep");
    }
    const shown = await page("letters?queue=b");
    assertEquals(shown.map(({ cause }) => cause?.message), nested.map(() => items[0]!.cause?.message));
  });

  it("neither decodes nor writes a long item or letter, and the key of a letter is that of its body", async () => {
    const list = `[${Array(50_000).fill('""')}]`;
    const letter = writeLetter("long", list + writeMarks('["B"]'), true, 1, CAUSE, 5);
    await putRaw("long", list + writeMarks('["B"]'));
    await putRaw("long.dead", letter);
    await putRaw("long.dead", writeLetter("long", "x".repeat(100_000), false, 1, CAUSE, 5));
    await putRaw("long.dead", `{"item":${list},"cause":{"name":"a","message":"b"},"queue":"other","attempts":1}`);
    await putRaw("long.dead", letter);
    const source = new Source(bus, undefined);
    const calls: unknown[] = [];
    const restore = [spy(Codec.prototype, "line", calls), spy(Codec.prototype, "decode", calls)];
    const items = (await source.items("long", 0, 25)).items;
    const letters = (await source.letters("long", 0, 25)).items;
    const death = { cause: "Error: why", time: 5 };
    assertEquals(await source.lastLetter("long", 1), death);
    const parsed: unknown[] = [];
    restore.push(spy(JSON, "parse", parsed));
    assertEquals(await source.lastLetter("long", 4), death);
    for (const end of restore) end();
    assertEquals([calls.length, parsed.length], [0, 0]);
    assertEquals([items[0]!.text, items[0]!.cut! > 50_000], [list.slice(0, 65_536), true]);
    assertEquals(letters.map(({ text, cut }) => [text.length, text.slice(0, 3), cut! > 30_000]), [
      [65_536, '[""', true],
      [65_536, "xxx", true],
      [65_536, '{"i', true],
      [65_536, '[""', true],
    ]);
    assertEquals(letters.map(({ queue, cause, time }) => [queue, cause!.message, time]), [
      ["long", "why", 5],
      ["long", "why", 5],
      ["other", "b", undefined],
      ["long", "why", 5],
    ]);
    const [first, text, , last] = letters.map(({ key }) => key);
    assertEquals(first, last);
    assertEquals(await source.act({ action: "retry", queue: "long", key: first }), 1);
    assertEquals(await source.act({ action: "purge-dead", queue: "long", key: text }), 1);
    assertEquals((await source.letters("long", 0, 25)).items.map(({ key }) => key === last), [false, true]);
  });

  it("retries a letter of an older bus by its key", async () => {
    await putRaw(
      "old.dead",
      '{"queue":"old","item":{"__obj":["a"],"__type":"set"},"attempts":1,"cause":{"name":"E","message":"m"}}',
    );
    const source = new Source(bus, undefined);
    const [letter] = (await source.letters("old", 0, 25)).items;
    assertEquals([letter!.text, letter!.time], ['{"__obj":["a"],"__type":"tsmq:Set"}', undefined]);
    assertEquals(await source.act({ action: "retry", queue: "old", key: letter!.key }), 1);
    assertEquals(await bus.queue("old").get({ block: false }), new Set(["a"]));
  });

  it("does other work between two letters that are slow to write", async () => {
    for (let i = 0; i < 10; i++) {
      await bus.queue("slow.dead").put({ queue: "slow", item: i, attempts: 1, cause: CAUSE });
    }
    const { now } = performance;
    const { line } = Codec.prototype;
    let late = 0;
    let between = 0;
    const written: number[] = [];
    const timer = setInterval(() => between++);
    performance.now = () => now.call(performance) + late;
    Codec.prototype.line = function (value) {
      late += 50;
      written.push(between);
      return line.call(this, value);
    };
    try {
      await new Source(bus, undefined).letters("slow", 0, 25);
    } finally {
      performance.now = now;
      Codec.prototype.line = line;
      clearInterval(timer);
    }
    assertEquals(new Set(written).size, 10);
  });

  it("keeps the beginning of a long report or cause only", async () => {
    const message = "x".repeat(1_000_000);
    await bus.queue("c.dead").put({ queue: "c", item: 1, attempts: 1, cause: { name: message, message } });
    const [letter] = await page("letters?queue=c");
    assertEquals([letter!.cause!.name.length, letter!.cause!.message.length], [65_536, 65_536]);
    const source = new Source(bus, undefined);
    await using monitor = new Monitor(source, { transport: "", namespace: "global", interval: 50 });
    monitor.report("dead", message);
    const frames: Frame[] = [];
    monitor.watch((text) => frames.push(JSON.parse(text) as Frame))();
    const [hello] = frames as [Frame & { type: "hello" }];
    assertEquals(hello.reports.map(({ text }) => text.length), [1_001]);
  });

  it("sends as many rows of a large table as a viewer can receive, and the number of the others", async () => {
    const queues = Array.from({ length: 20_000 }, (_, i) => ({ id: `${i}`, name: "\u20ac".repeat(1_000), waiting: 1 }));
    class Large extends Source {
      override async snapshot(): Promise<Snapshot> {
        const found = await super.snapshot();
        return { ...found, tables: { ...found.tables, queues } };
      }
    }
    const frames: Frame[] = [];
    const sizes: number[] = [];
    const send = (text: string) => {
      sizes.push(Buffer.byteLength(text));
      frames.push(JSON.parse(text) as Frame);
    };
    const source = new Large(bus, undefined);
    await using monitor = new Monitor(source, { transport: "", namespace: "global", interval: 50 });
    monitor.watch(send);
    await until("there is a sample", () => frames.some(({ type }) => type === "sample"));
    monitor.watch(send);
    const [sample] = frames.filter((frame) => frame.type === "sample");
    const hello = frames.filter((frame) => frame.type === "hello").at(-1)!;
    const rows = hello.tables.queues;
    assertEquals(sample!.changes.queues!.set.length, rows.length);
    for (const { leftOut } of [sample!, hello]) assertEquals(leftOut.queues, queues.length - rows.length);
    assert(rows.length > 500 && Math.max(...sizes) < 3_000_000, `${rows.length} rows, ${Math.max(...sizes)} bytes`);
    assertEquals(sample!.totals.waiting, queues.length);
  });

  it("shows a pattern beside the topics that are named like it", async () => {
    const admin = await provider.admin!.open("global");
    const names = ["x*", "glob x*", "pattern x*", "topic x*"];
    const topics = names.flatMap((
      name,
    ) => [bus.subscribe(name, () => {}), bus.subscribe(name, () => {}, { pattern: true })]);
    await Promise.all(topics.map(({ ready }) => ready));
    const { tables } = await new Source(bus, admin).snapshot();
    assertEquals(new Set(tables.topics.map(({ id }) => id)).size, 2 * names.length);
    for (const topic of topics) await topic.unsubscribe();
    await admin.close();
  });

  it("counts the events of a topic of a megabyte, and does not keep the topic", async () => {
    const source = new Source(bus, undefined);
    const stop = await source.count();
    await bus.publish(1, "x".repeat(1_000_000));
    await bus.publish(1, "short");
    let snapshot = await source.snapshot();
    await until("both are counted", async () => (snapshot = await source.snapshot()).events === 2);
    assertEquals(snapshot.tables.topics.map(({ name }) => name), ["short"]);
    assert(snapshot.tables.topics[0]!.seen === 1);
    await stop();
  });
});
