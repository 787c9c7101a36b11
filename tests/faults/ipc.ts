/** POSIX message queues. There is no server to break, only processes and workers. */
import type { Provider } from "../../mod.ts";
import { ipc } from "../../src/providers/ipc/provider.ts";
import { type Faulty, faulty } from "../bus/faulty.ts";
import { clockStep, COMMON, peerKilled, prefetcherKilled, workerDies } from "./common.ts";
import type { Fault, Ground } from "./ground.ts";

/** The kernel's queues; they are full at 10 messages. */
export class IpcGround implements Ground {
  readonly name = "ipc";
  /** Small messages: many queues fit into what the kernel grants a user. */
  readonly place = { provider: "ipc" as const, options: { messageSize: 512 } };
  #faulty: Faulty | undefined;

  provider(breakable?: boolean): Provider {
    const provider = ipc(this.place.options);
    if (!breakable) return provider;
    this.#faulty = faulty(undefined, provider);
    return this.#faulty.provider;
  }

  breakWorker(...how: Parameters<Faulty["fault"]>): void {
    this.#faulty!.fault(...how);
  }

  [Symbol.asyncDispose](): Promise<void> {
    return Promise.resolve();
  }
}

export const ipcFaults: readonly Fault<IpcGround>[] = [
  ...COMMON,
  clockStep(3_600_000),
  workerDies(5, ["events", "get"]),
  peerKilled(4),
  prefetcherKilled(3),
];
