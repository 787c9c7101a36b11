/**
 * Consumers: handlers of a queue's items, with retries and dead letters.
 *
 * @module
 */
import type { Deliveries, Opened } from "./deliveries.ts";
import { type DelayOf, FailedAttempts, NOTHING, type Settle } from "./failed_attempts.ts";
import { type Held, HeldLease, leaseOf } from "./lease.ts";
import { BusError, type ErrorCode, isInterruption, TimeoutError } from "../errors.ts";
import { isA, isAbort, textOf } from "../internal/thrown.ts";
import { after, backoff as backoffAfter, pause, RETRY } from "../internal/time.ts";
import { Prefetch } from "./prefetch.ts";
import { StallWatch } from "./stall.ts";
import { checkFunction, kindOf, type OptionChecks, optionNames } from "../internal/arguments.ts";
import { PendingWork } from "../internal/pending_work.ts";
import { Semaphore } from "../internal/semaphore.ts";
import { Work } from "../internal/work.ts";

/** Milliseconds before a failed item is retried. They double with each attempt, from `min` to `max`. */
const BACKOFF = { min: 100, max: 30_000 };
/** The errors of a receive that end a consumer: no repetition can succeed. All others may pass, such as a queue that was another user's. */
const FINAL: ReadonlySet<ErrorCode> = new Set<ErrorCode>(["invalid", "unsupported", "closed"]);
/** The largest number of items in one request. */
const BATCH = 256;
/**
 * The largest number of unconfirmed acknowledgements while further handlers start. A crash redelivers at most this many handled items.
 * The acknowledgements of 64 handlers that end in one turn fit into one command.
 */
const UNCONFIRMED = 64;

/** Options of {@linkcode Queue.consume}. */
export interface ConsumeOptions {
  /** The number of handlers that may run at once. Default 1. */
  readonly concurrency?: number;
  /** Milliseconds after which an item is redelivered if this process dies, as for {@linkcode Queue.receive}. Default 30,000. */
  readonly lease?: number;
  /**
   * The number of attempts after which a failing item goes to the dead-letter queue. Default: unlimited. An attempt that was interrupted by
   * a closing bus or the end of its process counts too.
   */
  readonly maxAttempts?: number;
  /**
   * Milliseconds before each next attempt, or a function that returns them. It gets the number of the failed attempt and its error, as in
   * `(attempt, error) => error instanceof NoSuchUser ? Infinity : 200 * 2 ** (attempt - 1)`. If it returns `Infinity`, the item is not
   * retried: it goes to the dead-letter queue immediately. Default: 100, doubled each time, at most 30,000.
   */
  readonly backoff?: number | ((attempt: number, error: unknown) => number);
  /** The name of the dead-letter queue. Default: that of the queue. It is an option of `queue`, or the name of the queue plus `.dead`. */
  readonly deadLetter?: string;
  /**
   * Milliseconds that a handler may take. When they have passed, the attempt has failed: the item is given back or dead-lettered
   * immediately, and `lease.signal` aborts. The late handler counts towards `concurrency` until it ends, and `close` of the consumer waits
   * for it. Default: no limit.
   */
  readonly handlerTimeout?: number;
  /** A signal that closes the consumer when it aborts. If it has aborted already, `consume` throws its reason. */
  readonly signal?: AbortSignal;
}

/** The names of the options of `consume`. */
export const CONSUME = optionNames<ConsumeOptions>({
  concurrency: true,
  lease: true,
  maxAttempts: true,
  backoff: true,
  deadLetter: true,
  handlerTimeout: true,
  signal: true,
});

/** A running consumer. `await using` closes it. */
export interface Consumer extends AsyncDisposable {
  /**
   * Resolves when the consumer has ended, with the error that ended it, if any. Only an error that no repetition can mend ends it ("invalid",
   * "unsupported"); after any other error of the transport, it reports the error and receives again.
   */
  readonly closed: Promise<BusError | undefined>;
  /**
   * Closes the consumer: it starts no more handlers, and resolves when the running handlers have finished. If a handler calls it, it does
   * not wait for that handler; `closed` does.
   */
  close(): Promise<void>;
}

/** Starts a consumer, which closes when `ended` aborts. */
export function consume<T>(
  deliveries: Deliveries,
  ended: AbortSignal,
  handler: (item: T, lease: Held<T>) => unknown,
  options: ConsumeOptions,
  check: OptionChecks,
): Consumer {
  const { queue, core } = deliveries;
  const lease = leaseOf(check, options.lease);
  checkFunction("a handler", handler);
  check.signal(options.signal)?.throwIfAborted();
  const concurrency = check.count("concurrency", options.concurrency ?? 1);
  const maxAttempts = check.count("maxAttempts", options.maxAttempts ?? Infinity);
  const deadLetter = check.deadLetter(queue, options.deadLetter ?? deliveries.deadLetter);
  const handlerTimeout = check.number("handlerTimeout", options.handlerTimeout ?? Infinity, 1);
  const delayOf = backoffOf(check, options.backoff, core.features.maxDelay);
  const failed = new FailedAttempts(deliveries, maxAttempts, deadLetter, delayOf);
  const stop = new AbortController();
  const signals = [stop.signal, ended];
  if (options.signal) signals.push(options.signal);
  const signal = AbortSignal.any(signals);
  const jobs = new PendingWork();
  const suspects = new Semaphore(1);
  const prefetch = new Prefetch((items) => deliveries.untried(items));
  let handlers = 0;
  const stall = new StallWatch(core, queue, () => handlers >= concurrency);
  let settling = 0;
  let changed = Promise.withResolvers<void>();
  const change = () => {
    changed.resolve(); // `Promise.race` over the running handlers would add a callback to each of them, every time
    changed = Promise.withResolvers();
  };

  /** Waits for a handler. When the timeout has passed, the attempt fails immediately, but the wait continues until the handler ends. */
  const inTime = async (delivery: Opened, held: Held<T>, running: Promise<unknown>): Promise<void> => {
    const text = `Cannot wait for a handler of queue "${queue}": it has not ended within ${handlerTimeout} ms`;
    const late = new TimeoutError(text);
    let settling: Promise<unknown> | undefined;
    const stop = after(handlerTimeout, () => {
      if (held.settled || held.lost) return;
      held.expire(late);
      settling = failed.settle(delivery, true, late, held)();
    });
    try {
      await running;
    } catch (error) {
      if (!settling) throw error;
      if (!isAbort(error, late)) { // otherwise, its end was reported already
        await settling;
        failed.reportFurther(delivery, error);
      }
    } finally {
      stop();
      await settling;
    }
  };

  /** Makes an attempt. Calls `begun` when the handler has begun. */
  const attempt = async (delivery: Opened, begun?: () => void): Promise<Settle> => {
    const untried = failed.untried(delivery);
    if (signal.aborted) return untried;
    if (deliveries.skips(delivery)) {
      if (delivery.refused) failed.report(delivery, delivery.refused, true, { next: "drop" });
      return () => deliveries.settleWhileHeld(delivery, "ack", 0, true);
    }
    // only recorded starts count as attempts
    if (core.features.exactAttempts && delivery.attempt > maxAttempts) return await failed.exhausted(delivery, signal);
    // false: the lease was lost, so another consumer may have the item
    if (!await deliveries.start(delivery, true)) return NOTHING;
    let readable = false;
    let held: Held<T> | undefined;
    try {
      const item = (await deliveries.readOpened(delivery)) as T;
      readable = true;
      if (signal.aborted) return untried;
      const holder = held = new HeldLease(deliveries, delivery, item);
      const work = core.activity.timed(queue, async () => await handler(item, holder));
      const running = core.telemetry.observe("process", queue, work, delivery.headers?.traceparent);
      begun?.();
      await (handlerTimeout === Infinity ? running : inTime(delivery, holder, running));
    } catch (error) {
      if (!held?.settled) return failed.settle(delivery, readable, error, held);
      failed.report(delivery, error, false);
      return NOTHING;
    }
    if (core.link.leases.closing && held.lost) return failed.settle(delivery, true, held.signal.reason, held);
    const handled = held;
    return handled.settled ? NOTHING : () => handled.finish();
  };
  /**
   * Makes an attempt with an item that may have killed its process. Such items begin one after another: if this one kills this process too,
   * no attempt of another one was recorded whose handler has not begun.
   */
  const attemptAlone = async (delivery: Opened): Promise<Settle> => {
    let waiting = true;
    const begun = () => {
      if (waiting) suspects.release();
      waiting = false;
    };
    await suspects.acquire();
    return await attempt(delivery, begun).finally(begun);
  };
  const handle = async (delivery: Opened): Promise<void> => {
    const since = performance.now();
    stall.started(since);
    try {
      const attempted = delivery.unconfirmed ? attemptAlone(delivery) : attempt(delivery);
      const settle = await attempted.finally(() => {
        prefetch.ran(performance.now() - since);
        handlers--;
        settling++;
        change();
      });
      await settle();
    } catch (error) {
      await failed.unsettled(delivery, error);
    } finally {
      delivery.watch.end();
      settling--;
      change();
    }
  };
  const run = async (): Promise<BusError | undefined> => {
    let failures = 0;
    while (!signal.aborted) {
      try {
        const free = concurrency - handlers;
        // the next items may be fetched meanwhile, in the same request as the acknowledgements
        const unconfirmed = settling >= UNCONFIRMED && (!prefetch.empty || !core.features.exactAttempts);
        if (free <= 0 || unconfirmed) {
          if (free <= 0) stall.begin();
          if (settling >= UNCONFIRMED) core.link.flush();
          await changed.promise;
          continue;
        }
        const delivery = prefetch.take();
        if (delivery) {
          handlers++;
          void new Work([core.handlers, jobs]).run(() => handle(deliveries.open(delivery)));
          continue;
        }
        await prefetch.returned();
        // where receiving counts as an attempt, nothing is fetched that does not start
        const ahead = core.features.exactAttempts ? prefetch.room(concurrency) : 0;
        const max = Math.min(free + ahead, BATCH);
        prefetch.add(await core.link.receive(queue, { max, wait: Infinity, lease, signal }), free);
        failures = 0;
      } catch (error) {
        if (signal.aborted) break;
        if (isInterruption(error)) continue;
        const reported = isA(error, BusError) ? error : new BusError("internal", textOf(error), { cause: error });
        core.report(reported, queue);
        if (FINAL.has(reported.code)) return reported;
        await pause(backoffAfter(RETRY.restore, ++failures), signal);
      }
    }
  };
  const consumes = core.activity.consumes(queue, concurrency);
  const end = async () => {
    consumes();
    prefetch.clear();
    await prefetch.returned();
  };
  signal.addEventListener("abort", change, { once: true });
  const intake = core.receives.track(run().finally(end));
  const closed = intake.then(async (error) => {
    stall.end();
    signal.removeEventListener("abort", change); // otherwise the user's signal would keep this consumer in memory
    await jobs.idle();
    return error;
  });
  const close = async () => {
    stop.abort();
    const own = jobs.exclude(Work.ofCaller(jobs));
    await (own ? intake.then(() => jobs.othersIdle()) : closed);
  };
  return { closed, close, [Symbol.asyncDispose]: close };
}

/** Returns the delay of the next attempt; `Infinity` if there must be none. */
function backoffOf(check: OptionChecks, backoff: ConsumeOptions["backoff"], longest: number): DelayOf {
  if (typeof backoff === "function") {
    return (attempt, error) => {
      const delay = backoff(attempt, error);
      return delay === Infinity ? delay : check.delay("backoff", delay, longest);
    };
  }
  if (backoff !== undefined) {
    if (typeof backoff !== "number") {
      throw check.fault("backoff", `must be milliseconds or a function that returns them, not ${kindOf(backoff)}`);
    }
    const delay = check.delay("backoff", backoff, longest);
    return () => delay;
  }
  return (attempt) => backoffAfter(BACKOFF, attempt);
}
