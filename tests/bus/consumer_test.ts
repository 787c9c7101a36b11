// run: on bun
import { assertEquals, assertRejects } from "@std/assert";
import { describe, it } from "@std/testing/bdd";
import * as v from "valibot";
import {
  Bus,
  BusError,
  type DeadLetter,
  memory,
  ProviderError,
  type Queue,
  QueueEmptyError,
  type ValidationError,
} from "../../mod.ts";
import type { Provider, Sender } from "../../src/provider/provider.ts";
import { STALLED } from "../../src/internal/time.ts";
import { until } from "../support/until.ts";
import { faulty } from "./faulty.ts";

/** A provider whose sender rejects the sends that a test chooses. */
function refusing(refuses: (queue: string) => boolean): Provider {
  const base = memory();
  return {
    ...base,
    open: async (context) => {
      const sender = await base.open(context);
      const before = sender.send.bind(sender);
      const send: Sender["send"] = (queue, body, options) =>
        refuses(queue)
          ? Promise.reject(new ProviderError("unavailable", `Cannot send to ${queue}: on purpose`))
          : before(queue, body, options);
      return Object.assign(sender, { send });
    },
  };
}

/** A provider whose worker fails at the first acknowledgement in each queue, and at each one in the queue "away". */
function deaf(): Provider {
  return by("deaf");
}

/** Makes dead letters of items. */
async function kill(jobs: Queue<string>, ...items: string[]): Promise<void> {
  for (const item of items) await jobs.put(item);
  await using _ = jobs.consume(() => {
    throw new Error("failed");
  }, { maxAttempts: 1 });
  await until("all are dead letters", async () => await jobs.dead.size() === items.length);
}

/** An in-memory provider with a worker of the tests. */
function by(worker: "deaf" | "doubtful" | "held_acks" | "refusing"): Provider {
  return { ...memory(), worker: new URL(`../support/workers/${worker}.ts`, import.meta.url) };
}

describe("the start of an item whose last holder died before its start was recorded", () => {
  it("is confirmed before the handler runs: not while the transport is unreachable, nor when the lease is lost", async () => {
    await using bus = await Bus.open(by("doubtful"));
    const errors: string[] = [];
    bus.addEventListener("error", (event) => errors.push((event.error as BusError).code));
    const handled: [string, number][] = [];
    const jobs = bus.queue<string>("jobs");
    for (const item of ["lost", "away", "fine"]) await jobs.put(item);
    jobs.consume((item, { attempt }) => void handled.push([item, attempt]), { maxAttempts: 1 });
    await until("all are handled", () => handled.length === 3);
    assertEquals([handled, errors], [[["lost", 1], ["fine", 1], ["away", 1]], ["unavailable"]]);
    assertEquals(await bus.queue("jobs.dead").qsize(), 0);
  });

  it("is confirmed before receive() resolves", async () => {
    await using bus = await Bus.open(by("doubtful"));
    bus.addEventListener("error", () => {});
    const jobs = bus.queue<string>("jobs");
    for (const item of ["lost", "away"]) await jobs.put(item);
    const { item, attempt } = await jobs.receive();
    assertEquals([item, attempt], ["lost", 1]);
    await assertRejects(() => jobs.receive(), ProviderError, "on purpose");
    const again = await jobs.receive();
    assertEquals([again.item, again.attempt], ["away", 1]);
  });
});

describe("an item whose last holder died in its last attempt", () => {
  const titles = ["is read once more, for its dead letter", "is not read if that killed its process"];
  for (const [deaths, title] of titles.entries()) {
    it(title, async () => {
      await using bus = await Bus.open(by("doubtful"));
      let read = 0;
      const schema = v.pipe(v.string(), v.check(() => read++ >= 0));
      const jobs = bus.queue("jobs", { schema });
      await jobs.put("item");
      for (let i = 0; i <= deaths; i++) await (await jobs.receive()).nack();
      const consumer = jobs.consume(() => {}, { maxAttempts: 1 });
      await until("it is a dead letter", async () => await jobs.dead.size() === 1);
      await consumer.close();
      const [letter] = await jobs.dead.peek();
      const expected = deaths === 0 ? ["item", undefined] : ['"item"', true];
      assertEquals([read, letter?.item?.item, letter?.item?.unreadable], [3, ...expected], "once by put");
      assertEquals(await jobs.dead.retry(), 1);
      assertEquals(await jobs.get(), "item");
    });
  }
});

describe("acknowledgements", () => {
  it("do not delay the next handler, while at most 64 of them are pending", async () => {
    await using bus = await Bus.open(by("held_acks"));
    const jobs = bus.queue<number>("jobs");
    for (let i = 0; i < 100; i++) await jobs.put(i);
    const handled: number[] = [];
    const consumer = jobs.consume((item) => void handled.push(item));
    await until("as many are handled as may be", () => handled.length === 64);
    await new Promise((resolve) => setTimeout(resolve, 100)); // time in which nothing must happen
    assertEquals(handled.length, 64);
    await assertRejects(() => bus.queue("confirm").getNowait(), QueueEmptyError);
    await until("the others are handled", () => handled.length === 100);
    await consumer.close();
    assertEquals([handled.length, (await bus.close()).returned], [100, 0]);
  });

  it("are awaited by consumer.close()", async () => {
    await using bus = await Bus.open(by("held_acks"));
    const jobs = bus.queue<number>("jobs");
    await jobs.put(1);
    let [handled, closed] = [false, false];
    const consumer = jobs.consume(() => void (handled = true));
    await until("it is handled", () => handled);
    const closing = consumer.close().then(() => closed = true);
    await new Promise((resolve) => setTimeout(resolve, 50)); // time in which nothing must happen
    assertEquals(closed, false);
    await assertRejects(() => bus.queue("confirm").getNowait(), QueueEmptyError);
    await closing;
  });
});

describe("an outage at the end of a handler", () => {
  /** Consumes an item of this queue in its only attempt. Resolves with the first report, or with undefined when nothing is left. */
  async function consumed(name: string, handler: () => unknown, lease?: number): Promise<unknown[] | undefined> {
    await using bus = await Bus.open(deaf());
    const reports: unknown[][] = [];
    bus.addEventListener("error", ({ error, message, attempt, next, delay }) => {
      // the item comes again, and is dead-lettered again and again, because it cannot be acknowledged
      if (name !== "away" || !message.includes("again")) reports.push([error, attempt, next, delay]);
    });
    const jobs = bus.queue<string>(name);
    let handled = 0;
    const consumer = jobs.consume(async () => {
      handled++;
      await new Promise((resolve) => setTimeout(resolve, 20)); // so that its start is recorded
      return handler();
    }, { maxAttempts: 1, lease });
    await jobs.put("item");
    if (name === "away") await until("it is reported", () => reports.length > 0);
    else {
      await until("nothing is left", async () => handled > 0 && (await jobs.stats()).leased === 0);
      await consumer.close();
      assertEquals([await jobs.qsize(), await jobs.dead.size()], [0, 0]);
    }
    assertEquals(handled, 1);
    return reports[0];
  }

  it("does not undo a handled item: its acknowledgement is repeated while its lease holds", async () => {
    assertEquals(await consumed("jobs", () => {}), undefined);
  });

  it("does not make a lost lease of an acknowledgement whose answer was lost", async () => {
    assertEquals(await consumed("unanswered", () => {}), undefined);
  });

  it("is reported with what becomes of the item, if the lease ends before it", async () => {
    const [error, ...context] = (await consumed("away", () => {}, 1_000))!;
    assertEquals([(error as BusError).code, ...context], ["unavailable", 1, "dead-letter", undefined]);
  });

  it("does not hide the error of a handler that failed in its last attempt, nor what becomes of its item", async () => {
    const failure = new Error("on purpose");
    assertEquals(await consumed("away", () => Promise.reject(failure), 1_000), [failure, 1, "dead-letter", undefined]);
  });

  it("does not end the backoff of a failed handler with a second report", async () => {
    await using bus = await Bus.open(deaf());
    const errors: unknown[] = [];
    bus.addEventListener("error", ({ message, next, delay }) => errors.push([message, next, delay]));
    const attempts: number[] = [];
    const jobs = bus.queue<string>("jobs");
    jobs.consume((_, { attempt }) => {
      attempts.push(attempt);
      if (attempt === 1) throw new Error("on purpose");
    }, { backoff: 1 });
    await jobs.put("item");
    await until("it is tried again", () => attempts.length === 2);
    assertEquals([attempts, errors], [[1, 2], [["on purpose", "retry", 1]]]);
  });

  it("makes one report with the number of the attempt, however many errors follow", async () => {
    await using bus = await Bus.open(deaf());
    const errors: unknown[] = [];
    bus.addEventListener("error", ({ message, attempt, next, delay }) => errors.push([message, attempt, next, delay]));
    const late = Promise.withResolvers<void>();
    const jobs = bus.queue<string>("away");
    const consumer = jobs.consume(async (_, { signal }) => {
      await new Promise((resolve) => signal.addEventListener("abort", resolve));
      await late.promise;
      throw new Error("its own");
    }, { handlerTimeout: 20, lease: 1_000, backoff: 3_600_000 });
    await jobs.put("item");
    await until("it cannot be given back", () => errors.length === 2);
    late.resolve();
    await consumer.close();
    const timeout = 'Cannot wait for a handler of queue "away": it has not ended within 20 ms';
    assertEquals(errors[0], [timeout, 1, "retry", 3_600_000]);
    const unnumbered = [undefined, undefined, undefined];
    assertEquals(errors.slice(1), [["Cannot acknowledge: on purpose", ...unnumbered], ["its own", ...unnumbered]]);
  });

  it("does not delay the end of the bus", async () => {
    const bus = await Bus.open(deaf());
    const errors: unknown[] = [];
    bus.addEventListener("error", ({ error, attempt, next }) => errors.push([(error as BusError).code, attempt, next]));
    const jobs = bus.queue<string>("away");
    const ended = Promise.withResolvers<void>();
    const consumer = jobs.consume(() => ended.resolve(), { lease: 3_600_000, maxAttempts: 2 });
    await jobs.put("item");
    await ended.promise;
    assertEquals((await bus.close({ timeout: 200 })).abandoned, 1);
    await consumer.closed;
    assertEquals(errors, [["unavailable", 1, "retry"]]);
  });
});

describe("an item of the in-memory broker whose worker dies while its handler runs", () => {
  it("is reported as dropped, because its queue is lost too", async () => {
    const { provider, fault } = faulty();
    await using bus = await Bus.open(provider);
    const reports: unknown[] = [];
    const died = Promise.withResolvers<void>();
    bus.addEventListener("error", ({ verb, next }) => verb === "consume" && reports.push(next));
    bus.addEventListener("state", ({ state }) => state === "down" && died.resolve());
    const jobs = bus.queue<string>("jobs");
    let handled = 0;
    jobs.consume(async (item) => {
      handled++;
      await died.promise;
      if (item === "fails") throw new Error("on purpose");
    }, { concurrency: 2 });
    for (const item of ["ends", "fails"]) await jobs.put(item);
    await until("both are handled", () => handled === 2);
    fault("throw");
    await until("both are reported", () => reports.length === 2);
    assertEquals(reports, ["drop", "drop"]);
  });
});

describe("a dead letter", () => {
  it("contains the item as it was put, even if a schema or the handler changed it into a value that cannot be sent", async () => {
    await using bus = await Bus.open(memory());
    bus.addEventListener("error", () => {});
    const link = v.object({ to: v.pipe(v.string(), v.transform((text) => new URL(text))) });
    const links = bus.queue("links", { schema: link });
    links.consume(() => {
      throw new Error("on purpose");
    }, { maxAttempts: 1 });
    await links.put({ to: "http://localhost/" });
    const letter = await bus.queue<DeadLetter>("links.dead").get({ timeout: 10_000 });
    assertEquals(letter.item, { to: "http://localhost/" });

    const jobs = bus.queue<Record<string, unknown>>("jobs");
    jobs.consume((job) => {
      job.run = () => {};
      throw new Error("on purpose");
    }, { maxAttempts: 1 });
    for (const job of [{ a: [1n, undefined] }, { __type: "mine", at: new Date(0) }]) {
      await jobs.put(job);
      assertEquals((await bus.queue<DeadLetter>("jobs.dead").get({ timeout: 10_000 })).item, job);
    }
  });
});

describe("dead.retry()", () => {
  it("keeps a letter whose item could not be put", async () => {
    let away = false;
    await using bus = await Bus.open(refusing((queue) => away && queue === "jobs"));
    const jobs = bus.queue<string>("jobs");
    await kill(jobs, "first", "second");
    away = true;
    const error = await assertRejects(() => jobs.dead.retry(), ProviderError, "on purpose");
    assertEquals([error.code, await jobs.qsize(), await jobs.dead.size()], ["unavailable", 0, 2]);
    away = false;
    assertEquals(await jobs.dead.retry(), 2);
    assertEquals([await jobs.get(), await jobs.get()], ["first", "second"]);
  });

  it("puts an item before it removes its letter, so that both exist if the removal fails", async () => {
    await using bus = await Bus.open(deaf());
    const jobs = bus.queue<string>("jobs");
    await jobs.put("");
    await assertRejects(() => jobs.receive().then((lease) => lease.ack()), ProviderError, "on purpose");
    await jobs.free();
    await kill(jobs, "item");
    await assertRejects(() => jobs.dead.retry(), ProviderError, "on purpose");
    assertEquals([await jobs.qsize(), await jobs.dead.size()], [1, 1]);
    assertEquals(await jobs.dead.retry(), 1);
    assertEquals([await jobs.get(), await jobs.get()], ["item", "item"]);
  });
});

describe("a lease whose acknowledgement failed", () => {
  it("does not count as settled: it can be given back", async () => {
    await using bus = await Bus.open(deaf());
    const jobs = bus.queue("jobs");
    await jobs.put("item");
    const lease = await jobs.receive();
    await assertRejects(() => lease.ack(), ProviderError, "on purpose");
    await lease.nack();
    const again = await jobs.receive({ timeout: 10_000 });
    assertEquals([again.item, again.attempt], ["item", 2]);
    await again.ack();
    await again.ack(); // twice is once
    await assertRejects(() => jobs.receive({ block: false }), QueueEmptyError);
  });

  it("is acknowledged by the next ack(), if it still holds", async () => {
    await using bus = await Bus.open(deaf());
    const jobs = bus.queue("jobs");
    await jobs.put("item");
    const lease = await jobs.receive();
    await assertRejects(() => lease.ack(), ProviderError, "on purpose");
    await jobs.free();
    for (let i = 0; i < 2; i++) {
      assertEquals((await assertRejects(() => lease.ack(), BusError)).code, "lease_lost");
    }
  });

  it("does not hide the error at the end of its block", async () => {
    await using bus = await Bus.open(deaf());
    const jobs = bus.queue("jobs");
    await jobs.put("item");
    await assertRejects(
      async () => {
        await using lease = await jobs.receive();
        try {
          await lease.ack();
        } finally {
          await bus.close(); // giving it back would fail too
        }
      },
      ProviderError,
      "on purpose",
    );
  });

  it("is given back by the consumer whose handler failed", async () => {
    await using bus = await Bus.open(deaf());
    bus.addEventListener("error", () => {});
    const attempts: number[] = [];
    bus.queue("jobs").consume(async (_, lease) => {
      attempts.push(lease.attempt);
      await lease.ack();
    });
    await bus.queue("jobs").put("item");
    await until("it is tried again", () => attempts.length === 2);
    assertEquals(attempts, [1, 2]);
  });
});

describe("an item that a consumer can neither acknowledge nor dead-letter", () => {
  it("goes back to its queue while the dead-letter queue is unreachable", async () => {
    let away = true;
    await using bus = await Bus.open(refusing((queue) => away && queue === "jobs.dead"));
    bus.addEventListener("error", () => {});
    const attempts: number[] = [];
    bus.queue("jobs").consume((_, { attempt }) => {
      attempts.push(attempt);
      throw new Error("on purpose");
    }, { maxAttempts: 1 });
    await bus.queue("jobs").put("item");
    await until("it was tried", () => attempts.length === 1);
    away = false;
    const letter = await bus.queue<DeadLetter>("jobs.dead").get({ timeout: 10_000 });
    assertEquals([letter.item, letter.attempts], ["item", 1]);
    assertEquals(attempts, [1], "its attempts were over");
  });

  it("goes back, even if the user's backoff throws", async () => {
    await using bus = await Bus.open(memory());
    bus.addEventListener("error", () => {});
    const attempts: number[] = [];
    bus.queue("jobs").consume((_, { attempt }) => {
      attempts.push(attempt);
      if (attempt === 1) throw new Error("on purpose");
    }, {
      backoff: () => {
        throw new Error("no backoff");
      },
    });
    await bus.queue("jobs").put("item");
    await until("it is tried again", () => attempts.length === 2);
    assertEquals(attempts, [1, 2]);
  });

  it("goes back while the dead-letter queue is full, and does not delay later items", async () => {
    await using bus = await Bus.open(memory({ capacity: 2 }));
    const codes: string[] = [];
    bus.addEventListener("error", (event) => codes.push((event.error as BusError).code));
    const done: string[] = [];
    const jobs = bus.queue<string>("jobs");
    jobs.consume((item) => {
      if (item.startsWith("bad")) throw new Error("on purpose");
      done.push(item);
    }, { maxAttempts: 1 });
    for (const item of ["bad 1", "bad 2", "bad 3", "good 1", "good 2"]) await jobs.put(item);
    await until("the good ones are done", () => done.length === 2);
    await until("the full queue is reported", () => codes.includes("queue_full"));
    const letters: string[] = [];
    for (let i = 0; i < 3; i++) letters.push((await bus.queue<DeadLetter<string>>("jobs.dead").get()).item);
    assertEquals(letters.sort(), ["bad 1", "bad 2", "bad 3"]);
  });
});

describe("an item that was taken without a lease and cannot be dead-lettered", () => {
  const secret = "a secret of more than thirty-two bytes";
  for (const verb of ["get", "for await"] as const) {
    it(`goes back while the dead-letter queue is full: ${verb}`, async () => {
      const provider = memory({ capacity: 1 });
      await using owner = await Bus.open(provider, { keys: [{ id: "k", secret }], encrypt: true });
      await using stranger = await Bus.open(provider);
      const codes: string[] = [];
      stranger.addEventListener("error", (event) => codes.push((event.error as BusError).code));
      const [jobs, dead] = [owner.queue<string>("jobs"), stranger.queue<string>("jobs.dead")];
      await dead.put("full");
      await jobs.put("kept"); // the stranger cannot decrypt it
      const items = verb === "for await" ? stranger.queue("jobs")[Symbol.asyncIterator]() : undefined;
      const taking = items?.next() ?? stranger.queue("jobs").getNowait().catch(() => {});
      await until("the stranger could not dead-letter it", () => codes.includes("queue_full"));
      await items?.return?.();
      assertEquals(await jobs.get({ timeout: 10_000 }), "kept");
      await owner.close();
      await stranger.close();
      await taking;
    });
  }

  for (const encrypt of [undefined, false, true]) {
    const how = encrypt === undefined ? "" : encrypt ? ", and encrypted" : ", and its signature";
    it(`goes back with its headers${how}`, async () => {
      const keys = encrypt === undefined ? undefined : [{ id: "k", secret }];
      await using bus = await Bus.open(memory({ capacity: 1 }), { keys, encrypt });
      const codes: string[] = [];
      bus.addEventListener("error", ({ error }) => codes.push((error as BusError).code));
      await bus.queue("jobs.dead").put("full");
      await bus.queue("jobs").put("kept", { headers: { tenant: "acme" } });
      const items = bus.queue("jobs", { schema: v.number() })[Symbol.asyncIterator]();
      const taking = items.next();
      await until("it could not be dead-lettered", () => codes.includes("queue_full"));
      await items.return?.();
      const { item, headers } = await bus.queue("jobs").receive({ timeout: 10_000 });
      assertEquals([item, { ...headers }, bus.health().refused ?? 0], ["kept", { tenant: "acme" }, 0]);
      await bus.close();
      await taking;
    });
  }

  it("is in the reported error if it cannot go back either", async () => {
    let refused = "jobs.dead";
    await using bus = await Bus.open(refusing((queue) => queue.startsWith(refused)));
    const bodies: unknown[] = [];
    bus.addEventListener("error", ({ error }) => {
      if (String(error).includes("put back")) bodies.push((error as ValidationError).body);
    });
    await bus.queue("jobs").put("bad");
    refused = "jobs";
    const items = bus.queue("jobs", { schema: v.number() })[Symbol.asyncIterator]();
    const next = items.next();
    await until("it was reported", () => bodies.length > 0);
    assertEquals(bodies, ['"bad"']);
    await items.return?.();
    await bus.close();
    await next;
  });
});

describe("a consumer whose handlers do not end", () => {
  it("is reported as stalled once while items wait, and again if its next handler does not end either", async () => {
    const before = STALLED.after;
    STALLED.after = 50;
    try {
      await using bus = await Bus.open(memory());
      const errors: string[] = [];
      bus.addEventListener("error", (event) => errors.push((event.error as BusError).code));
      const queue = bus.queue<PromiseWithResolvers<void>>("jobs");
      const gates = [Promise.withResolvers<void>(), Promise.withResolvers<void>()];
      let started = 0;
      queue.consume(() => gates[started++]?.promise);
      await queue.put({} as never);
      await until("the first handler stands", () => started === 1);
      await new Promise((resolve) => setTimeout(resolve, 3 * STALLED.after));
      assertEquals(errors, [], "nothing waits");
      await queue.put({} as never);
      await until("it is reported", () => errors.length === 1);
      await queue.put({} as never);
      await new Promise((resolve) => setTimeout(resolve, 3 * STALLED.after));
      assertEquals(errors, ["stalled"], "it is reported once");
      gates[0]!.resolve();
      await until("the second one is reported too", () => errors.length === 2);
      gates[1]!.resolve();
      await until("all have ended", () => started === 3);
      assertEquals(errors, ["stalled", "stalled"]);
    } finally {
      STALLED.after = before;
    }
  });
});

describe("a consumer that the transport refuses", () => {
  it("reports it and receives again, alone and in a group: the reason may pass, as when another user had the name", async () => {
    await using bus = await Bus.open(by("refusing"));
    const errors: [string, string][] = [];
    bus.addEventListener("error", ({ error, topic }) => errors.push([topic, (error as BusError).code]));
    const handled: unknown[] = [];
    const consumer = bus.queue("taken").consume((item) => void handled.push(item));
    const member = bus.subscribe("taken", (event) => void handled.push(event), { group: "g" });
    let ended = false;
    for (const { closed } of [consumer, member]) closed.then(() => ended = true);
    await member.ready;
    await bus.queue("taken").put("item");
    await bus.publish("event", "taken");
    await until("both are handled", () => handled.length === 2);
    assertEquals([handled.sort(), ended], [["event", "item"], false]);
    for (const name of ["taken", "taken@g"]) {
      assertEquals(errors.filter(([of]) => of === name).map(([, code]) => code), ["denied", "denied", "denied"]);
    }
  });

  it("ends if no repetition can succeed", async () => {
    await using bus = await Bus.open(by("refusing"));
    const errors: string[] = [];
    bus.addEventListener("error", (event) => errors.push((event.error as BusError).code));
    assertEquals((await bus.queue("odd").consume(() => {}).closed)?.code, "unsupported");
    assertEquals(errors, ["unsupported"]);
  });
});
