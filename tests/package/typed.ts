/** A program that names most of the public types. It is compiled, and never runs. */
import {
  Bus,
  type BusErrorEvent,
  currentCall,
  init,
  type Lease,
  procedure,
  type Provider,
  QueueFullError,
  shutdown,
  TimeoutError,
} from "@tsmq/tsmq";
import { aws } from "@tsmq/tsmq/aws";
import { conformance } from "@tsmq/tsmq/conformance";
import { ipc } from "@tsmq/tsmq/ipc";
import { memory } from "@tsmq/tsmq/memory";
import type { ReceiverContext } from "@tsmq/tsmq/provider";
import { redis } from "@tsmq/tsmq/redis";
import { openDashboard } from "@tsmq/tsmq/ui";
import { providerFor } from "@tsmq/tsmq/url";
import { serve } from "@tsmq/tsmq/worker";
import "@tsmq/tsmq/cli";
import "@tsmq/tsmq/workers/redis";

const local = memory();
export const providers: Provider[] = [local, redis({ url: "" }), ipc(), aws(), await providerFor("memory:")];
export const others: unknown[] = [conformance, serve, (context: ReceiverContext) => context.inbox("")];

const bus = await init(local, { namespace: "n", keys: [{ id: "a", secret: new Uint8Array(32) }] });
bus.addEventListener("error", (event) => console.log((event satisfies BusErrorEvent).attempt), { once: true });
bus.addEventListener("gap", ({ detail }) => console.log(detail.reason));
bus.addEventListener("state", { handleEvent: ({ detail, error }) => console.log(detail, error) });

const jobs = bus.queue<{ id: number }>("jobs");
const { signal } = new AbortController();
jobs.consume(async ({ id }, lease: Lease<{ id: number }>) => {
  lease.signal.throwIfAborted();
  console.log(id);
  await lease.ack();
}, { concurrency: 2, signal });
await jobs.put({ id: 1 }, { signal, headers: { a: "b" } }).catch((error) => {
  if (error instanceof QueueFullError || error instanceof TimeoutError) console.log(error.code);
});

const add = procedure<(a: number, b: number) => number>("add");
await bus.expose(add, (a, b) => a + b + Number(currentCall()?.headers.c));
const sum: number = await bus.stub(add)(1, 2);
for await (const n of bus.stream<(to: number) => AsyncIterable<number>>("count")(3)) console.log(n + sum);
{
  await using other: Bus = await Bus.open(local);
  await using lease = await other.queue("x").receive();
  await using dashboard = await openDashboard(local, {});
  console.log(lease.item, dashboard.url);
}
await shutdown();
