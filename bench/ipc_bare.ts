/**
 * The lower bound of any bus whose receive loop is in a Worker: the same system calls and thread crossings, and nothing else.
 * Prints the microseconds of a round trip (p50).
 *
 *     deno run -A bench/ipc_bare.ts        bun bench/ipc_bare.ts
 *
 * @module
 */
import process from "node:process";
import { loadPosix } from "../src/providers/ipc/posix.ts";
import { launch, middle } from "./process.ts";

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
  const { other } = await launch("ipc_bare.ts", there, back);
  const p50 = await middle(async () => {
    const pong = new Promise<void>((resolve) => came = resolve);
    send();
    await pong;
  });
  console.log(p50);
  other.kill("SIGKILL");
  for (const queue of [back, there]) posix.unlinkQueue(queue);
  process.exit(0);
}
console.log("ready");
