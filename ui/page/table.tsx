/**
 * A table with a filter, sorting and pages of rows, so that thousands of rows stay fast.
 *
 * @module
 */
import { useSignal } from "@preact/signals";
import type { ComponentChildren, JSX } from "preact";
import { count } from "./text.ts";

/** The number of rows of a page. */
const PAGE = 50;

/** A column of a table. */
export interface Column<T> {
  readonly title: string;
  /** The value that the column is sorted by. A column without it cannot be sorted. */
  readonly by?: (row: T) => string | number | undefined;
  readonly cell: (row: T) => ComponentChildren;
  /** Whether the cells are aligned to the right. */
  readonly number?: boolean;
  /** The width and look of its cells. */
  readonly class?: string;
}

interface TableProps<T> {
  /** The plural and the singular name of a row. */
  readonly label: string;
  readonly one: string;
  readonly columns: readonly Column<T>[];
  readonly rows: readonly T[];
  readonly text: (row: T) => string;
  /** The index of the column that sorts the rows initially, descending for numbers. */
  readonly sort?: number;
  readonly empty: string;
}

function compare(a: string | number | undefined, b: string | number | undefined): number {
  if (a === b) return 0;
  if (a === undefined) return -1;
  if (b === undefined) return 1;
  return a < b ? -1 : 1;
}

/** Shows rows. Click a title to sort by it. */
export function Table<T extends { readonly id: string }>(
  { label, one, columns, rows, text, sort = 0, empty }: TableProps<T>,
): JSX.Element {
  const sorted = useSignal({ column: sort, descending: columns[sort]?.number === true });
  const filter = useSignal("");
  const page = useSignal(0);

  const wanted = filter.value.toLowerCase();
  const found = wanted === "" ? [...rows] : rows.filter((row) => text(row).toLowerCase().includes(wanted));
  const { column, descending } = sorted.value;
  const by = columns[column]?.by;
  // rows with equal values keep their places while numbers change
  if (by) {
    found.sort((a, b) => (descending ? -1 : 1) * compare(by(a), by(b)) || compare(text(a), text(b)));
  }
  const last = Math.max(0, Math.ceil(found.length / PAGE) - 1);
  const current = Math.min(page.value, last);
  const first = current * PAGE;
  const shown = found.slice(first, first + PAGE);

  const sortBy = (index: number) => {
    const again = sorted.value.column === index;
    sorted.value = { column: index, descending: again ? !descending : columns[index]!.number === true };
    page.value = 0;
  };

  return (
    <>
      <div class="bar">
        <input
          type="search"
          class="filter"
          aria-label={`Filter ${label}`}
          placeholder="Filter"
          aria-keyshortcuts="/"
          value={filter.value}
          onInput={(event) => {
            filter.value = event.currentTarget.value;
            page.value = 0;
          }}
        />
        <span class="quiet" role={wanted === "" ? undefined : "status"}>
          {found.length === rows.length ? "" : `${count(found.length)} of `}
          {count(rows.length)} {rows.length === 1 ? one : label}
        </span>
        {last > 0 && (
          <nav class="pages" aria-label={`Pages of ${label}`}>
            <button type="button" disabled={current === 0} onClick={() => page.value = current - 1}>Previous</button>
            <span>{count(first + 1)}–{count(first + shown.length)}</span>
            <button type="button" disabled={current === last} onClick={() => page.value = current + 1}>Next</button>
          </nav>
        )}
      </div>
      <div class="scroll" tabIndex={0} role="region" aria-label={label}>
        <table>
          <thead>
            <tr>
              {columns.map(({ title, by, number, class: look }, index) => (
                <th
                  scope="col"
                  class={`${number ? "number" : ""} ${look ?? ""}`}
                  aria-sort={column === index ? (descending ? "descending" : "ascending") : undefined}
                >
                  {by
                    ? (
                      <button type="button" onClick={() => sortBy(index)}>
                        {title}
                        <span class="arrow" aria-hidden="true">{column === index ? (descending ? "↓" : "↑") : ""}</span>
                      </button>
                    )
                    : title}
                </th>
              ))}
            </tr>
          </thead>
          <tbody>
            {shown.map((row) => (
              <tr key={row.id}>
                {columns.map(({ cell, number, class: look }, index) => {
                  const classes = `${number ? "number" : ""} ${look ?? ""}`;
                  return index === 0
                    ? <th key={index} scope="row" class={classes}>{cell(row)}</th>
                    : <td key={index} class={classes}>{cell(row)}</td>;
                })}
              </tr>
            ))}
          </tbody>
        </table>
        {shown.length === 0 && <p class="empty">{rows.length === 0 ? empty : `No ${label} match the filter.`}</p>}
      </div>
    </>
  );
}
