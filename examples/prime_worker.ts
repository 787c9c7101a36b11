/**
 * A worker of `workers.ts`, with a bus of its own.
 *
 * @module
 */
import { providerFor } from "../cli/mod.ts";
import { Bus } from "../mod.ts";

/** The first message to a worker. */
export interface Start {
  readonly url: string;
  readonly namespace: string;
}

const { postMessage } = globalThis as unknown as Worker;

function isPrime(n: number): boolean {
  for (let i = 2; i * i <= n; i++) if (n % i === 0) return false;
  return n > 1;
}

async function serve({ url, namespace }: Start): Promise<void> {
  // the bus starts a worker inside this worker, which takes a second or more on Deno
  const bus = await Bus.open(await providerFor(url), { namespace, connectTimeout: 60_000 });
  await bus.expose(isPrime);
  const done = Promise.withResolvers<void>();
  await bus.subscribe("done", () => done.resolve()).ready;
  postMessage("serves");
  await done.promise;
  await bus.close(); // waits for the handlers
  postMessage("closed");
}

addEventListener("message", (event) => void serve((event as MessageEvent<Start>).data), { once: true });
