/**
 * Which transport an example runs over: the URL on its command line says, or a Redis server of its own.
 *
 * @module
 */
import { spawn } from "node:child_process";
import { once } from "node:events";
import { existsSync, mkdtempSync, rmSync } from "node:fs";
import { connect } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import type { Provider } from "../mod.ts";
import { redis } from "../src/providers/redis/provider.ts";

/** The provider for `redis://…`, `rediss://…`, or the socket of a local server, `unix://…`. */
export function providerFor(url: string): Provider {
  if (/^(rediss?|unix):/.test(url)) return redis({ url });
  throw new Error(`Cannot run over "${url}": give the URL of a Redis server, such as redis://localhost`);
}

/** Starts a Redis server on a socket of its own, which ends with this process. */
export async function startServer(): Promise<AsyncDisposable & { readonly url: string }> {
  const fetched = fileURLToPath(new URL("../.cache/bin/redis-server", import.meta.url));
  const folder = mkdtempSync(join(tmpdir(), "tsmq-demo-"));
  const socket = join(folder, "redis.sock");
  const command = existsSync(fetched) ? fetched : "redis-server";
  const child = spawn(command, ["--port", "0", "--unixsocket", socket, "--save", "", "--dir", folder], {
    stdio: "ignore",
  });
  const failed = once(child, "exit").then(() => {
    throw new Error(`${command} ended before it was ready`);
  });
  failed.catch(() => {});
  while (!await Promise.race([answers(socket), failed])) await new Promise((resolve) => setTimeout(resolve, 20));
  return {
    url: `unix://${socket}`,
    [Symbol.asyncDispose]: async () => {
      const ended = once(child, "exit");
      child.kill("SIGTERM");
      await ended;
      rmSync(folder, { recursive: true, force: true });
    },
  };
}

function answers(socket: string): Promise<boolean> {
  return new Promise((resolve) => {
    const connection = connect(socket, () => {
      connection.destroy();
      resolve(true);
    });
    connection.once("error", () => resolve(false));
  });
}
