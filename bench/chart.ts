/** The chart of the README. @module */
import { labelOf, number, type Report, type Result } from "./report.ts";
import { METRICS } from "./workloads.ts";

const PANELS = [
  ["redis", "consumed1"],
  ["redis", "consumed64"],
  ["redis", "picked"],
  ["redis", "called64"],
  ["redis", "called1000"],
  ["redis", "p50"],
  ["redis", "events"],
  ["redis", "queued"],
  ["ipc", "events"],
] as const;
const TITLES = { redis: "Redis", ipc: "POSIX message queues" } as const;

const COLUMNS = 3;
const PANEL = 320;
const LABEL = 118;
const BAR = 16;
const GAP = 6;
const HEAD = 44;
const MARGIN = 20;

/** Draws a bar for each system, as long as its figure. tsmq's bars are highlighted. */
export function chart({ results }: Report): string {
  const panels = PANELS.map(([group, metric]) => ({
    title: TITLES[group],
    metric,
    bars: results.filter((result) => result.group === group && result.metric === metric),
  })).filter(({ bars }) => bars.length > 0);
  const parts: string[] = [];
  let y = MARGIN;
  for (let i = 0; i < panels.length; i += COLUMNS) {
    const row = panels.slice(i, i + COLUMNS);
    row.forEach((panel, column) => parts.push(...draw(panel, MARGIN + column * (PANEL + MARGIN), y)));
    y += HEAD + Math.max(...row.map(({ bars }) => bars.length)) * (BAR + GAP) + MARGIN;
  }
  const width = MARGIN + Math.min(COLUMNS, panels.length) * (PANEL + MARGIN);
  return [
    `<svg xmlns="http://www.w3.org/2000/svg" width="${width}" height="${y}" viewBox="0 0 ${width} ${y}" font-family="sans-serif" font-size="11">`,
    `<rect width="100%" height="100%" fill="#fff"/>`,
    ...parts,
    "</svg>\n",
  ].join("\n");
}

function draw(
  { title, metric, bars }: { title: string; metric: string; bars: readonly Result[] },
  x: number,
  y: number,
): string[] {
  const { text, unit, rate } = METRICS[metric]!;
  const most = Math.max(...bars.map(({ value }) => value.median));
  const room = PANEL - LABEL - 60;
  return [
    `<text x="${x}" y="${y + 12}" font-size="13" font-weight="bold">${title}</text>`,
    `<text x="${x}" y="${y + 28}" fill="#555">${text}, ${unit} (${rate ? "more" : "less"} is better)</text>`,
    ...bars.flatMap((bar, i) => {
      const top = y + HEAD + i * (BAR + GAP);
      const length = Math.max(1, bar.value.median / most * room);
      const middle = top + BAR / 2 + 4;
      return [
        `<text x="${x + LABEL - 6}" y="${middle}" text-anchor="end">${labelOf(bar)}</text>`,
        `<rect x="${x + LABEL}" y="${top}" width="${length.toFixed(1)}" height="${BAR}" fill="${
          bar.system === "tsmq" ? "#2563eb" : "#9ca3af"
        }"/>`,
        `<text x="${(x + LABEL + length + 5).toFixed(1)}" y="${middle}">${number(bar.value.median)}</text>`,
      ];
    }),
  ];
}
