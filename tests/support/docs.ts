/** The examples in the README and in docs/. */
import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";

/** The root of the tree. */
export const ROOT: string = fileURLToPath(new URL("../../", import.meta.url));
const DOCS = readdirSync(join(ROOT, "docs")).filter((name) => name.endsWith(".md"));
/** The README and the pages of docs/. */
export const PAGES: readonly string[] = ["README.md", ...DOCS.map((name) => `docs/${name}`)];

/** Returns the text of a page, or of another file. */
export function text(page: string): string {
  return readFileSync(join(ROOT, page), "utf8");
}

/** An example. */
export interface Example {
  readonly page: string;
  readonly title: string;
  readonly code: string;
  /** Whether the test ends it: by SIGTERM, when it has printed everything. */
  readonly endless: boolean;
}

/** Every block of TypeScript, but those that are marked `ignore`: parts of something. */
export const EXAMPLES: readonly Example[] = PAGES.flatMap((page) => {
  let title = "";
  const blocks = /^#+ (.*)$|^(<!-- runs until SIGTERM -->\n\n)?```ts\n([^]*?)^```$/gm;
  return [...text(page).matchAll(blocks)].flatMap(([, heading, endless, code]) => {
    if (heading !== undefined) title = heading;
    return code === undefined ? [] : [{ page, title, code, endless: endless !== undefined }];
  });
});
