import { assert, assertEquals } from "@std/assert";
import { afterEach, describe, it } from "@std/testing/bdd";
import { pack, unpack } from "../../src/port/batch.ts";
import { cost, INBOX } from "../../src/port/credit.ts";
import { AHEAD_LIMIT, HELD_LIMIT, Inflow, WORKER_LIMIT } from "../../src/port/inflow.ts";
import type { ToMain } from "../../src/port/protocol.ts";

const MEGABYTE = "x".repeat(1024 * 1024);

/** The bodies and gaps (`gap:<lost>`) that reached main, in order. */
function seen(posted: readonly ToMain[]): string[] {
  return posted.flatMap((frame) => {
    if (frame.kind === "inbox") return frame.bodies;
    if (frame.kind === "events") return unpack(frame.bodies);
    return frame.kind === "gap" ? [`gap:${frame.lost}`] : [];
  });
}

/** The inflows of the running test. */
const inflows: Inflow[] = [];

function inflow(): { inflow: Inflow; posted: ToMain[] } {
  const posted: ToMain[] = [];
  const inflow = new Inflow((frame) => posted.push(frame));
  inflows.push(inflow);
  return { inflow, posted };
}

describe("pack()", () => {
  it("returns a value from which unpack() restores the same bodies", () => {
    for (
      const bodies of [[""], ["", ""], ["a"], ["a", "b", ""], ["\0"], ["a", "b\0c"], ["\0", "\0"], ["é", "\u{1f4a9}"]]
    ) {
      assertEquals(unpack(pack(bodies)), bodies);
    }
  });
});

describe("Inflow", () => {
  afterEach(() => {
    for (const inflow of inflows.splice(0)) inflow.end();
  });

  it("makes one frame each turn, with runs of events of one subscription", () => {
    const { inflow: flow, posted } = inflow();
    const one = flow.open(1, false, 10_000);
    const two = flow.open(2, true, 10_000);
    one("a", "1");
    two("b", "2");
    one("a", "3");
    two("c", "4");
    flow.sent();
    one("a", "5");
    one("a", "6");
    flow.sent();
    assertEquals(posted, [
      {
        kind: "events",
        runs: [1, 1, 2, 1, 1, 1, 2, 1],
        topics: ["", "b", "", "c"],
        bodies: pack(["1", "2", "3", "4"]),
      },
      { kind: "events", runs: [1, 2], bodies: pack(["5", "6"]) },
    ]);
  });

  it("holds no event for an ended subscription, although its receiver may emit until it has unsubscribed", () => {
    const { inflow: flow, posted } = inflow();
    const emit = flow.open(1, false, 0);
    flow.close(1);
    for (let held = 0; held <= HELD_LIMIT; held += MEGABYTE.length) emit("a", MEGABYTE);
    assertEquals(flow.congested, false);
    flow.open(2, false, 0)("b", "held");
    flow.credit(2, 1);
    assertEquals(seen(posted), ["held"]);
  });

  it("holds events without credit, but never inbox messages", () => {
    const { inflow: flow, posted } = inflow();
    const emit = flow.open(1, false, cost("1"));
    emit("a", "1");
    emit("a", "2");
    flow.inbox("answer");
    emit("a", "3");
    assertEquals(seen(posted), ["1", "answer"]);
    flow.sent();
    flow.credit(1, cost("2"));
    assertEquals(seen(posted), ["1", "answer", "2"]);
    flow.sent();
    flow.credit(1, 10_000);
    assertEquals(seen(posted), ["1", "answer", "2", "3"]);
  });

  it("reports the number of lost events between the earlier and the later events", () => {
    const { inflow: flow, posted } = inflow();
    const emit = flow.open(1, false, 0);
    const fit = Math.floor(HELD_LIMIT / cost(MEGABYTE));
    for (let i = 0; i < fit + 7; i++) emit("a", MEGABYTE);
    assertEquals(seen(posted), []);
    flow.credit(1, 3 * cost(MEGABYTE));
    flow.sent();
    emit("a", "late");
    flow.credit(1, HELD_LIMIT);
    const all = seen(posted);
    assertEquals(all.splice(fit), ["gap:7", "late"]);
    assert(all.every((body) => body === MEGABYTE));
  });

  it("counts the topics of a pattern's events too, because a peer may send long ones", () => {
    const { inflow: flow, posted } = inflow();
    const emit = flow.open(1, true, 0);
    const fit = Math.floor(HELD_LIMIT / cost("1", MEGABYTE));
    for (let i = 0; i < fit + 3; i++) emit(MEGABYTE, "1");
    flow.credit(1, 2 * cost("1", MEGABYTE));
    assertEquals(seen(posted), ["1", "1"]);
    flow.sent();
    flow.credit(1, HELD_LIMIT);
    assertEquals(seen(posted).slice(2), [...Array(fit - 2).fill("1"), "gap:3"]);
    assertEquals(flow.congested, false);
  });

  it("holds a gap between the events that wait for credit and those that come after it", () => {
    const { inflow: flow, posted } = inflow();
    const emit = flow.open(1, false, 0);
    emit("a", "before");
    flow.gap(1, "a reason");
    emit("a", "after");
    assertEquals(seen(posted), []);
    flow.credit(1, 10_000);
    assertEquals(seen(posted), ["before", "gap:0", "after"]);
  });

  it("reports a gap even if the handlers never catch up", () => {
    const { inflow: flow, posted } = inflow();
    const emit = flow.open(1, false, 0);
    let sent = 0;
    // two events arrive for each handled one, so the held events stay at their limit
    for (; sent < 400; sent += 2) {
      emit("a", MEGABYTE);
      emit("a", MEGABYTE);
      flow.credit(1, cost(MEGABYTE));
      flow.sent();
    }
    const gaps = posted.filter((frame) => frame.kind === "gap");
    const lost = gaps.reduce((sum, gap) => sum + gap.lost, 0);
    const received = seen(posted).length - gaps.length;
    assert(gaps.length > 0, "events were dropped without a gap");
    flow.credit(1, 2 * HELD_LIMIT);
    const all = posted.filter((frame) => frame.kind === "gap").reduce((sum, gap) => sum + gap.lost, 0);
    assert(all > lost && received > 0);
    assertEquals(seen(posted).filter((body) => body === MEGABYTE).length + all, sent);
  });

  it("is congested from half of its limit down to a quarter, and reports the end", () => {
    const { inflow: flow } = inflow();
    let drained = 0;
    flow.onDrain = () => drained++;
    const emit = flow.open(1, false, 0);
    while (!flow.congested) emit("a", MEGABYTE);
    flow.credit(1, HELD_LIMIT / 8);
    assert(flow.congested);
    flow.credit(1, HELD_LIMIT / 4);
    assertEquals([flow.congested, drained], [false, 1]);
  });

  it("holds a limited number of events for all buses of the worker, which are congested from half of it", () => {
    const buses = Array.from({ length: WORKER_LIMIT / HELD_LIMIT }, inflow);
    for (const [i, { inflow: flow }] of buses.entries()) {
      const emit = flow.open(1, false, 0);
      emit("a", "first");
      assertEquals(flow.congested, i > buses.length / 2);
      for (let held = 0; held <= HELD_LIMIT; held += MEGABYTE.length) emit("a", MEGABYTE);
    }
    const { inflow: flow, posted } = inflow();
    const emit = flow.open(1, false, 0);
    for (let i = 0; i < 10; i++) emit("a", MEGABYTE);
    flow.credit(1, HELD_LIMIT);
    assert(seen(posted).length <= 5 && posted.some(({ kind }) => kind === "gap"), "the worker held too much");
    flow.credit(1, -HELD_LIMIT);
    buses[0]!.inflow.end();
    emit("a", MEGABYTE);
    emit("a", "held");
    flow.credit(1, HELD_LIMIT);
    assertEquals(seen(posted).at(-1), "held");
  });

  it("drops the held events of an ended subscription", () => {
    const { inflow: flow, posted } = inflow();
    const emit = flow.open(1, false, 0);
    while (!flow.congested) emit("a", MEGABYTE);
    flow.close(1);
    flow.credit(1, HELD_LIMIT);
    assertEquals([flow.congested, posted], [false, []]);
    const fresh = flow.open(2, false, 0);
    const fit = Math.floor(HELD_LIMIT / cost(MEGABYTE));
    for (let i = 0; i < fit; i++) fresh("a", MEGABYTE);
    flow.credit(2, HELD_LIMIT);
    assertEquals(seen(posted).length, fit);
  });

  it("passes on any number of inbox messages that main takes", () => {
    const { inflow: flow, posted } = inflow();
    for (let i = 0; i < 4 * AHEAD_LIMIT / cost(MEGABYTE); i++) {
      flow.inbox(MEGABYTE);
      flow.sent();
      assertEquals(posted.pop()?.kind, "inbox");
      flow.credit(INBOX, cost(MEGABYTE));
    }
  });

  it("drops inbox messages that main does not handle, reports it once, and continues when main has caught up", () => {
    const { inflow: flow, posted } = inflow();
    const fits = Math.floor(AHEAD_LIMIT / cost(MEGABYTE)) + 1;
    for (let i = 0; i < fits + 5; i++) {
      flow.inbox(MEGABYTE);
      flow.sent();
    }
    assertEquals(seen(posted).length, fits);
    assertEquals(posted.filter(({ kind }) => kind === "fault").length, 1);
    flow.credit(INBOX, cost(MEGABYTE));
    flow.inbox("too early");
    flow.credit(INBOX, fits / 2 * cost(MEGABYTE));
    flow.inbox("in time");
    assertEquals(seen(posted).at(-1), "in time");
    assertEquals(seen(posted).length, fits + 1);
  });

  it("passes on requests with their topics, one frame a turn, within the limit of inbox messages", () => {
    const { inflow: flow, posted } = inflow();
    flow.request("f", "1");
    flow.inbox("answer");
    flow.request("g", "2");
    flow.sent();
    flow.request("f", "3");
    flow.sent();
    assertEquals(posted.splice(0), [
      { kind: "requests", topics: ["f", "g"], bodies: ["1", "2"] },
      { kind: "inbox", bodies: ["answer"] },
      { kind: "requests", topics: ["f"], bodies: ["3"] },
    ]);
    const fits = Math.floor(AHEAD_LIMIT / cost(MEGABYTE)) + 1;
    for (let i = 0; i < fits + 5; i++) flow.request("f", MEGABYTE);
    assertEquals(posted.map(({ kind }) => kind), ["requests", "fault"]);
    assert((posted[0] as { bodies: string[] }).bodies.length <= fits);
  });
});
