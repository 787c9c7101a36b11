/**
 * A work queue: several workers share its items, and no item is lost, even if a worker dies.
 *
 *     deno task install && deno run -A examples/work_queue.ts [url]
 *
 * This process puts ten jobs into a queue and starts three workers as processes. One worker is killed in the middle of a
 * job. One job fails on every worker.
 *
 * @module
 */
import { spawn } from "node:child_process";
import process from "node:process";
import { fileURLToPath } from "node:url";
import { providerFor } from "../cli/mod.ts";
import { Bus, type DeadLetter } from "../mod.ts";
import { ownTransport } from "./providers.ts";

interface Job {
  readonly id: number;
}

const [given, space = `work-${crypto.randomUUID()}`, role = "boss"] = process.argv.slice(2);

async function boss(bus: Bus, url: string): Promise<void> {
  const jobs = bus.queue<Job>("jobs");
  const workers = ["Ada", "Bo", "Cy"].map((name) => start(name, url, bus.namespace));
  for (let id = 1; id <= 10; id++) await jobs.put({ id });

  const done = new Set<number>();
  for await (const { id } of bus.queue<Job>("done")) {
    done.add(id);
    if (done.size === 9) break;
  }
  console.log(`done: ${[...done].sort((a, b) => a - b).join(", ")}`);

  // a job that fails three times moves to the dead-letter queue, so it does not block the others
  const letter = await bus.queue<DeadLetter<Job>>("jobs.dead").get();
  console.log(
    `nobody could do job ${
      letter.unreadable ? letter.item : letter.item.id
    }: ${letter.cause.message} (${letter.attempts} attempts)`,
  );

  for (const worker of workers) worker.kill();
  for (const name of ["jobs", "done", "jobs.dead"]) await bus.queue(name).free();
}

async function work(bus: Bus): Promise<void> {
  const consumer = bus.queue<Job>("jobs").consume(async ({ id }, { attempt }) => {
    if (id === 4) throw new Error("it makes no sense");
    // a crash: no `finally` block runs. The job is redelivered when its lease has expired
    if (id === 7 && attempt === 1) process.kill(process.pid, "SIGKILL");
    await new Promise((resolve) => setTimeout(resolve, 20));
    console.log(`${role} did job ${id}${attempt > 1 ? `, whose first worker died` : ""}`);
    await bus.queue("done").put({ id });
  }, { lease: 3_000, maxAttempts: 3, backoff: 50 });
  // a handler that threw is reported here; the worker continues
  bus.addEventListener("error", () => {});
  await consumer.closed;
}

/** Starts this file in another process, as a worker. */
function start(name: string, url: string, namespace: string) {
  const runtime = "Deno" in globalThis ? ["run", "-A"] : ["run"];
  const args = [...runtime, fileURLToPath(import.meta.url), url, namespace, name];
  return spawn(process.execPath, args, { stdio: ["ignore", "inherit", "inherit"] });
}

await using transport = given === undefined ? await ownTransport() : undefined;
const url = given ?? transport!.url;
await using bus = await Bus.open(await providerFor(url), { namespace: space });
await (role === "boss" ? boss(bus, url) : work(bus));
