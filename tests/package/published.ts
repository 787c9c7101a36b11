/** The files that `deno publish` sends. */
import { execFileSync } from "node:child_process";
import { readFileSync } from "node:fs";
import { join, relative } from "node:path";
import { fileURLToPath } from "node:url";
import { tool } from "../support/tools.ts";

export const ROOT = fileURLToPath(new URL("../../", import.meta.url));

/** The data that the registry receives. */
export const CONFIG = JSON.parse(readFileSync(join(ROOT, "deno.json"), "utf8")) as {
  readonly version: string;
  readonly exports: Readonly<Record<string, string>>;
  readonly imports: Readonly<Record<string, string>>;
};

function deno(...args: string[]): string {
  const env = { ...process.env, NO_COLOR: "1" };
  return execFileSync(tool("deno"), args, { cwd: ROOT, env, encoding: "utf8", stdio: ["ignore", "pipe", "pipe"] });
}

/** Returns the files that `deno publish` sends. Throws its complaints, without those about types, which `deno task ok` shows. */
export function published(): string[] {
  const env = { ...process.env, NO_COLOR: "1" };
  const args = ["-c", '"$0" publish --dry-run --allow-dirty --no-check 2>&1', tool("deno")];
  const said = execFileSync("/bin/sh", args, { cwd: ROOT, env, encoding: "utf8" });
  return [...said.matchAll(/^ +file:\/\/(\S+) \(/gm)].map(([, path]) => relative(ROOT, path!)).sort();
}

/** The modules that the exports reach, by code or by types. */
export function reached(): string[] {
  const files = new Set<string>();
  for (const entry of new Set(Object.values(CONFIG.exports))) {
    const { modules } = JSON.parse(deno("info", "--json", "--no-lock", entry)) as { modules: { local?: string }[] };
    for (const { local } of modules) {
      if (local?.startsWith(ROOT) && !local.includes("node_modules")) files.add(relative(ROOT, local));
    }
  }
  return [...files].sort();
}

/** Makes a tarball of the modules as npm wants them, by the code that JSR's own npm layer runs: transpiled, with declarations. */
export function pack(file: string): void {
  deno("pack", "--allow-dirty", "--no-source-maps", "--quiet", "--output", file);
}

/** A published file; in modules, `specifier` says what becomes of each one. */
export function source(path: string, specifier: (specifier: string) => string): string {
  const text = readFileSync(join(ROOT, path), "utf8");
  if (!path.endsWith(".ts")) return text;
  const imports = /^((?:import|export)\b(?:[^;"`=()]*?\bfrom)?\s*)"([^"]+)"|\b(import\()"([^"]+)"/gm;
  return text.replace(
    imports,
    (_, before, statically, dynamic, dynamically) => `${before ?? dynamic}"${specifier(statically ?? dynamically)}"`,
  );
}

/** The npm packages that the modules need: name → version, as the import map has them. */
export function dependencies(paths: readonly string[]): Record<string, string> {
  const needed = new Set<string>();
  for (const path of paths) {
    source(path, (specifier) => {
      const mapped = CONFIG.imports[specifier];
      if (mapped?.startsWith("npm:")) needed.add(mapped.slice(4));
      return specifier;
    });
  }
  return Object.fromEntries(
    [...needed].sort().map((one) => [one.slice(0, one.lastIndexOf("@")), one.slice(one.lastIndexOf("@") + 1)]),
  );
}
