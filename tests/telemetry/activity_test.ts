// run: on deno
import { assert, assertEquals, assertMatch } from "@std/assert";
import { afterAll, beforeAll, describe, it } from "@std/testing/bdd";
import { Bus, type BusOptions, memory } from "../../mod.ts";
import { TrafficMeter, type TrafficRow } from "../../cli/traffic.ts";
import { engineOf } from "../../src/bus.ts";
import { listQueues } from "../../cli/overview.ts";
import { RawClient } from "../../src/conformance/raw_client.ts";
import type { Admin } from "../../src/provider/admin.ts";
import { SignedEnvelopes } from "../../src/keys/signed_envelopes.ts";
import { ACTIVITY } from "../../src/rpc/activity_answers.ts";
import { writeRequest } from "../../src/rpc/wire.ts";
import { Activity, addDurations, MAX_ANSWER, median, readActivity } from "../../src/telemetry/activity.ts";
import { spy } from "../support/spy.ts";
import { pause, until } from "../support/until.ts";
import { warnings } from "../support/warnings.ts";

/** Reads the counts of an activity, as the tool does. */
function counts(activity: Activity, keep = 1_000) {
  return readActivity(JSON.parse(activity.read(keep)));
}

describe("Activity", () => {
  it("counts only while somebody asks, and forgets its counts when nobody does", async () => {
    const activity = new Activity();
    const handler = () => Promise.resolve();
    activity.put("jobs");
    assertEquals(activity.timed("jobs", handler), handler); // without a measurement
    assertEquals(counts(activity)!.queues, []);
    activity.put("jobs");
    activity.put("jobs");
    activity.taken("jobs");
    activity.taken("other", 3);
    await activity.timed("jobs", handler)();
    const [jobs, other] = counts(activity)!.queues;
    assertEquals([jobs!.name, jobs!.puts, jobs!.takes, other!.takes], ["jobs", 2, 1, 3]);
    assertEquals([jobs!.durations.length, jobs!.durations[1]], [2, 1]);
    await until("it has stopped", () => activity.timed("jobs", handler) === handler);
    assertEquals(counts(activity)!.queues, []);
    activity.end();
  });

  it("counts at most 1,000 queues with names of at most 512 characters, and its answer is limited", () => {
    const activity = new Activity();
    activity.read(1_000);
    activity.put("x".repeat(513));
    for (let i = 0; i < 2_000; i++) activity.put(`${i}`);
    assertEquals(counts(activity)!.queues.length, 1_000);
    activity.end();
    activity.read(1_000);
    for (let i = 0; i < 1_000; i++) activity.put(`${i}`.padEnd(512, "é"));
    const text = activity.read(1_000);
    assert(text.length <= 128 * 1024 && JSON.parse(text).queues.length > 200, `${text.length}`);
    activity.end();
  });

  it("names the queues that the bus consumes, at most 1,000, and a peer of an older version names none", () => {
    const activity = new Activity();
    const ends = [activity.consumes("jobs", 2), activity.consumes("jobs", Infinity), activity.consumes("mails", 1)];
    activity.consumes("x".repeat(513), 1);
    const mails = { name: "mails", consumers: 1, concurrency: 1 };
    assertEquals(counts(activity)!.consumed, [{ name: "jobs", consumers: 2, concurrency: Infinity }, mails]);
    ends[1]!();
    assertEquals(counts(activity)!.consumed, [{ name: "jobs", consumers: 1, concurrency: 2 }, mails]);
    ends[0]!();
    assertEquals(counts(activity)!.consumed, [mails]);
    for (let i = 0; i < 2_000; i++) activity.consumes(`${i}`, 1);
    assertEquals(counts(activity)!.consumed!.length, 1_000);
    activity.end();
    assertEquals(readActivity({ ms: 5, queues: [] }), { ms: 5, queues: [] });
  });

  it("its answer is read strictly: any peer may have written it", () => {
    const right = { ms: 5, queues: [["jobs", 1, 2, [3, 4]]] };
    assertEquals(readActivity(right), {
      ms: 5,
      queues: [{ name: "jobs", puts: 1, takes: 2, durations: [3, 4] }],
    });
    const row = (...fields: unknown[]) => ({ ms: 5, queues: [fields] });
    const wrong: unknown[] = [
      null,
      7,
      "x",
      [],
      {},
      { ms: -1, queues: [] },
      { ms: 1e300, queues: [] },
      { ms: 5, queues: {} },
      { ms: 5, queues: [7] },
      { ms: 5, queues: Array.from({ length: 1_001 }, (_, i) => [`${i}`, 0, 0, []]) },
      row("", 1, 1, []),
      row("x".repeat(513), 1, 1, []),
      row(7, 1, 1, []),
      row("\ud800", 1, 1, []),
      row("a\0", 1, 1, []),
      { ms: 5, queues: [], consumed: [["\ud800", 1, 1]] },
      row("a", "1", 1, []),
      row("a", 1, NaN, []),
      row("a", 1, 1, [1, 0.5]),
      row("a", 1, 1, Array(300).fill(0)),
      row("a", 1, 1),
      { ms: 5, queues: [], consumed: {} },
      ...[[7], [["a"]], [["", 1, 1]], [["a", 1, "1"]], [["a", -1, 1]], Array(1_001).fill(["a", 1, 1])].map((
        consumed,
      ) => (
        { ms: 5, queues: [], consumed }
      )),
    ];
    for (const each of wrong) assertEquals(readActivity(each), undefined, JSON.stringify(each));
  });

  it("the median of durations is accurate to a tenth", async () => {
    const activity = new Activity();
    activity.read(1_000);
    const clock = performance.now;
    try {
      for (const ms of [0.02, 0.5, 40, 41, 42, 3_000, 9e9]) {
        let now = 1_000;
        performance.now = () => now;
        await activity.timed("jobs", () => Promise.resolve(void (now += ms)))();
      }
    } finally {
      performance.now = clock;
    }
    const sums: number[] = [];
    addDurations(sums, counts(activity)!.queues[0]!.durations, []);
    const found = median(sums)!;
    assert(found > 37 && found < 46, `${found}`);
    assertEquals(median([]), undefined);
    activity.end();
  });

  it("durations of two answers are subtracted, and buckets beyond the last one count for it", () => {
    const sums: number[] = [];
    addDurations(sums, [3, 4, 5, 1, 900, 2], [3, 1]);
    addDurations(sums, [5, 2, 3, 1], [3, 5]);
    assertEquals(Object.entries(sums), [["3", 4], ["5", 3], ["115", 2]]);
  });
});

describe("the traffic of queues", () => {
  const provider = memory();
  const namespace = "traffic";
  const KEYS = { keys: [{ id: "a", secret: "a".repeat(32) }] };
  let admin: Admin;
  beforeAll(async () => {
    admin = await provider.admin!.open(namespace);
  });
  afterAll(() => admin.close());
  const open = (options: BusOptions = {}) => Bus.open(provider, { namespace, ...options });

  /** Looks until a row of a queue is as it should be. */
  async function row(tool: Bus, name: string, as: (row: TrafficRow) => boolean): Promise<TrafficRow> {
    const meter = new TrafficMeter(tool, admin, 100);
    let found: TrafficRow | undefined;
    await until(`the traffic of ${name}`, async () => {
      const rows = await meter.look(async () => ({ queues: await listQueues(admin) ?? [], complete: true }));
      found = rows.find((each) => each.name === name);
      return found !== undefined && as(found);
    });
    return found!;
  }

  for (const options of [{}, KEYS, { ...KEYS, encrypt: true }]) {
    it(`is what the buses count: ${JSON.stringify(Object.keys(options))}`, async () => {
      await using bus = await open(options);
      await using tool = await open(options);
      const queue = bus.queue("jobs");
      await using _ = queue.consume(() => new Promise((resolve) => setTimeout(resolve, 20)));
      const putting = setInterval(() => queue.put(1), 10);
      try {
        await row(tool, "jobs", (found) => found.in! > 0 && found.out! > 0);
        const { p50 } = await row(tool, "jobs", ({ p50 = 0 }) => p50 > 15);
        assert(p50! < 10_000);
      } finally {
        clearInterval(putting);
        await queue.free();
      }
    });
  }

  it("a get, a receive, a retry and a purge are counted too", async () => {
    await using bus = await open();
    const { activity } = engineOf(bus);
    activity.read(60_000);
    const queue = bus.queue("jobs");
    for (let i = 0; i < 6; i++) await queue.put(i);
    await queue.get();
    await (await queue.receive()).ack();
    await using failing = queue.consume(() => Promise.reject(new Error("on purpose")), { maxAttempts: 1 });
    bus.addEventListener("error", () => {});
    await until("four are dead", async () => await queue.dead.size() === 4);
    await failing.close();
    await queue.dead.retry();
    await queue.purge();
    const [jobs] = counts(activity)!.queues;
    assertEquals([jobs!.name, jobs!.puts, jobs!.takes], ["jobs", 10, 10]);
  });

  it("the growth of the queue completes the counts of the buses", async () => {
    await using bus = await open();
    await using tool = await open({ authorize: () => false });
    const errors: unknown[] = [];
    await using silent = await open({
      authorize: () => {
        throw new Error("on purpose");
      },
    });
    silent.addEventListener("error", ({ error }) => errors.push(error));
    const queue = silent.queue("jobs");
    const meter = new TrafficMeter(tool, admin, 100);
    const look = async () =>
      (await meter.look(async () => ({ queues: await listQueues(admin) ?? [], complete: true })))[0]!;
    await queue.put(0);
    assertEquals((await look()).in, undefined);
    for (let i = 0; i < 50; i++) await queue.put(i);
    const grown = await look();
    assert(grown.in! > 0 && grown.out === 0 && grown.p50 === undefined, JSON.stringify(grown));
    for (let i = 0; i < 50; i++) await queue.get();
    const shrunk = await look();
    assert(shrunk.in === 0 && shrunk.out! > 0, JSON.stringify(shrunk));
    await bus.queue("jobs").free();
    assertEquals(errors, []); // a hook need not know this function
  });

  it("a bus with keys answers no question that is not signed, and reveals nothing", async () => {
    await using bus = await open(KEYS);
    bus.addEventListener("error", () => {});
    const client = await RawClient.open(provider, namespace);
    const inbox = engineOf(bus).link.inbox;
    const call = { id: crypto.randomUUID(), inbox: client.address, deadline: Date.now() + 1_000 };
    await client.sender.post(inbox!, writeRequest(ACTIVITY, "", { json: "[1000]" }, call));
    await until("it is refused", () => bus.health().refused === 1);
    await client.close();
    assertEquals(client.inbox, []);
  });

  it("a bus with keys answers a signed question once", async () => {
    const asked: unknown[] = [];
    await using bus = await Bus.open(provider, { namespace, ...KEYS, authorize: ({ fn }) => !!asked.push(fn) });
    const client = await RawClient.open(provider, namespace);
    const inbox = engineOf(bus).link.inbox!;
    const ask = () => {
      const call = { id: crypto.randomUUID(), inbox: client.address, deadline: Date.now() + 10_000 };
      const question = writeRequest(ACTIVITY, "", { json: "[1000]" }, call);
      return new SignedEnvelopes(namespace, KEYS.keys, false).seal("inbox", inbox, question);
    };
    const question = ask();
    for (let i = 0; i < 10; i++) await client.sender.post(inbox, question);
    await client.sender.post(inbox, ask());
    await until("all are answered", () => client.inbox.length === 11);
    assertEquals(client.inbox.filter((text) => text.includes('"refused":"forgotten"')).length, 9);
    await client.close();
    assertEquals(asked, [ACTIVITY, ACTIVITY]);
  });

  it("an answer of more characters than a bus writes is not parsed", async () => {
    await using bus = await open();
    await using tool = await open();
    const errors: string[] = [];
    tool.addEventListener("error", ({ message }) => errors.push(message));
    let rows = 1_000;
    await bus.expose(ACTIVITY, () => {
      return { ms: 0, queues: [], consumed: Array.from({ length: rows }, (_, i) => [`${i}`.padStart(200), 1, 1]) };
    });
    const look = () => new TrafficMeter(tool, admin, 100).look(() => Promise.resolve({ queues: [], complete: true }));
    const parsed: unknown[] = [];
    const end = spy(JSON, "parse", parsed);
    try {
      assertEquals((await look()).length, 0);
    } finally {
      end();
    }
    assertEquals(parsed.map((text) => String(text).length).filter((length) => length > MAX_ANSWER), []);
    assertMatch(errors[0]!, /^Cannot read a message of 2\d{5} characters: this bus reads at most \d{6}/);
    rows = 600;
    assertEquals((await look()).length, 600);
  });

  /** Looks once, where these many buses answer with an activity. Returns the rows, the warnings, and how many were asked, and at once. */
  async function ask(buses: number, answer: (bus: number) => unknown) {
    await using tool = await open();
    let [asked, running, most] = [0, 0, 0];
    engineOf(tool).caller.at = async (_, fn) => {
      most = Math.max(most, ++running);
      const result = answer(asked++);
      await pause(0);
      running--;
      return { fn, result, resultType: "dict", isError: false };
    };
    const inboxes = () => Promise.resolve(Array.from({ length: buses }, (_, i) => `${i}`));
    const meter = new TrafficMeter(tool, { inboxes } as unknown as Admin, 100);
    let rows: TrafficRow[] = [];
    const told = await warnings(async () => {
      rows = await meter.look(() => Promise.resolve({ queues: [{ name: "jobs" }], complete: true }));
    });
    return { rows, told, asked, most };
  }

  it("16 buses are asked at once, and no more when the answers have too many characters", async () => {
    const consumed = [["jobs", 1, 1]];
    const few = await ask(100, () => ({ ms: 0, queues: [], consumed }));
    assertEquals(few.rows, [{ name: "jobs", consumers: 100, concurrency: 100 }]);
    assertEquals([few.told, few.asked, few.most], [[], 100, 16]);
    const flat = Array.from({ length: 116 }, (_, i) => [i, 1]).flat();
    const queues = Array.from({ length: 200 }, (_, i) => [`q${i}`, 1, 1, flat]);
    const many = await ask(250, () => ({ ms: 0, queues, consumed }));
    assertEquals([many.asked, many.most, many.told.length], [80, 16, 1]);
    assertMatch(many.told[0]!, /^The answers of the buses of the namespace traffic .* the others are not counted/);
    const silent = await ask(250, () => undefined);
    assertEquals([silent.asked, silent.rows], [250, [{ name: "jobs" }]]);
  });

  it("a function of this name that a program exposes comes first, and a malformed result is ignored", async () => {
    await using bus = await open();
    await using tool = await open();
    await bus.expose(ACTIVITY, () => ({ ms: 0, queues: "all" }));
    await bus.queue("jobs").put(1);
    const meter = new TrafficMeter(tool, admin, 100);
    const look = () => meter.look(async () => ({ queues: await listQueues(admin) ?? [], complete: true }));
    await look();
    await bus.queue("jobs").put(2);
    const [found] = await look();
    assertEquals(found!.waiting, 2);
    assert(found!.in! > 0); // its growth
    await bus.queue("jobs").free();
  });
});
