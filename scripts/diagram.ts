/**
 * Draws the diagram of the README, docs/flow.svg: the way of a message from one process to another.
 *
 *     deno run --allow-write=docs scripts/diagram.ts
 *
 * @module
 */

const WIDTH = 860;
const HEIGHT = 250;
const FRAME = { width: 290, height: 190, y: 40 };

interface Box {
  readonly x: number;
  readonly y: number;
  readonly lines: readonly [title: string, ...rest: string[]];
  readonly fill?: string;
}

const BOXES: readonly Box[] = [
  { x: 40, y: 75, lines: ["your code", "publish, put, stub"] },
  { x: 180, y: 75, lines: ["sender", "main thread"] },
  { x: 360, y: 110, lines: ["transport", "Redis, AWS, POSIX"], fill: "#fde68a" },
  { x: 550, y: 165, lines: ["receiver", "worker"], fill: "#bfdbfe" },
  { x: 690, y: 165, lines: ["bus", "main thread"] },
  { x: 690, y: 75, lines: ["your handler", "subscribe, consume"] },
];

const ARROWS: readonly (readonly [x1: number, y1: number, x2: number, y2: number])[] = [
  [160, 98, 178, 98],
  [300, 110, 358, 127],
  [480, 145, 548, 183],
  [670, 188, 688, 188],
  [750, 163, 750, 123],
];

function box({ x, y, lines: [title, ...rest], fill = "#e5e7eb" }: Box): string {
  const text = rest.map((line, i) => `<text x="${x + 60}" y="${y + 36 + 14 * i}" fill="#374151">${line}</text>`);
  return [
    `<rect x="${x}" y="${y}" width="120" height="46" rx="6" fill="${fill}" />`,
    `<text x="${x + 60}" y="${y + 20}" font-weight="bold">${title}</text>`,
    ...text,
  ].join("\n  ");
}

function frame(x: number, title: string): string {
  const { width, height, y } = FRAME;
  return [
    `<rect x="${x}" y="${y}" width="${width}" height="${height}" rx="10" fill="none" stroke="#9ca3af" />`,
    `<text x="${x + width / 2}" y="${y - 10}" fill="#374151">${title}</text>`,
  ].join("\n  ");
}

/** Returns the diagram as SVG. */
export function diagram(): string {
  const parts = [
    frame(25, "one process: Deno, Bun or Python"),
    frame(545, "another process, or the same one"),
    ...BOXES.map(box),
    ...ARROWS.map(([x1, y1, x2, y2]) =>
      `<line x1="${x1}" y1="${y1}" x2="${x2}" y2="${y2}" stroke="#111827" stroke-width="1.5" marker-end="url(#tip)" />`
    ),
    `<text x="420" y="190" fill="#374151">a busy main thread</text>`,
    `<text x="420" y="205" fill="#374151">does not stop the worker</text>`,
  ];
  return `<svg xmlns="http://www.w3.org/2000/svg" width="${WIDTH}" height="${HEIGHT}" viewBox="0 0 ${WIDTH} ${HEIGHT}"
  font-family="sans-serif" font-size="11" text-anchor="middle">
  <title>The flow of a message</title>
  <defs>
    <marker id="tip" viewBox="0 0 8 8" refX="7" refY="4" markerWidth="7" markerHeight="7" orient="auto">
      <path d="M0 0 8 4 0 8z" fill="#111827" />
    </marker>
  </defs>
  <rect width="100%" height="100%" fill="#fff" />
  ${parts.join("\n  ")}
</svg>
`;
}

if (import.meta.main) await Deno.writeTextFile(new URL("../docs/flow.svg", import.meta.url), diagram());
