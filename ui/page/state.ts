/**
 * The state of the page: what the server has sent, and the view that the address names.
 *
 * @module
 */
import { batch, signal } from "@preact/signals";
import type { Action, Change, Frame, Job, Page, Report, Row, TableName, Tables, Totals } from "../protocol.ts";

/** The number of moments that a chart shows. */
const MOMENTS = 300;
/** The number of reports that the activity list keeps. */
const REPORTS = 200;
/** Milliseconds that a finished job stays visible. */
const JOB_STAYS = 6_000;

type Rows = { readonly [T in TableName]: Map<string, Tables[T][number]> };
type Hello = Extract<Frame, { type: "hello" }>;

/** The rows of each table by id. {@linkcode version} changes when they do. */
export const rows: Rows = {
  queues: new Map(),
  topics: new Map(),
  groups: new Map(),
  functions: new Map(),
  buses: new Map(),
};
/** Grows with each sample. */
export const version = signal(0);
/** Whether the server is connected. `undefined` until the first answer. */
export const connected = signal<boolean | undefined>(undefined);
/** The description of the transport. */
export const about = signal<Pick<Hello, "transport" | "namespace" | "interval" | "unknown" | "leftOut"> | undefined>(
  undefined,
);
/** The totals over time. */
export const history = signal<readonly Totals[]>([]);
/** The reports, newest first. */
export const reports = signal<readonly Report[]>([]);
/** The jobs that run or have just ended. */
export const jobs = signal<readonly Job[]>([]);
/** The latest message for a screen reader. */
export const announcement = signal("");
/** The view: the part of the address after `#/`. */
export const route = signal<readonly string[]>(path());

/** The numbers of the open queue over time. */
export const queueHistory = signal<readonly Omit<Totals, "events">[]>([]);

function path(): string[] {
  const parts = location.hash.replace(/^#\/?/, "").split("/").filter((part) => part !== "");
  try {
    return parts.map(decodeURIComponent);
  } catch {
    return [];
  }
}

addEventListener("hashchange", () => {
  const before = route.value;
  route.value = path();
  if (before[1] !== route.value[1]) queueHistory.value = [];
  // a screen reader announces the new view, and the next Tab goes into it
  requestAnimationFrame(() => document.querySelector<HTMLElement>("main h2")?.focus());
});

/** Returns the address of a view. A lone surrogate has no encoding; a peer may send one in a name, which must not stop the page. */
export function href(...parts: string[]): string {
  return `#/${parts.map((part) => encodeURIComponent(part.toWellFormed())).join("/")}`;
}

/** Receives frames from the server. The browser connects again by itself. */
export function listen(): void {
  const source = new EventSource("live");
  source.onmessage = ({ data }) => batch(() => apply(JSON.parse(data) as Frame));
  source.onerror = () => {
    connected.value = false;
    // the browser gives up after a refusal, such as that of a server with another token
    if (source.readyState === EventSource.CLOSED) setTimeout(listen, 3_000);
  };
}

function apply(frame: Frame): void {
  switch (frame.type) {
    case "hello": {
      const { transport, namespace, interval, unknown, leftOut } = frame;
      connected.value = true;
      missing = true;
      about.value = { transport, namespace, interval, unknown, leftOut };
      history.value = frame.history;
      reports.value = frame.reports;
      jobs.value = frame.jobs;
      for (const name of Object.keys(rows) as TableName[]) {
        rows[name].clear();
        change(name, { set: frame.tables[name], removed: [] });
      }
      version.value++;
      return;
    }
    case "sample":
      for (const [name, one] of Object.entries(frame.changes)) change(name as TableName, one);
      history.value = [...history.value, frame.totals].slice(-MOMENTS);
      if (about.value) about.value = { ...about.value, unknown: frame.unknown, leftOut: frame.leftOut };
      followQueue(frame.totals);
      version.value++;
      return;
    case "report":
      reports.value = [frame.report, ...reports.value].slice(0, REPORTS);
      return;
    case "job":
      return showJob(frame.job);
    default:
      frame satisfies never;
  }
}

function change(name: TableName, { set, removed }: Change): void {
  const table = rows[name] as Map<string, Row>;
  for (const id of removed) table.delete(id);
  for (const row of set) table.set(row.id, row);
}

/** Whether the chart of the open queue misses samples before the next one, because the server was not connected. */
let missing = false;

function followQueue({ time, gap }: Totals): void {
  const [view, name] = route.value;
  if (view !== "queues" || name === undefined) return;
  const { waiting = 0, leased = 0, delayed = 0, dead = 0, in: puts = 0, out = 0 } = rows.queues.get(name) ?? {};
  const now = { time, gap: gap || missing || undefined, waiting, leased, delayed, dead, in: puts, out };
  queueHistory.value = [...queueHistory.value, now].slice(-MOMENTS);
  missing = false;
}

function showJob(job: Job): void {
  const others = jobs.value.filter(({ id }) => id !== job.id);
  jobs.value = [...others, job].sort((a, b) => a.id - b.id);
  if (job.state === "running") return;
  announcement.value = job.state === "done" ? `${job.title}: done, ${job.done}` : `${job.title} failed: ${job.error}`;
  // a failure stays until it is dismissed
  if (job.state === "done") setTimeout(() => dismiss(job.id), JOB_STAYS);
}

/** Removes a job from the page. */
export function dismiss(id: number): void {
  jobs.value = jobs.value.filter((job) => job.id !== id);
}

/** Fetches items of a queue: waiting ones, or its dead letters. */
export async function fetchItems(queue: string, dead: boolean, offset: number, limit: number): Promise<Page> {
  const query = new URLSearchParams({ queue, offset: String(offset), limit: String(limit) });
  const answer = await fetch(`${dead ? "letters" : "items"}?${query}`);
  if (!answer.ok) throw new Error(await answer.text());
  return await answer.json() as Page;
}

/** Starts a retry or a purge. Its progress arrives as a job. */
export async function act(action: Action): Promise<void> {
  try {
    const answer = await fetch("actions", { method: "POST", body: JSON.stringify(action) });
    if (!answer.ok) throw new Error(await answer.text());
  } catch (error) {
    showJob({
      id: -Date.now(),
      title: `${action.action} ${action.queue}`,
      done: 0,
      state: "failed",
      error: String((error as Error).message),
    });
  }
}
