/** Mutants: the faults in queues and leases. */
import { memory, type Mutant, redis } from "./mutant.ts";

/** The faults in queues and leases. */
export const QUEUES: readonly Mutant[] = [
  {
    subject: "an acknowledgement is lost",
    file: "src/queue/consumer.ts",
    text: "return held.settled ? NOTHING : held.finish;",
    fault: "return NOTHING;",
    tests: memory(/^consumers: a closing bus waits for its consumers' handlers/),
  },
  {
    subject: "an acknowledgement of Redis leaves the item in the queue",
    file: "src/providers/redis/scripts.ts",
    text: "many('ZREM', due, members)\nmany('HDEL', items, stems)\n",
    fault: "many('HDEL', items, stems)\n",
    tests: "tests/redis/queues_test.ts",
  },
  {
    subject: "an attempt is counted for an item that no handler started",
    file: "src/providers/memory/queue.ts",
    text: 'if (outcome === "nack") count(leased.item);',
    fault: "count(leased.item);",
    tests: memory(
      /^consumers: consumers and buses that close under load/,
    ),
  },
  {
    subject: "a start is not recorded",
    file: "src/providers/redis/scripts.ts",
    text: "started[#started + 1] = lease.stem .. '|' .. (lease.count + 1)",
    fault: "started[#started + 1] = lease.member",
    tests: redis(/^leases: (the item of a dead process|a process that dies)/),
  },
  {
    subject: "the delay of a nack is ignored",
    file: "src/queue/consumer.ts",
    text: 'deliveries.settle(delivery, "nack", delayOf(delivery.attempt));',
    fault: 'deliveries.settle(delivery, "nack", 0);',
    tests: memory(/^consumers: backoff/),
  },
  {
    subject: "a lease is not extended",
    file: "src/port/leases.ts",
    text: "this.#receiver.extend(queue, receipts, lease).then(",
    fault: "Promise.resolve(receipts.map(() => true)).then(",
    tests: memory(/^leases: a lease is extended/),
  },
  {
    subject: "an expired lease can be settled",
    file: "src/providers/redis/lua.ts",
    text: "if till and tonumber(till) > now and flags[index] == 0 then",
    fault: "if till and flags[index] == 0 then",
    tests: "tests/redis/queues_test.ts",
  },
  {
    subject: "a lease on SQS is counted from its answer",
    file: "src/providers/aws/queue_poller.ts",
    text: "leases.hold(message, sent, end);",
    fault: "leases.hold(message, sent, end + performance.now() - sent);",
    tests: "tests/aws/late_answers_test.ts",
  },
  {
    subject: "items that are given back change their order",
    file: "src/providers/memory/queue.ts",
    text: "const held = receipts.toReversed().map(",
    fault: "const held = receipts.map(",
    tests: memory(/^leases: a closing bus gives back its leased items in their order/),
  },
  {
    subject: "a dead letter is lost",
    file: "src/queue/deliveries.ts",
    text: "    await this.putDeadLetter(delivery, readable, error, deadLetter);\n",
    fault: "",
    tests: memory(/^consumers: (maxAttempts|an item that the schema rejects)/),
  },
  {
    subject: "a get ends later than its timeout",
    file: "src/port/intake.ts",
    text: "waiter.stop = this.#timers.after(wait, ",
    fault: "waiter.stop = this.#timers.after(3 * wait, ",
    tests: "tests/port/intake_test.ts",
  },
  {
    subject: "items for a cancelled get are dropped",
    file: "src/port/intake.ts",
    text: "if (surplus.length === 0) return;",
    fault: "if (surplus.length >= 0) return;",
    tests: "tests/port/intake_test.ts",
  },
  {
    subject: "the items of a lost reply are not fetched again",
    file: "src/providers/redis/lossless_take.ts",
    text: 'this.#lost ? "again" : ""',
    fault: '""',
    tests: "tests/redis/lossless_take_test.ts",
  },
  {
    subject: "a put whose outcome is unknown is sent again",
    file: "src/providers/redis/sender.ts",
    text: 'await this.#queues.call(count, "lpush", this.#names.list(queue), writeTopic(body));',
    fault: 'const put = () => this.#queues.call(count, "lpush", this.#names.list(queue), body);\n' +
      "    await put().catch(put);",
    tests: "tests/redis/faults_test.ts",
  },
  {
    subject: "a consumer runs more handlers than its concurrency",
    file: "src/queue/consumer.ts",
    text: "const free = concurrency - handlers;",
    fault: "const free = concurrency + 1 - handlers;",
    tests: memory(/^consumers: (consume\(\) handles each item once|concurrency)/),
  },
];
