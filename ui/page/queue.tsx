/**
 * The view of one queue: its numbers over time, its waiting items and its dead letters.
 *
 * @module
 */
import { useSignal, useSignalEffect } from "@preact/signals";
import type { JSX } from "preact";
import type { Item } from "../protocol.ts";
import { Curves, itemCurves } from "./curves.tsx";
import { ask } from "./dialog.tsx";
import { act, fetchItems, href, jobs, queueHistory, rows, version } from "./state.ts";
import { count, date, duration, pretty, rate, shown } from "./text.ts";

/** The number of items that one request fetches. */
const PAGE = 25;
/** The number of samples between two requests for the items. */
const EVERY = 2;
/** Automatic requests take at most one twentieth of the time: the server's thread reads large items meanwhile. */
const SHARE = 20;

/** Shows a queue. */
export function Queue({ name, dead }: { readonly name: string; readonly dead: boolean }): JSX.Element {
  void version.value;
  const row = rows.queues.get(name);
  const letters = row?.dead;
  const moments = queueHistory.value;
  const purge = () =>
    ask({
      title: `Purge ${shown(name)}?`,
      text: `This removes ${number(row?.waiting)} waiting items. It cannot be undone.`,
      yes: "Purge items",
      confirmed: () => act({ action: "purge", queue: name }),
    });
  const retry = () =>
    ask({
      title: `Retry the dead letters of ${shown(name)}?`,
      text: `This puts ${number(letters)} items back into the queue.`,
      yes: "Retry dead letters",
      confirmed: () => act({ action: "retry", queue: name }),
    });
  const purgeDead = () =>
    ask({
      title: `Purge the dead letters of ${shown(name)}?`,
      text: `This removes ${number(letters)} dead letters. It cannot be undone.`,
      yes: "Purge dead letters",
      confirmed: () => act({ action: "purge-dead", queue: name }),
    });
  return (
    <>
      <div class="title">
        <a href={href("queues")}>Queues</a>
        <span class="quiet" aria-hidden="true">/</span>
        <h2 tabIndex={-1}>{shown(name)}</h2>
      </div>
      <section class="charts" aria-label="Numbers">
        <Curves
          label={`Items in and out a second of ${shown(name)} over time: ${rate(row?.in)} in, ${rate(row?.out)} out`}
          moments={moments}
          curves={[
            { term: "In/s", value: rate(row?.in), color: "in", of: (moment) => moment.in, fill: true },
            { term: "Out/s", value: rate(row?.out), color: "out", of: ({ out }) => out },
            { term: "Handlers, p50", value: row?.p50 === undefined ? "–" : `${duration(row.p50)} ms` },
            { term: "Consumers", value: count(row?.consumers) },
          ]}
        />
        <Curves
          label={`Items of ${shown(name)} over time: ${count(row?.waiting)} waiting, ${count(letters)} dead`}
          moments={moments}
          curves={itemCurves(row)}
        />
      </section>
      <div class="bar">
        <nav class="tabs" aria-label="Items">
          <a href={href("queues", name)} aria-current={dead ? undefined : "page"}>Waiting items</a>
          <a href={href("queues", name, "dead")} aria-current={dead ? "page" : undefined}>Dead letters</a>
        </nav>
        <span class="gap" />
        {dead
          ? (
            <>
              <button type="button" disabled={letters === 0} onClick={retry}>Retry all</button>
              <button type="button" class="danger" disabled={letters === 0} onClick={purgeDead}>Purge all</button>
            </>
          )
          : <button type="button" class="danger" disabled={row?.waiting === 0} onClick={purge}>Purge items</button>}
      </div>
      <Items key={`${name} ${dead}`} name={name} dead={dead} />
    </>
  );
}

function number(value: number | undefined): string {
  return value === undefined ? "all" : count(value);
}

function Items({ name, dead }: { readonly name: string; readonly dead: boolean }): JSX.Element {
  const offset = useSignal(0);
  const found = useSignal<readonly Item[] | undefined>(undefined);
  const fault = useSignal<string | undefined>(undefined);
  const at = useSignal(-Infinity);
  const looking = useSignal(false);
  const rested = useSignal(-Infinity);

  const look = async () => {
    looking.value = true;
    const start = performance.now();
    try {
      const { items, unsupported } = await fetchItems(name, dead, offset.value, PAGE);
      found.value = items;
      fault.value = unsupported;
    } catch (error) {
      fault.value = String((error as Error).message);
    } finally {
      looking.value = false;
      const end = performance.now();
      rested.value = end + (SHARE - 1) * (end - start);
    }
  };
  useSignalEffect(() => {
    void jobs.value;
    const now = version.value;
    if (looking.peek() || now < at.peek() + EVERY || performance.now() < rested.peek()) return;
    at.value = now;
    void look();
  });
  const turn = (to: number) => {
    offset.value = Math.max(0, to);
    void look();
  };

  const items = found.value;
  if (fault.value) return <p class="empty">{shown(fault.value)}</p>;
  if (!items) return <p class="empty">Loading …</p>;
  return (
    <>
      {items.length === 0
        ? <p class="empty">{dead ? "No dead letters." : "No waiting items."}</p>
        : (
          <ol class="items" start={offset.value + 1} aria-label={dead ? "Dead letters" : "Waiting items"}>
            {items.map((item, index) => (
              <One key={item.key ?? `${offset.value + index}`} item={item} queue={name} dead={dead} />
            ))}
          </ol>
        )}
      {(offset.value > 0 || items.length === PAGE) && (
        <nav class="pages" aria-label="Pages of items">
          <button type="button" disabled={offset.value === 0} onClick={() => turn(offset.value - PAGE)}>
            Previous
          </button>
          <span>{count(offset.value + 1)}–{count(offset.value + items.length)}</span>
          <button type="button" disabled={items.length < PAGE} onClick={() => turn(offset.value + PAGE)}>Next</button>
        </nav>
      )}
    </>
  );
}

function One({ item, queue, dead }: { readonly item: Item; readonly queue: string; readonly dead: boolean }) {
  const { key, text, cut, attempts, headers, cause, time } = item;
  const names = Object.keys(headers);
  const foreign = item.queue !== undefined && item.queue !== queue;
  return (
    <li>
      <details>
        <summary>
          <span class="body">{shown(text)}</span>
          {cause && <span class="cause">{shown(`${cause.name}: ${cause.message}`)}</span>}
          <span class="quiet">
            {dead ? (attempts === 1 ? "1 attempt" : `${count(attempts)} attempts`) : `attempt ${count(attempts)}`}
          </span>
          {time !== undefined && <time class="quiet" dateTime={new Date(time).toISOString()}>{date(time)}</time>}
        </summary>
        <pre>{cut === undefined ? pretty(text) : shown(text)}</pre>
        {cut !== undefined && <p class="quiet">{count(cut)} more characters are not shown.</p>}
        {cause && (
          <p>
            <b>Cause</b> {shown(cause.name)}: {shown(cause.message)}
          </p>
        )}
        {foreign && (
          <p>
            <b>Queue</b> {shown(item.queue!)}
          </p>
        )}
        {names.length > 0 && (
          <dl class="headers">
            {names.map((name) => (
              <>
                <dt>{shown(name)}</dt>
                <dd>{shown(headers[name]!)}</dd>
              </>
            ))}
          </dl>
        )}
      </details>
      {dead && key !== undefined && !foreign && (
        <span class="row-actions">
          <button type="button" onClick={() => act({ action: "retry", queue, key })}>Retry</button>
          <button
            type="button"
            class="danger"
            onClick={() =>
              ask({
                title: "Purge this dead letter?",
                text: "It cannot be undone.",
                yes: "Purge dead letter",
                confirmed: () => act({ action: "purge-dead", queue, key }),
              })}
          >
            Purge
          </button>
        </span>
      )}
    </li>
  );
}
