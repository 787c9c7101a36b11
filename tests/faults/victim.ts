/** The bus that a hostile peer attacks. */
import { assertEquals } from "@std/assert";
import type { Bus, BusError } from "../../mod.ts";
import { until } from "../support/until.ts";

/** Milliseconds for a message that was sent after all messages of the peer, on a busy machine. */
const PATIENCE = 60_000;

/** A bus that uses every style and reports refused messages, and a bus that calls it. */
export interface Victim extends AsyncDisposable {
  readonly bus: Bus;
  readonly caller: Bus;
  readonly refused: Map<string, number>;
  /** Everything works. */
  works(): Promise<void>;
}

/** Opens both. */
export async function victim(open: (namespace: string) => Promise<Bus>, namespace: string): Promise<Victim> {
  const [bus, caller] = await Promise.all([open(namespace), open(namespace)]);
  const refused = new Map<string, number>();
  for (const each of [bus, caller]) {
    each.addEventListener("error", (event) => {
      const { code } = event.error as BusError;
      refused.set(code, (refused.get(code) ?? 0) + 1);
    });
  }
  const seen: unknown[] = [];
  const globbed: unknown[] = [];
  const done: unknown[] = [];
  await bus.subscribe("news", (event) => seen.push(event)).ready;
  await bus.subscribe("n*", (event) => globbed.push(event), { pattern: true }).ready;
  await bus.expose("echo", (value: unknown) => value);
  bus.queue("jobs").consume((item) => void done.push(item), { maxAttempts: 3, backoff: 10 });
  let n = 0;
  const works = async () => {
    const mark = `mark ${n++}`;
    await until("an event arrives", async () => {
      await caller.publish(mark, "news").catch(() => {});
      return seen.includes(mark) && globbed.includes(mark);
    }, PATIENCE);
    await caller.queue("jobs").put(mark);
    await until("an item is consumed", () => done.includes(mark), PATIENCE);
    const put = caller.queue("got").put(mark); // garbage may fill the queue
    const got = async () => await bus.queue("got").get({ timeout: 1_000 }).catch(() => {}) === mark;
    await until("an item is got", got, PATIENCE);
    await put;
    assertEquals(await caller.stub("echo")(mark), mark);
    assertEquals(await caller.stub("echo", { multi: true })(mark), [{ status: "fulfilled", value: mark }]);
    assertEquals([bus.health().state, bus.health().restarts], ["up", 0]);
  };
  const close = async () => void await Promise.all([bus.close(), caller.close()]);
  return { bus, caller, refused, works, [Symbol.asyncDispose]: close };
}
