/**
 * Full queues: a put waits for room, and a put that was cancelled adds nothing.
 *
 * @module
 */
import type { Bus } from "../bus.ts";
import { ClosedError, QueueFullError } from "../errors.ts";
import type { Queue } from "../queue/queue.ts";
import { equal, range, rejects, rejectsWith } from "./assert.ts";
import { drain } from "./queues.ts";
import type { CaseBody, Cases, Conditional } from "./cases.ts";
import type { CaseContext } from "./case_context.ts";

/** Returns a case for queues that can be full. */
function finite(run: CaseBody): Conditional {
  return { skip: ({ capacity }) => capacity === Infinity ? "its queues are never full" : undefined, run };
}

async function fill(t: CaseContext, queue: Queue<number>): Promise<void> {
  for (let i = 0; i < t.features.capacity; i++) await queue.put(i, { timeout: 30_000 });
}

/** Cases about full queues. */
export const capacity: Cases = {
  "put() into a full queue waits for room, and putNowait() rejects": finite(async (t) => {
    const [bus, other] = await t.buses(2) as [Bus, Bus];
    const queue = t.queue<number>(bus, "full");
    await fill(t, queue);
    const looks = [
      () => queue.putNowait(-1),
      () => queue.put(-1, { block: false }),
      () => queue.put(-1, { timeout: 0 }),
      () => queue.put(-1, { timeout: 100 }),
    ];
    for (const look of looks) await rejects(look, QueueFullError, "queue_full");
    const put = queue.put(t.features.capacity);
    await t.quiet();
    const got = await drain(t, other.queue<number>("full"));
    await put;
    got.push(...await drain(t, queue));
    equal(got, range(t.features.capacity + 1));
  }),

  "a signal ends the wait for room, and puts nothing": finite(async (t) => {
    const bus = await t.open();
    const queue = t.queue<number>(bus, "full");
    await fill(t, queue);
    const abort = new AbortController();
    const rejected = rejectsWith(queue.put(-1, { signal: abort.signal }), "no more");
    await t.quiet();
    abort.abort("no more");
    await rejected;
    equal(await drain(t, queue), range(t.features.capacity));
  }),

  "close() ends a put that waits for room: it rejects with ClosedError, and nothing is put": finite(async (t) => {
    const [bus, other] = await t.buses(2) as [Bus, Bus];
    await fill(t, t.queue<number>(other, "full"));
    const rejected = rejects(() => bus.queue<number>("full").put(-1), ClosedError, "closed");
    await t.quiet();
    await bus.close();
    equal((await rejected).message, 'Cannot put into queue "full": the bus is closed');
    equal(await drain(t, other.queue<number>("full")), range(t.features.capacity));
  }),
};
