/**
 * A line chart over time that follows the latest values. uPlot draws it.
 *
 * @module
 */
import { useEffect, useRef } from "preact/hooks";
import type { JSX } from "preact";
import uPlot from "uplot";
import { axis } from "./text.ts";

/** The height of a chart in CSS pixels. */
const HEIGHT = 132;
/** The shortest time span of a chart, in seconds. */
const SPAN = 60;

/** A line of a chart. */
export interface Line {
  readonly label: string;
  /** The CSS variable that contains the color of the line. */
  readonly color: string;
  /** Null where the line has a gap. */
  readonly values: readonly (number | null)[];
  /** Whether the area below the line is filled. */
  readonly fill?: boolean;
}

interface ChartProps {
  readonly label: string;
  /** Seconds since 1970. */
  readonly times: readonly number[];
  readonly lines: readonly Line[];
}

const scheme = matchMedia("(prefers-color-scheme: dark)");

/** Returns the color of a CSS variable as a canvas reads it, with this opacity. */
function color(name: string, opacity = 1): string {
  const probe = document.createElement("span");
  probe.style.color = `var(${name})`;
  document.body.append(probe);
  const [red, green, blue] = getComputedStyle(probe).color.match(/[\d.]+/g) ?? [];
  probe.remove();
  return `rgb(${red} ${green} ${blue} / ${opacity})`;
}

function options(width: number, lines: readonly Line[]): uPlot.Options {
  const grid = { stroke: color("--line"), width: 1 };
  const look = { stroke: color("--quiet"), grid, ticks: { show: false }, font: "11px system-ui, sans-serif" };
  return {
    width,
    height: HEIGHT,
    padding: [8, 24, 0, 0],
    legend: { show: false },
    cursor: { show: false },
    scales: {
      x: { range: (_, min, max) => [Math.min(min, max - SPAN), max] },
      y: { range: (_, _min, max) => [0, max > 0 ? max * 1.1 : 1] },
    },
    axes: [
      { ...look, size: 22, space: 90, values: "{HH}:{mm}:{ss}" as never },
      { ...look, size: 44, space: 32, values: (_, splits) => splits.map(axis) },
    ],
    series: [
      {},
      ...lines.map(({ label, color: name, fill }): uPlot.Series => ({
        label,
        stroke: color(name),
        width: 1.5,
        fill: fill ? color(name, 0.12) : undefined,
        points: { show: false },
      })),
    ],
  };
}

/** Draws lines over time. A screen reader reads the numbers beside it instead. */
export function Chart({ label, times, lines }: ChartProps): JSX.Element {
  const place = useRef<HTMLDivElement>(null);
  const plot = useRef<uPlot | undefined>(undefined);
  const data: uPlot.AlignedData = [times as number[], ...lines.map(({ values }) => values as (number | null)[])];
  const latest = useRef(data);
  latest.current = data;

  useEffect(() => {
    const element = place.current!;
    const draw = () => {
      plot.current?.destroy();
      plot.current = new uPlot(options(element.clientWidth, lines), latest.current, element);
    };
    draw();
    scheme.addEventListener("change", draw);
    const observer = new ResizeObserver(() => {
      if (element.clientWidth !== plot.current?.width) {
        plot.current?.setSize({ width: element.clientWidth, height: HEIGHT });
      }
    });
    observer.observe(element);
    return () => {
      scheme.removeEventListener("change", draw);
      observer.disconnect();
      plot.current?.destroy();
    };
  }, []);
  useEffect(() => plot.current?.setData(data), [times]);

  return <div ref={place} class="chart" role="img" aria-label={label} />;
}
