/** The worker of `bench/ipc_bare.ts`: waits in `poll` and posts each message like the worker of a bus. @module */
import { loadPosix, POLLIN } from "../src/providers/ipc/posix.ts";

const posix = await loadPosix();
const decoder = new TextDecoder();

function relay({ port, queue, size }: { port: MessagePort; queue: string; size: number }): never {
  const descriptor = posix.openQueue(queue);
  const entry = new DataView(new ArrayBuffer(8));
  entry.setInt32(0, descriptor, true);
  entry.setInt16(4, POLLIN, true);
  const buffer = new Uint8Array(size);
  while (true) {
    posix.poll(new Uint8Array(entry.buffer), 1, 1_000);
    for (let length; (length = posix.receive(descriptor, buffer)) >= 0;) {
      port.postMessage([{ kind: "events", runs: [1, 1], bodies: [decoder.decode(buffer.subarray(0, length))] }]);
    }
  }
}

const scope = globalThis as unknown as {
  onmessage: (event: MessageEvent) => void;
  postMessage(message: unknown): void;
};
scope.onmessage = (event) => relay(event.data);
scope.postMessage("ready");
