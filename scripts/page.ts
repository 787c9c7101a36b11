/**
 * Bundles the dashboard's page and the libraries that it uses into `ui/assets.ts`, so that the package needs no build step:
 *
 *     deno task page
 *
 * `tests/ui/server_test.ts` fails if the bundle differs from the sources.
 *
 * @module
 */
import { execFileSync } from "node:child_process";
import { readFileSync, realpathSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";

const ROOT = fileURLToPath(new URL("../", import.meta.url));
const signals = realpathSync(join(ROOT, "node_modules/@preact/signals"));
/** The folders of the packages whose code the bundle contains. Each requires that its license stands beside it. */
const BUNDLED = [
  join(ROOT, "node_modules/preact"),
  signals,
  // installed only for the one before it
  join(signals, "../signals-core"),
  join(ROOT, "node_modules/uplot"),
];

function license(folder: string): string {
  const { name, version } = JSON.parse(readFileSync(join(folder, "package.json"), "utf8")) as Record<string, string>;
  return `${name} ${version}\n\n${readFileSync(join(folder, "LICENSE"), "utf8").trim()}`;
}

/** Returns the text of `ui/assets.ts`. `bun` is the path of the bundler. */
export function assets(bun: string): string {
  const args = ["build", "ui/page/main.tsx", "--production", "--target=browser"]
    .concat("--jsx-runtime=automatic", "--jsx-import-source=preact");
  const script = execFileSync(bun, args, { cwd: ROOT, encoding: "utf8" });
  const style = ["node_modules/uplot/dist/uPlot.min.css", "ui/page/style.css"]
    .map((path) => readFileSync(join(ROOT, path), "utf8")).join("\n");
  const licenses = BUNDLED.map(license).join("\n\n").replace(/^/gm, " * ").replace(/ +$/gm, "");
  return `// deno-lint-ignore-file
// deno-fmt-ignore-file
// made by \`deno task page\` from ui/page/
/**
 * The script and the style sheet of the dashboard's page. The script contains these packages:
 *
${licenses}
 *
 * @module
 */

/** The script, a module. */
export const SCRIPT: string = ${JSON.stringify(script)};

/** The style sheet. */
export const STYLE: string = ${JSON.stringify(style)};
`;
}

if (import.meta.main) {
  writeFileSync(join(ROOT, "ui/assets.ts"), assets(join(ROOT, "node_modules/bun/bin/bun.exe")));
}
