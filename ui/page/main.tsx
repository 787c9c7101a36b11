/**
 * The dashboard's page: the header, the charts, and the view that the address names.
 *
 * @module
 */
import { render } from "preact";
import type { JSX } from "preact";
import type { TableName } from "../protocol.ts";
import { Curves, itemCurves } from "./curves.tsx";
import { Dialog } from "./dialog.tsx";
import { Queue } from "./queue.tsx";
import {
  about,
  announcement,
  connected,
  dismiss,
  history,
  href,
  jobs,
  listen,
  reports,
  route,
  rows,
  version,
} from "./state.ts";
import { count, rate, shown } from "./text.ts";
import { Activity, titleOf, View, VIEWS } from "./views.tsx";

function Header(): JSX.Element {
  const known = about.value;
  const up = connected.value;
  return (
    <header>
      <h1>tsmq</h1>
      {known && <span class="where">{shown(known.transport)}</span>}
      {known && <span class="quiet">namespace {shown(known.namespace)}</span>}
      <span class="gap" />
      <span class={`state ${up ? "up" : "down"}`} role="status">
        {up === undefined ? "connecting" : up ? "live" : "disconnected"}
      </span>
    </header>
  );
}

function Charts(): JSX.Element {
  const moments = history.value;
  const last = moments.at(-1);
  return (
    <section class="charts" aria-label="Totals">
      <Curves
        label={`Events and items a second over time, now ${rate(last?.events)} events`}
        moments={moments}
        curves={[
          { term: "Events/s", value: rate(last?.events), color: "events", of: ({ events }) => events, fill: true },
          { term: "Items in/s", value: rate(last?.in), color: "in", of: (moment) => moment.in },
          { term: "Items out/s", value: rate(last?.out), color: "out", of: ({ out }) => out },
        ]}
      />
      <Curves
        label={`Items over time, now ${count(last?.waiting)} waiting and ${count(last?.dead)} dead`}
        moments={moments}
        curves={itemCurves(last)}
      />
    </section>
  );
}

function Navigation({ current }: { readonly current: string }): JSX.Element {
  void version.value;
  const link = (name: string, title: string, size: number) => (
    <a href={href(name)} aria-current={name === current ? "page" : undefined}>
      {title} <span class="size">{count(size)}</span>
    </a>
  );
  return (
    <nav class="views" aria-label="Views">
      {VIEWS.map((name) => link(name, titleOf(name), rows[name].size))}
      {link("activity", "Activity", reports.value.length)}
    </nav>
  );
}

function Jobs(): JSX.Element {
  return (
    <section class="jobs" aria-label="Work in progress">
      {jobs.value.map(({ id, title, done, total, state, error }) => (
        <div key={id} class={`job ${state}`}>
          <span>{shown(title)}</span>
          {state === "running"
            ? <progress aria-label={shown(title)} max={total} value={total === undefined ? undefined : done} />
            : <span>{state === "done" ? "done" : shown(error ?? "failed")}</span>}
          <span class="quiet">{total === undefined ? count(done) : `${count(done)} of ${count(total)}`}</span>
          {state !== "running" && <button type="button" onClick={() => dismiss(id)}>Dismiss</button>}
        </div>
      ))}
    </section>
  );
}

function App(): JSX.Element {
  const [view = "queues", name, part] = route.value;
  const table = VIEWS.find((one): one is TableName => one === view);
  return (
    <>
      <Header />
      <main>
        {connected.value === false && (
          <p class="notice" role="alert">
            The dashboard's server does not answer. This page shows what it knew last, and connects again by itself.
          </p>
        )}
        <Charts />
        <Navigation current={view} />
        <section class="view">
          {view === "activity"
            ? <Activity />
            : view === "queues" && name !== undefined
            ? <Queue key={name} name={name} dead={part === "dead"} />
            : <View key={table ?? "queues"} name={table ?? "queues"} />}
        </section>
      </main>
      <Jobs />
      <p class="hidden" role="status">{announcement.value}</p>
      <Dialog />
    </>
  );
}

addEventListener("keydown", (event) => {
  const { target, key } = event;
  const typing = target instanceof HTMLElement && target.matches("input, textarea, select");
  if (key === "/" && !typing && !event.ctrlKey && !event.metaKey && !event.altKey) {
    const filter = document.querySelector<HTMLInputElement>(".filter");
    if (!filter) return;
    event.preventDefault();
    filter.focus();
  }
});

render(<App />, document.body);
listen();
