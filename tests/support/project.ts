/** A project of a user, outside of this tree. */
import { readFileSync, symlinkSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { makeDir } from "./child.ts";

const ROOT = fileURLToPath(new URL("../../", import.meta.url));
const text = (file: string) => readFileSync(join(ROOT, file), "utf8");

/** Creates a project whose specifiers are those of a user who has installed the package. Returns its directory. */
export function makeProject(): string {
  const dir = makeDir("project");
  const { exports, imports, compilerOptions } = JSON.parse(text("deno.json")) as Record<string, Record<string, string>>;
  const ours = Object.entries(exports!).map(([name, path]) => [`@tsmq/tsmq${name.slice(1)}`, join(ROOT, path)]);
  const mapped = Object.entries(imports!).map(([name, path]) => [name, path.startsWith(".") ? join(ROOT, path) : path]);
  const config = { imports: Object.fromEntries([...ours, ...mapped]), compilerOptions, nodeModulesDir: "manual" };
  writeFileSync(join(dir, "deno.json"), JSON.stringify(config));
  const paths = Object.fromEntries(ours.map(([name, path]) => [name, [path]]));
  writeFileSync(join(dir, "tsconfig.json"), JSON.stringify({ compilerOptions: { paths } }));
  writeFileSync(join(dir, "package.json"), text("package.json"));
  symlinkSync(join(ROOT, "node_modules"), join(dir, "node_modules"));
  return dir;
}
