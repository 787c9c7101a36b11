/** Mutants: the faults in the life of a bus, in options and in values. */
import { memory, type Mutant } from "./mutant.ts";

/** The faults in the life of a bus, in options and in values. */
export const BUS: readonly Mutant[] = [
  {
    subject: "close() does not wait for handlers",
    file: "src/closing.ts",
    text: "receives.idle().then(() => handlers.idle())",
    fault: "receives.idle()",
    tests: memory(/^life: close\(\) waits for running handlers/),
  },
  {
    subject: "close() called by a handler does not wait for the other handlers",
    file: "src/closing.ts",
    text: "receives.idle().then(() => handlers.othersIdle())",
    fault: "receives.idle()",
    tests: memory(/^closing: close\(\) awaited by the bus's own handler/),
  },
  {
    subject: "the server of a cancelled call is not told",
    file: "src/rpc/caller.ts",
    text: "if (call.cancelled) this.#pending.cancel(call, [server]);",
    fault: "",
    tests: "tests/bus/pending_calls_test.ts",
  },
  {
    subject: "a dead worker is not noticed",
    file: "src/port/pool.ts",
    text: "(this.#asked ? MISSED : STARTING.missed)",
    fault: "1_000",
    tests: "tests/port/link_test.ts",
  },
  {
    subject: "a forced close leaves its receiver in a shared worker",
    file: "src/port/host.ts",
    text: "if (!this.#ended) this.#receiver?.abort();",
    fault: "",
    tests: "tests/port/pool_test.ts",
  },
  {
    subject: "the queue of a bus is left behind",
    file: "src/providers/aws/bus_queue.ts",
    text: "    await deleteQueue(this.#client, this.url);\n",
    fault: "",
    tests: "tests/aws/closing_test.ts",
  },
  {
    subject: "backoff does not grow",
    file: "src/internal/time.ts",
    text: "min * 2 ** Math.min(failures - 1, 30)",
    fault: "min",
    tests: "tests/time_test.ts",
  },
  {
    subject: "unknown options are accepted",
    file: "src/internal/options.ts",
    text: "return v.strictObject(entries, ",
    fault: "return (v.object as unknown as typeof v.strictObject)(entries, ",
    tests: "tests/redis/options_test.ts",
  },
  {
    subject: "an expired entry is returned",
    file: "src/internal/caches.ts",
    text: "if (entry && performance.now() < entry.expires) return entry.value;",
    fault: "if (entry) return entry.value;",
    tests: "tests/caches_test.ts",
  },
  {
    subject: "a key of the prototype gets through",
    file: "src/codec/revive.ts",
    text: 'if (key === "__proto__" || key === tagKey',
    fault: "if (key === tagKey",
    tests: memory(/^input: __proto__ from the wire/),
  },
  {
    subject: "a large integer loses digits",
    file: "src/codec/parse.ts",
    text: "return Number.isSafeInteger(Number(number)) ?",
    fault: "return Number.isSafeInteger(Number(number)) || /^\\d{16,19}$/.test(number) ?",
    tests: "tests/codec_test.ts",
  },
  {
    subject: "headers are not removed from a body",
    file: "src/queue/deliveries.ts",
    text: "envelopes.openItem(queue, delivery.body, delivery.topic, stored) ?? {",
    fault: "{",
    tests: "tests/telemetry/otel_test.ts",
  },
];
