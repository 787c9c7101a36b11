/**
 * The floor of any bus whose receive loop has a Worker of its own: its system calls and hops, and nothing else. Prints the
 * microseconds of a round trip (p50).
 *
 *     deno run -A bench/ipc_bare.ts        bun bench/ipc_bare.ts
 *
 * @module
 */
import { spawn } from "node:child_process";
import { once } from "node:events";
import process from "node:process";
import { fileURLToPath } from "node:url";
import { loadPosix } from "../src/providers/ipc/posix.ts";

const ROUND_TRIPS = 5_000;
const SIZE = 512;
const MESSAGE = new TextEncoder().encode("x".repeat(100));

const [mine = `/tsmq-bare-${process.pid}`, other] = process.argv.slice(2);
const first = other === undefined;
const posix = await loadPosix();
const [back, there] = [mine, other ?? `${mine}-there`];
if (first) { for (const queue of [back, there]) posix.openQueue(queue, { messages: 1, size: SIZE, mode: 0o600 }); }

const descriptor = posix.openQueue(there);
const send = () => void posix.send(descriptor, MESSAGE, MESSAGE.length);
let came: () => void = send;
const { port1, port2 } = new MessageChannel();
port1.onmessage = () => came();
const worker = new Worker(new URL("ipc_bare_worker.ts", import.meta.url), { type: "module" });
await new Promise((resolve) => worker.onmessage = resolve);
worker.postMessage({ port: port2, queue: back, size: SIZE }, [port2]);

if (first) {
  const runtime = "Deno" in globalThis ? ["run", "-A", "--quiet"] : ["run"];
  const args = [...runtime, fileURLToPath(import.meta.url), there, back];
  const side = spawn(process.execPath, args, { stdio: ["ignore", "pipe", "inherit"] });
  await once(side.stdout, "data");
  const took: number[] = [];
  for (let i = 0; i < ROUND_TRIPS; i++) {
    const start = performance.now();
    const pong = new Promise<void>((resolve) => came = resolve);
    send();
    await pong;
    took.push(performance.now() - start);
  }
  console.log(took.sort((a, b) => a - b)[ROUND_TRIPS / 2]! * 1_000);
  side.kill("SIGKILL");
  for (const queue of [back, there]) posix.unlinkQueue(queue);
  process.exit(0);
}
console.log("ready");
