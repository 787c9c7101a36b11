/** Mutants: the faults in pub/sub and in the port. */
import { memory, type Mutant, redis } from "./mutant.ts";

/** The faults in pub/sub and in the port. */
export const EVENTS: readonly Mutant[] = [
  {
    subject: "an event is handled twice",
    file: "src/pubsub/shared_subscription.ts",
    text: "for (const event of events) if (!queue.offer(event)) event.waiting++;",
    fault: "for (const event of [...events, ...events]) if (!queue.offer(event)) event.waiting++;",
    tests: memory(/^subscriptions: unsubscribe\(\) ends the subscription of its handler/),
  },
  {
    subject: "events overtake one that is validated asynchronously",
    file: "src/pubsub/handler_queue.ts",
    text: "this.#running < this.#subscriber.concurrency && !this.#preparing && this.#waiting.length === 0",
    fault: "this.#running < this.#subscriber.concurrency && this.#waiting.length === 0",
    tests: memory(/^contracts: an asynchronous schema keeps the order of events/),
  },
  {
    subject: "an unsubscribed handler is still called",
    file: "src/pubsub/shared_subscription.ts",
    text: "    queue.end();\n    return true;",
    fault: "    return true;",
    tests: memory(/^subscriptions: unsubscribe\(\) within a handler drops events/),
  },
  {
    subject: "a subscriber's schema is not applied",
    file: "src/pubsub/handler_queue.ts",
    text: 'schema ? validate(schema, value, `an event on "${topic}"`) : value;',
    fault: "value;",
    tests: memory(/^contracts: an event that a subscriber's schema refuses/),
  },
  {
    subject: "a subscription is not made again at a new worker",
    file: "src/port/streams.ts",
    text: "await Promise.all([...this.#subscriptions].map(",
    fault: "await Promise.all([...this.#subscriptions].slice(1).map(",
    tests: "tests/port/streams_test.ts",
  },
  {
    subject: "a pattern is not subscribed again on a new connection",
    file: "src/providers/redis/subscriptions.ts",
    text: '      ...this.#router.filters("patterns").map((pattern) => subscribe("psubscribe", pattern)),\n',
    fault: "",
    tests: "tests/redis/gaps_test.ts",
  },
  {
    subject: "a gap after a dead worker is not reported",
    file: "src/port/streams.ts",
    text: "subscription.broken ||= subscription.confirmed;",
    fault: "subscription.broken ||= false;",
    tests: "tests/port/streams_test.ts",
  },
  {
    subject: "a gap is reported before the events that it follows",
    file: "src/port/inflow.ts",
    text: "if (flow.held.length > 0) this.#lose(flow, reason, 0);",
    fault: "if (flow.held.length > Infinity) this.#lose(flow, reason, 0);",
    tests: "tests/port/inflow_test.ts",
  },
  {
    subject: "dropped events are not counted in their gap",
    file: "src/port/inflow.ts",
    text: 'return this.#lose(flow, "the handlers are behind", 1);',
    fault: 'return this.#lose(flow, "the handlers are behind", 0);',
    tests: "tests/port/inflow_test.ts",
  },
  {
    subject: "credit is not given back",
    file: "src/port/streams.ts",
    text: "this.#link.credit(id, subscription.owed);",
    fault: "",
    tests: "tests/port/streams_test.ts",
  },
  {
    subject: "the credit of the inbox leaks",
    file: "src/port/inflow.ts",
    text: "this.#ahead -= count;",
    fault: "this.#ahead -= count / 2;",
    tests: "tests/port/inflow_test.ts",
  },
  {
    subject: "a range of a pattern leaves its last character out",
    file: "src/provider/glob.ts",
    text: "byte <= Math.max(...ends); byte++",
    fault: "byte < Math.max(...ends); byte++",
    tests: "tests/glob_test.ts",
  },
  {
    subject: "the events of another namespace arrive",
    file: "src/providers/redis/names.ts",
    text: "    return this.#escaped + glob;",
    fault: '    return "*" + glob;',
    tests: redis(/^patterns: /),
  },
];
