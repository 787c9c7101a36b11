/** The programs that tests run: in `.cache/bin`, where `deno task tools` puts them, or on the PATH. */
import { readFileSync, statSync } from "node:fs";
import { delimiter, join } from "node:path";
import process from "node:process";

/** The names of the programs. `scripts/tools.ts` has their versions. */
export type Tool =
  | "deno"
  | "denort"
  | "bun"
  | "redis-server"
  | "redis-server-6.2"
  | "redis-server-8.2"
  | "valkey-server-9.1"
  | "nats-server"
  | "chromium"
  | "openssl"
  | "python"
  | "deno-glibc-2.31"
  | "bun-glibc-2.31"
  | "bun-musl"
  | "deno-aarch64"
  | "bun-aarch64";

const CACHE = new URL("../../.cache/bin/", import.meta.url).pathname;

/** Returns the path of a program. {@linkcode missing} checks whether it is installed. */
export function tool(name: Tool): string {
  const path = find(name);
  if (path === undefined) throw new Error(`Cannot run ${name}: ${missing(name)}`);
  return path;
}

/** Returns why the first missing program is missing; `undefined` if all are installed. For `itNeeds`. */
export function missing(...names: Tool[]): string | undefined {
  const name = names.find((name) => find(name) === undefined);
  if (name === undefined) return undefined;
  try {
    return readFileSync(join(CACHE, `${name}.missing`), "utf8").trim();
  } catch {
    return `no ${name}; \`deno task tools\` fetches it`;
  }
}

function find(name: Tool): string | undefined {
  if (name === ("Bun" in globalThis ? "bun" : "deno")) return process.execPath;
  // Python only from the virtual environment, which has PyMQ
  const folders = [CACHE, ...(name === "python" ? [] : (process.env.PATH ?? "").split(delimiter))];
  return folders.map((folder) => join(folder, name)).find(runs);
}

/** Returns whether a file can be run. (`access` would ignore the capabilities by which a test with queues of its own enters a private directory.) */
function runs(path: string): boolean {
  try {
    return (statSync(path).mode & 0o111) !== 0;
  } catch {
    return false;
  }
}
