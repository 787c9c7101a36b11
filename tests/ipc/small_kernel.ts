/** Uses each style once in the namespace of its argument, and prints the styles that worked, or the error. */
import process from "node:process";
import { Bus } from "../../src/bus.ts";
import { BusError } from "../../src/errors.ts";
import { ipc } from "../../src/providers/ipc/provider.ts";

const [namespace] = process.argv.slice(2) as [string];
const LARGE = "x".repeat(10_000);
const said: Record<string, string> = {};

async function attempt(what: string, act: () => Promise<unknown>): Promise<void> {
  said[what] = await act().then(
    () => "works",
    (error) => error instanceof BusError ? `${error.code}: ${error.message}` : `untyped: ${error}`,
  );
}

await attempt("bus", async () => {
  const bus = await Bus.open(ipc(), { namespace });
  await attempt("events", async () => {
    const seen = Promise.withResolvers<unknown>();
    await bus.subscribe("topic", (event) => event === LARGE && seen.resolve(event)).ready;
    for (const event of ["small", LARGE]) await bus.publish(event, "topic");
    await seen.promise;
  });
  await attempt("calls", async () => {
    await bus.expose("echo", (text: string) => text);
    if (await bus.stub("echo")(LARGE) !== LARGE) throw new Error("it answers something else");
  });
  await attempt("queues", async () => {
    const queue = bus.queue<string>("queue");
    for (let i = 0; i < 20; i++) await queue.putNowait(`${i} ${LARGE}`);
    for (let i = 0; i < 20; i++) if (await queue.get() !== `${i} ${LARGE}`) throw new Error("it holds something else");
    await queue.free();
  });
  await attempt("second bus", async () => await (await Bus.open(ipc(), { namespace })).close());
  await bus.close();
});
console.log(JSON.stringify(said));
