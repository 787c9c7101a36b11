/** The in-memory provider. Its broker dies with its worker. */
import { memory, type Provider } from "../../mod.ts";
import { type Faulty, faulty } from "../bus/faulty.ts";
import { clockStep, common, workerDies } from "./common.ts";
import type { Fault, Ground } from "./ground.ts";
import { STYLES } from "./tally.ts";

/** The capacity of a queue, which is so small that it is sometimes full. */
const CAPACITY = 20;

/** A broker whose worker the test can break. */
export class MemoryGround implements Ground {
  readonly name = "memory";
  #faulty: Faulty | undefined;

  provider(breakable?: boolean): Provider {
    const provider = memory({ capacity: CAPACITY });
    if (!breakable) return provider;
    this.#faulty = faulty(undefined, provider);
    return this.#faulty.provider;
  }

  /** Breaks the worker. */
  breakWorker(...how: Parameters<Faulty["fault"]>): void {
    this.#faulty!.fault(...how);
  }

  [Symbol.asyncDispose](): Promise<void> {
    return Promise.resolve();
  }
}

export const memoryFaults: readonly Fault<MemoryGround>[] = [
  ...common(2),
  clockStep(3_600_000),
  workerDies(12, STYLES),
];
