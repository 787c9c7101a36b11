/**
 * A chart under the latest values of its lines.
 *
 * @module
 */
import type { JSX } from "preact";
import type { Totals } from "../protocol.ts";
import { Chart } from "./chart.tsx";
import { count } from "./text.ts";

/** A number, and its line in the chart. */
interface Curve<T> {
  readonly term: string;
  /** The latest value as text. */
  readonly value: string;
  /** The CSS variable with the color of the line. A number without a line has none. */
  readonly color?: string;
  readonly of?: (moment: T) => number;
  /** Whether the area below the line is filled. */
  readonly fill?: boolean;
}

/** The time of values, and whether some before them are missing. */
type Moment = Pick<Totals, "time" | "gap">;

interface CurvesProps<T> {
  readonly label: string;
  readonly moments: readonly T[];
  readonly curves: readonly Curve<T>[];
}

/** The numbers of items in queues. */
type Items = Pick<Totals, "waiting" | "leased" | "delayed" | "dead">;

/** Returns the curves of the items in queues. */
export function itemCurves(last: Partial<Items> | undefined): readonly Curve<Items>[] {
  return [
    { term: "Waiting", value: count(last?.waiting), color: "waiting", of: ({ waiting }) => waiting, fill: true },
    { term: "Leased", value: count(last?.leased), color: "leased", of: ({ leased }) => leased },
    { term: "Delayed", value: count(last?.delayed), color: "delayed", of: ({ delayed }) => delayed },
    { term: "Dead", value: count(last?.dead), color: "dead", of: ({ dead }) => dead },
  ];
}

/** A moment of a chart, or its time alone, where the lines have a gap. */
interface Point<T> {
  readonly time: number;
  readonly moment?: T;
}

/** Returns the points of a chart: one without a moment between two moments that miss others between them. */
function pointsOf<T extends Moment>(moments: readonly T[]): readonly Point<T>[] {
  return moments.flatMap((moment, i): Point<T>[] => {
    const { time, gap } = moment;
    const before = gap && moments[i - 1];
    return [...before ? [{ time: (before.time + time) / 2 }] : [], { time, moment }];
  });
}

/** Shows numbers, and their values over time. */
export function Curves<T extends Moment>({ label, moments, curves }: CurvesProps<T>): JSX.Element {
  const points = pointsOf(moments);
  return (
    <figure>
      <figcaption>
        <dl class="numbers">
          {curves.map(({ term, value, color = "plain" }) => (
            <div key={term} class={`figure ${color}`}>
              <dt>{term}</dt>
              <dd>{value}</dd>
            </div>
          ))}
        </dl>
      </figcaption>
      <Chart
        label={label}
        times={points.map(({ time }) => time)}
        lines={curves.flatMap(({ term, color, of, fill }) =>
          of
            ? [{
              label: term,
              color: `--${color}`,
              values: points.map(({ moment }) => moment ? of(moment) : null),
              fill,
            }]
            : []
        )}
      />
    </figure>
  );
}
