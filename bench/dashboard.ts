/**
 * Measures what the dashboard costs: 1,000 queues and 10,000 events a second on Redis, first without it, then with a dashboard that nobody
 * views, then with its page open in headless Chromium.
 *
 *     deno task bench:dashboard
 *
 * @module
 */
import process from "node:process";
import { type CDPSession, chromium, type Page } from "playwright-core";
import { Bus } from "../src/bus.ts";
import { redis } from "../src/providers/redis/provider.ts";
import { Running } from "../tests/cli/run.ts";
import { RedisServer } from "../tests/support/redis_server.ts";
import { tool } from "../tests/support/tools.ts";
import { pause } from "../src/internal/time.ts";
import { Load } from "./load.ts";

/** The namespace, as in `load.ts`. */
const NAMESPACE = "bench";
const QUEUES = 1_000;
const ITEMS = 10;
const EVENTS = 10_000;
const TOPICS = ["orders", "prices", "users", "mails"];
/** Milliseconds of a phase. */
const PHASE = 8_000;
/** Milliseconds between two bursts of events. */
const TICK = 20;
const ROUNDS = 3;

interface Figures {
  /** Events a second that a bus received. */
  readonly received: number;
  /** Percent of a core that redis-server used. */
  readonly server: number;
  readonly commands: number;
  /** Percent of a core that the process of the dashboard used. */
  readonly dashboard?: number;
  /** Percent of the time in which the page's thread was busy. */
  readonly page?: number;
  /** Milliseconds between frames: the middle, the slowest of a hundred, and the slowest. */
  readonly frames?: readonly [number, number, number];
}

async function main(): Promise<void> {
  await using server = await RedisServer.start();
  await using bus = await Bus.open(redis({ url: server.url }), { namespace: NAMESPACE });
  let received = 0;
  await bus.subscribe("*", () => void received++, { pattern: true }).ready;
  for (let i = 0; i < QUEUES; i++) {
    await bus.queue(`queue-${i}`).put({ id: i, text: "an order of five things" });
    for (let j = 1; j < ITEMS; j++) void bus.queue(`queue-${i}`).put({ id: i, text: "an order of five things" });
  }
  const load = await Load.open(server.port);
  const ended = new AbortController();
  const publishing = (async () => {
    while (!ended.signal.aborted) {
      const start = performance.now();
      await load.publish(TOPICS, EVENTS * TICK / 1_000);
      await pause(Math.max(1, TICK - (performance.now() - start)));
    }
  })();

  async function phase(pid?: number, page?: Page): Promise<Figures> {
    await pause(2_000);
    const session = page && await page.context().newCDPSession(page);
    await session?.send("Performance.enable");
    const frames = page?.evaluate(framesOf, PHASE);
    const before = await sample(server, pid, session);
    const [start, seen] = [performance.now(), received];
    await pause(PHASE);
    const seconds = (performance.now() - start) / 1_000;
    const after = await sample(server, pid, session);
    const rate = (name: keyof typeof before) => (after[name] - before[name]) / seconds;
    return {
      received: (received - seen) / seconds,
      server: rate("server") * 100,
      commands: rate("commands"),
      ...pid && { dashboard: rate("process") * 100 },
      ...page && { page: rate("page") * 100, frames: await frames },
    };
  }

  for (let round = 1; round <= ROUNDS; round++) {
    print(round, "without a dashboard", await phase());
    await using ui = new Running(["ui", server.url, "-n", NAMESPACE]);
    const [url = ""] = await ui.printed(1);
    print(round, "nobody views it", await phase(ui.child.pid));
    const browser = await chromium.launch({ executablePath: tool("chromium") });
    const page = await browser.newPage({ viewport: { width: 1280, height: 800 } });
    await page.goto(url);
    await page.getByText("1,000 queues").waitFor();
    print(round, "the page is open", await phase(ui.child.pid, page));
    await browser.close();
  }
  ended.abort();
  await publishing;
  load.close();
}

async function sample(server: RedisServer, pid?: number, session?: CDPSession) {
  const info = String(await server.run("info"));
  const field = (name: string) => Number(new RegExp(`^${name}:([\\d.]+)`, "m").exec(info)?.[1]);
  return {
    server: field("used_cpu_sys") + field("used_cpu_user"),
    commands: field("total_commands_processed"),
    process: pid ? await cpuSeconds(pid) : 0,
    page: session ? await busySeconds(session) : 0,
  };
}

/** Returns the seconds of CPU time that all threads of a process have used. */
async function cpuSeconds(pid: number): Promise<number> {
  const fields = (await Deno.readTextFile(`/proc/${pid}/stat`)).replace(/^.*\) /, "").split(" ");
  const ticks = 100;
  return (Number(fields[11]) + Number(fields[12])) / ticks;
}

async function busySeconds(session: CDPSession): Promise<number> {
  const { metrics } = await session.send("Performance.getMetrics");
  return metrics.find(({ name }) => name === "TaskDuration")?.value ?? NaN;
}

/** Runs in the page. */
function framesOf(ms: number): Promise<[number, number, number]> {
  const { requestAnimationFrame } = globalThis as unknown as { requestAnimationFrame(act: (at: number) => void): void };
  return new Promise((resolve) => {
    const times: number[] = [];
    let last: number | undefined;
    const start = performance.now();
    const frame = (at: number) => {
      if (last !== undefined) times.push(at - last);
      last = at;
      if (performance.now() - start < ms) return requestAnimationFrame(frame);
      times.sort((a, b) => a - b);
      resolve([times[times.length >> 1]!, times[Math.floor(times.length * 0.99)]!, times.at(-1)!]);
    };
    requestAnimationFrame(frame);
  });
}

function print(round: number, what: string, figures: Figures): void {
  const shown = Object.entries(figures).map(([name, value]) =>
    `${name} ${[value].flat().map((one: number) => one.toFixed(one < 100 ? 1 : 0)).join("/")}`
  );
  console.log(`${round} ${what}: ${shown.join("  ")}`);
}

await main();
process.exit(0);
