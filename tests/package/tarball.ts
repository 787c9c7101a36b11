/**
 * The tarball that JSR makes of a package for npm clients, which Bun is: every module that the exports reach stands in it
 * twice, transpiled (.js) and as it was (.ts), both with specifiers rewritten to what npm clients can resolve; declarations stand
 * under `_dist/`; all other files, and strings in `new URL(…)`, as they are.
 */
import { execFileSync } from "node:child_process";
import { mkdirSync, readdirSync, readFileSync, renameSync, rmSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { CONFIG, dependencies, pack, published, source } from "./published.ts";

/** The name of the package for npm clients. */
export const NPM_NAME = "@jsr/tsmq__tsmq";

/** Creates the tarball in this directory. Returns its path and its `package.json`. */
export function makeTarball(dir: string): { readonly file: string; readonly manifest: Record<string, unknown> } {
  const root = join(dir, "package");
  pack(join(dir, "pack.tgz"));
  execFileSync("tar", ["xzf", "pack.tgz"], { cwd: dir });
  for (const file of readdirSync(root, { recursive: true, encoding: "utf8" })) {
    if (file.endsWith(".d.ts")) move(join(root, file), join(root, "_dist", file));
    else if (/\.(md|json)$|LICENSE$/.test(file)) rmSync(join(root, file));
  }
  const files = published().filter((file) => file !== "deno.json"); // an installed package works without it
  for (const file of files) {
    const text = source(file, (specifier) => specifier.replace(/^(\..*)\.ts$/, "$1.js"));
    mkdirSync(dirname(join(root, file)), { recursive: true });
    writeFileSync(join(root, file), text);
  }
  const js = (path: string) => path.replace(/\.ts$/, ".js");
  const types = (path: string) => path.replace(/^\.\/(.*)\.ts$/, "./_dist/$1.d.ts");
  const exports = Object.entries(CONFIG.exports).map((
    [name, path],
  ) => [name, { types: types(path), default: js(path) }]);
  const manifest = {
    name: NPM_NAME,
    version: CONFIG.version,
    homepage: "https://jsr.io/@tsmq/tsmq",
    type: "module",
    dependencies: dependencies(files),
    exports: Object.fromEntries(exports),
    _jsr_revision: 12,
  };
  writeFileSync(join(root, "package.json"), JSON.stringify(manifest, null, 2));
  const file = join(dir, "tsmq.tgz");
  execFileSync("tar", ["czf", file, "package"], { cwd: dir });
  return { file, manifest: JSON.parse(readFileSync(join(root, "package.json"), "utf8")) };
}

function move(from: string, to: string): void {
  mkdirSync(dirname(to), { recursive: true });
  renameSync(from, to);
}
