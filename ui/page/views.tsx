/**
 * The tables of the page: queues, topics, groups, functions, buses, and the activity.
 *
 * @module
 */
import type { JSX } from "preact";
import type { BusRow, FunctionRow, GroupRow, QueueRow, Report, TableName, TopicRow } from "../protocol.ts";
import { about, href, reports, rows, version } from "./state.ts";
import { type Column, Table } from "./table.tsx";
import { count, date, duration, rate, shown, time } from "./text.ts";

const queues: readonly Column<QueueRow>[] = [
  {
    title: "Queue",
    by: ({ name }) => name,
    cell: ({ name }) => <a href={href("queues", name)}>{shown(name)}</a>,
    class: "wide",
  },
  { title: "Waiting", by: ({ waiting }) => waiting, cell: ({ waiting }) => count(waiting), number: true },
  { title: "Leased", by: ({ leased }) => leased, cell: ({ leased }) => count(leased), number: true },
  { title: "Delayed", by: ({ delayed }) => delayed, cell: ({ delayed }) => count(delayed), number: true },
  {
    title: "Dead",
    by: ({ dead }) => dead,
    cell: ({ name, dead }) => dead ? <a class="bad" href={href("queues", name, "dead")}>{count(dead)}</a> : count(dead),
    number: true,
  },
  { title: "In/s", by: (row) => row.in, cell: (row) => rate(row.in), number: true },
  { title: "Out/s", by: ({ out }) => out, cell: ({ out }) => rate(out), number: true },
  { title: "p50 ms", by: ({ p50 }) => p50, cell: ({ p50 }) => duration(p50), number: true },
];

const topics: readonly Column<TopicRow>[] = [
  { title: "Topic", by: ({ name }) => name, cell: ({ name }) => shown(name), class: "wide" },
  { title: "Events/s", by: ({ rate }) => rate, cell: (row) => rate(row.rate), number: true },
  { title: "Seen", by: ({ seen }) => seen, cell: ({ seen }) => count(seen), number: true },
  { title: "Subscribers", by: ({ subscribers }) => subscribers, cell: (row) => count(row.subscribers), number: true },
];

const groups: readonly Column<GroupRow>[] = [
  { title: "Topic", by: ({ target }) => target, cell: ({ target }) => shown(target), class: "wide" },
  {
    title: "Group",
    by: ({ group }) => group,
    cell: ({ group, queue }) => <a href={href("queues", queue)}>{shown(group)}</a>,
    class: "wide",
  },
  { title: "Lag", by: ({ lag }) => lag, cell: ({ lag }) => count(lag), number: true },
  { title: "Leased", by: ({ leased }) => leased, cell: ({ leased }) => count(leased), number: true },
  {
    title: "Dead",
    by: ({ dead }) => dead,
    cell: ({ queue, dead }) =>
      dead ? <a class="bad" href={href("queues", queue, "dead")}>{count(dead)}</a> : count(dead),
    number: true,
  },
];

const functions: readonly Column<FunctionRow>[] = [
  { title: "Function", by: ({ name }) => name, cell: ({ name }) => shown(name), class: "wide" },
  { title: "Servers", by: ({ servers }) => servers.length, cell: ({ servers }) => count(servers.length), number: true },
  { title: "Served by", cell: ({ servers }) => servers.map(shown).join(", "), class: "wide" },
];

const buses: readonly Column<BusRow>[] = [
  { title: "Process", by: (row) => row.process, cell: (row) => shown(row.process), class: "wide" },
  { title: "Host", by: ({ host }) => host, cell: ({ host }) => shown(host ?? "–") },
  { title: "PID", by: ({ pid }) => pid, cell: ({ pid }) => pid === undefined ? "–" : String(pid), number: true },
  { title: "Up since", by: ({ since }) => since, cell: ({ since }) => since === undefined ? "–" : date(since) },
];

/** A view with a table. */
interface View {
  readonly title: string;
  readonly table: () => JSX.Element;
}

const tables: { readonly [T in TableName]: View } = {
  queues: {
    title: "Queues",
    table: () => (
      <Table
        label="queues"
        one="queue"
        columns={queues}
        rows={[...rows.queues.values()]}
        text={({ name }) => name}
        sort={1}
        empty={unknown("queues") ?? "No queue has items or consumers."}
      />
    ),
  },
  topics: {
    title: "Topics",
    table: () => (
      <Table
        label="topics"
        one="topic"
        columns={topics}
        rows={[...rows.topics.values()]}
        text={({ name }) => name}
        sort={1}
        empty={unknown("topics") ?? "No event has arrived and no bus subscribes."}
      />
    ),
  },
  groups: {
    title: "Groups",
    table: () => (
      <Table
        label="groups"
        one="group"
        columns={groups}
        rows={[...rows.groups.values()]}
        text={({ target, group }) => `${target} ${group}`}
        sort={2}
        empty={unknown("groups") ?? "No topic has a group."}
      />
    ),
  },
  functions: {
    title: "Functions",
    table: () => (
      <Table
        label="functions"
        one="function"
        columns={functions}
        rows={[...rows.functions.values()]}
        text={({ name, servers }) => `${name} ${servers.join(" ")}`}
        empty={unknown("functions") ?? "No bus serves a function."}
      />
    ),
  },
  buses: {
    title: "Buses",
    table: () => (
      <Table
        label="buses"
        one="bus"
        columns={buses}
        rows={[...rows.buses.values()]}
        text={({ process, host = "" }) => `${process} ${host}`}
        empty={unknown("buses") ?? "No other bus is up."}
      />
    ),
  },
};

/** The names of the views, in the order of the navigation. */
export const VIEWS: readonly TableName[] = Object.keys(tables) as TableName[];

/** Returns the title of a view. */
export function titleOf(name: TableName): string {
  return tables[name].title;
}

function unknown(name: TableName): string | undefined {
  return about.value?.unknown.includes(name) ? `This transport cannot list its ${name}.` : undefined;
}

/** Shows a table. */
export function View({ name }: { readonly name: TableName }): JSX.Element {
  void version.value;
  const leftOut = about.value?.leftOut[name] ?? 0;
  return (
    <>
      <h2 class="hidden" tabIndex={-1}>{tables[name].title}</h2>
      {leftOut > 0 && <p class="quiet">Rows that are not shown, because the table is too large: {count(leftOut)}</p>}
      {tables[name].table()}
    </>
  );
}

const KINDS: Record<Report["kind"], string> = {
  error: "Error",
  gap: "Gap",
  state: "State",
  action: "Action",
  dead: "Dead letters",
};

/** Shows errors, gaps and actions, newest first. */
export function Activity(): JSX.Element {
  const all = reports.value;
  return (
    <>
      <h2 class="hidden" tabIndex={-1}>Activity</h2>
      {all.length === 0
        ? <p class="empty">Errors, gaps, new dead letters and your actions appear here.</p>
        : (
          <ol class="activity" aria-label="Activity">
            {all.map(({ time: at, kind, text }) => (
              <li>
                <time dateTime={new Date(at).toISOString()}>{time(at)}</time>
                <span class={`kind ${kind}`}>{KINDS[kind]}</span>
                <span>{shown(text)}</span>
              </li>
            ))}
          </ol>
        )}
    </>
  );
}
