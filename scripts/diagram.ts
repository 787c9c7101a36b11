/**
 * Draws the diagram of the README, docs/flow.svg: the way of a message from one process to another.
 *
 *     deno run --allow-write=docs scripts/diagram.ts
 *
 * @module
 */

const BOX = { width: 120, height: 50, y: 48 };
/** The space between a process and its boxes. */
const PADDING = 18;
const FRAME = { height: 112, y: 30 };
const WIDTH = 930;
const HEIGHT = FRAME.y + FRAME.height + 12;
/** The space between an arrow and the boxes that it connects. */
const GAP = 3;

interface Box {
  readonly x: number;
  readonly title: string;
  readonly text: string;
  readonly fill?: string;
}

/** The boxes, in the order of a message's way. */
const BOXES: readonly Box[] = [
  { x: 28, title: "your code", text: "publish, put, stub" },
  { x: 170, title: "sender", text: "main thread" },
  { x: 334, title: "transport", text: "Redis, AWS, IPC", fill: "#fde68a" },
  { x: 498, title: "receiver", text: "worker", fill: "#bfdbfe" },
  { x: 640, title: "bus", text: "main thread" },
  { x: 782, title: "your handler", text: "consume, expose" },
];

function text(x: number, y: number, words: string): string {
  return `<text x="${x}" y="${y}" fill="#374151">${words}</text>`;
}

function box({ x, title, text: words, fill = "#e5e7eb" }: Box): string {
  const { width, height, y } = BOX;
  const middle = x + width / 2;
  return [
    `<rect x="${x}" y="${y}" width="${width}" height="${height}" rx="6" fill="${fill}" />`,
    `<text x="${middle}" y="${y + 21}" font-weight="bold">${title}</text>`,
    text(middle, y + 38, words),
  ].join("\n  ");
}

/** Draws the arrow from a box to the next one. */
function arrow({ x }: Box, next: Box): string {
  const y = BOX.y + BOX.height / 2;
  const [from, to] = [x + BOX.width + GAP, next.x - GAP];
  return `<line x1="${from}" y1="${y}" x2="${to}" y2="${y}" stroke="#111827" stroke-width="1.5" marker-end="url(#tip)" />`;
}

/** Draws a process around these boxes, with a title above and a note below them. */
function frame(first: Box, last: Box, title: string, note: string): string {
  const { height, y } = FRAME;
  const x = first.x - PADDING;
  const width = last.x + BOX.width + PADDING - x;
  const middle = x + width / 2;
  return [
    `<rect x="${x}" y="${y}" width="${width}" height="${height}" rx="10" fill="none" stroke="#9ca3af" />`,
    text(middle, y - 9, title),
    text(middle, y + height - 16, note),
  ].join("\n  ");
}

/** Returns the diagram as SVG. */
export function diagram(): string {
  const parts = [
    frame(BOXES[0]!, BOXES[1]!, "one process: Deno, Bun or Python", "every send has a deadline"),
    frame(
      BOXES[3]!,
      BOXES[5]!,
      "another process, or the same one",
      "the worker receives while the main thread is busy",
    ),
    ...BOXES.map(box),
    ...BOXES.slice(1).map((next, i) => arrow(BOXES[i]!, next)),
  ];
  return `<svg xmlns="http://www.w3.org/2000/svg" width="${WIDTH}" height="${HEIGHT}" viewBox="0 0 ${WIDTH} ${HEIGHT}"
  font-family="sans-serif" font-size="12" text-anchor="middle">
  <title>The flow of a message</title>
  <defs>
    <marker id="tip" viewBox="0 0 8 8" refX="7" refY="4" markerWidth="7" markerHeight="7" orient="auto">
      <path d="M0 0 8 4 0 8z" fill="#111827" />
    </marker>
  </defs>
  <rect width="100%" height="100%" rx="6" fill="#fff" />
  ${parts.join("\n  ")}
</svg>
`;
}

if (import.meta.main) await Deno.writeTextFile(new URL("../docs/flow.svg", import.meta.url), diagram());
