/**
 * The transport of an example that is started without a URL.
 *
 * @module
 */
import { spawn, spawnSync } from "node:child_process";
import { once } from "node:events";
import { existsSync, mkdtempSync, rmSync } from "node:fs";
import { connect } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import process from "node:process";

/** Returns the kernel's message queues on Linux, otherwise a Redis server that it starts. */
export async function ownTransport(): Promise<AsyncDisposable & { readonly url: string }> {
  if (process.platform === "linux") return { url: "ipc:", [Symbol.asyncDispose]: () => Promise.resolve() };
  return await startServer();
}

/** Starts a Redis server on a Unix socket. It ends with this process. */
async function startServer(): Promise<AsyncDisposable & { readonly url: string }> {
  spawnSync("deno", ["task", "--quiet", "tools", "deno", "redis-server"], { stdio: "inherit" });
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
