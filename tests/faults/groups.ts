/** Groups while their members, the publishers and the server are killed. */
import { assertEquals } from "@std/assert";
import process from "node:process";
import { Bus, type Provider } from "../../mod.ts";
import { here, Peer, there } from "../support/peer.ts";
import { Random, SEED } from "../support/random.ts";
import { ALL } from "../support/share.ts";
import { pause, until } from "../support/until.ts";
import { PATTERN, play, type Role, type Said, TOPIC } from "./group_roles.ts";
import type { Place } from "./places.ts";
import type { Row } from "./report.ts";

/** Milliseconds of faults. `TSMQ_FAULTS_SCALE=10` makes it ten times as long. */
const TIME = (ALL ? 6_000 : 3_000) * Number(process.env.TSMQ_FAULTS_SCALE || 1);
/** The size of the range of numbers of one publisher process. Its first number is a multiple of this. */
const RANGE = 1_000_000;
/** Milliseconds within which all remaining events are handled after the last fault. */
const PATIENCE = 60_000;
/** Milliseconds in which the members reconnect after the server was broken. */
const RECONNECT = 1_000;

/** A member or a publisher that runs. */
export interface Life {
  kill(): Promise<void>;
}

/** A transport for a trial of groups. */
export interface GroupGround extends AsyncDisposable {
  /** The provider of this process. */
  readonly provider: Provider;
  /** Milliseconds between two publishes of a publisher; 3 in the nightly run. */
  readonly pace: number;
  /** Milliseconds between two faults, at least and at most. */
  readonly rest: readonly [number, number];
  /** Starts a member or a publisher. */
  start(role: Role, say: (said: Said) => void): Life;
  /** Breaks the server, or the connections to it, and repairs it. Absent if there is nothing to break. */
  break?(random: Random): Promise<void>;
}

/** Starts members and publishers as processes of both runtimes. */
export function processes(place: Place): GroupGround["start"] {
  let started = 0;
  return (role, say) => {
    const args = [place, role].map((value) => JSON.stringify(value));
    const runtime = started++ % 2 === 0 ? here : there;
    const peer = Peer.start<Said>(new URL("group_peer.ts", import.meta.url), { args, runtime });
    void (async () => {
      while (true) say(await peer.next(2 ** 30));
    })().catch(() => {}); // it was killed
    return peer;
  };
}

/** Starts members and publishers as buses of this process. */
export function buses(provider: Provider): GroupGround["start"] {
  return (role, say) => {
    const ended = new AbortController();
    const bus = play(provider, role, say, ended.signal);
    return {
      kill: async () => {
        ended.abort();
        await (await bus).close({ timeout: 0 });
      },
    };
  };
}

/** One run of a handler. */
interface Run {
  readonly life: Life;
  readonly at: number;
}

/**
 * Publishes while members, publishers and the server are killed. Each accepted event must be handled by a member, and twice only if a kill
 * explains it. A group without members must have stored each one, in the order of each publisher if the transport keeps order.
 */
export async function trial(name: string, ground: GroupGround): Promise<Row> {
  const { provider, rest, start, break: breakServer } = ground;
  const pace = ALL ? 3 : ground.pace;
  const random = new Random(SEED);
  const namespace = `groups-${crypto.randomUUID()}`;
  const accepted = new Set<number>();
  const handled = new Map<number, Run[]>();
  const killed = new Map<Life, number>();
  /** The times when the server was broken, and when it was repaired. */
  const broken: (readonly [number, number])[] = [];
  /** Members that have lost a lease, because an extension is late under load. */
  const late = new Set<Life>();
  let publishers = 0;

  await using bus = await Bus.open(provider, { namespace, waitOnFirstConnect: true });
  bus.addEventListener("error", () => {});
  // both groups are bound before the first event
  const groups = [
    bus.subscribe(TOPIC, () => {}, { group: "absent" }),
    bus.subscribe(PATTERN, () => {}, { group: "members", pattern: true }),
  ];
  await Promise.all(groups.map(({ ready }) => ready));
  await Promise.all(groups.map((group) => group.unsubscribe()));

  const begin = (kind: "member" | "publisher"): Life => {
    const role = { namespace, pace, ...kind === "publisher" && { first: RANGE * publishers++ } };
    const life: Life = start(role, (said) => {
      if ("published" in said) return void accepted.add(said.published);
      if ("lost" in said) return void late.add(life);
      const before = handled.get(said.handled);
      if (before) before.push({ life, at: said.at });
      else handled.set(said.handled, [{ life, at: said.at }]);
    });
    return life;
  };
  const lives = (["member", "member", "member", "publisher", "publisher"] as const).map((kind) => (
    { kind, life: begin(kind) }
  ));
  try {
    await until("events are handled", () => handled.size > 20, PATIENCE);
    for (const end = performance.now() + TIME; performance.now() < end;) {
      await pause(random.int(...rest));
      const now = Date.now();
      if (breakServer && random.chance(0.2)) {
        await breakServer(random);
        broken.push([now, Date.now()]);
        continue;
      }
      const place = random.pick(lives);
      killed.set(place.life, now);
      await place.life.kill();
      place.life = begin(place.kind);
    }
    for (const { kind, life } of lives) if (kind === "publisher") await life.kill();
    const missing = () => [...accepted].filter((n) => !handled.has(n));
    await until("each accepted event is handled", () => missing().length === 0, PATIENCE).catch(() => {});
    assertEquals(missing(), [], "accepted, but never handled");

    const dead = ({ life }: Run, at: number) => (killed.get(life) ?? Infinity) <= at;
    const explained = (run: Run, next: Run) =>
      late.has(run.life) || dead(run, next.at) || dead(next, next.at) || // a bus that is closed by force does not end its handlers
      broken.some(([from, to]) => from <= next.at && to + RECONNECT >= run.at);
    const repeated = [...handled].filter(([, runs]) => runs.length > 1);
    const unexplained = repeated.filter(([, runs]) => runs.slice(1).some((next, i) => !explained(runs[i]!, next)));
    assertEquals(unexplained.map(([n]) => n), [], "handled twice, though no kill explains it");

    await until("the bus is up", () => bus.health().state === "up", PATIENCE);
    const order: number[] = [];
    const all = new Set<number>();
    const one = bus.subscribe<number>(TOPIC, (n) => void (order.push(n), all.add(n)), { group: "absent" });
    const absent = () => [...accepted].filter((n) => !all.has(n));
    await until("the absent group has each event", () => absent().length === 0, PATIENCE).catch(() => {});
    assertEquals(absent(), [], "accepted, but not stored for the absent group");
    if (provider.features.ordered) {
      assertEquals(order.length, all.size, "the absent group has each event once");
      for (let publisher = 0; publisher < publishers; publisher++) {
        const own = order.filter((n) => Math.floor(n / RANGE) === publisher);
        const early = own.flatMap((n, i) => i > 0 && n < own[i - 1]! ? [`${n} after ${own[i - 1]}`] : []);
        assertEquals(early, [], `of ${own.length} events of publisher ${publisher}`);
      }
    }
    await one.free();
    await bus.subscribe(PATTERN, () => {}, { group: "members", pattern: true }).free();
    const row: Row = {
      provider: name,
      runtime: here,
      fault: `${killed.size} killed, server broken ${broken.length} times, ${late.size} late`,
      style: "group",
      injected: killed.size + broken.length,
      sent: accepted.size,
      failed: 0,
      delivered: handled.size,
      redelivered: repeated.length,
      missed: 0,
      lost: 0,
      wrong: 0,
      hung: 0,
    };
    return row;
  } finally {
    for (const { life } of lives) await life.kill();
  }
}
