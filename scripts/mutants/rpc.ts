/** Mutants: the faults in RPC. */
import { memory, type Mutant } from "./mutant.ts";

/** The faults in RPC. */
export const CALLS: readonly Mutant[] = [
  {
    subject: "a registration is left behind",
    file: "src/providers/redis/registry.ts",
    text: "if (this.#forget(topic)) await this.#unregister(topic);",
    fault: "this.#forget(topic);",
    tests: "tests/redis/servers_test.ts",
  },
  {
    subject: "a call runs twice",
    file: "src/rpc/server.ts",
    text: "if (answer !== false) return void this.#replies.track(this.#answers.repeat(request, answer));",
    fault: "",
    tests: "tests/bus/server_test.ts",
  },
  {
    subject: "an answer is sent to a caller that has given up",
    file: "src/rpc/answers.ts",
    text: "if (cancelled) {",
    fault: "if (false) {",
    tests: "tests/bus/server_test.ts",
  },
  {
    subject: "an answer is sent twice",
    file: "src/rpc/answers.ts",
    text: "    const text = writeAnswer(answer);\n",
    fault: "    const text = writeAnswer(answer);\n    await this.#undelivered.post(request, text);\n",
    tests: "tests/bus/server_test.ts",
  },
  {
    subject: "results are written though too much is held for their callers",
    file: "src/rpc/answers.ts",
    text: "this.#undelivered.accepts(request) ? write()",
    fault: "true ? write()",
    tests: "tests/bus/held_test.ts",
  },
  {
    subject: "a call ends later than its timeout",
    file: "src/rpc/caller.ts",
    text: "this.#timeouts.after(timeout, () => {",
    fault: "this.#timeouts.after(3 * timeout, () => {",
    tests: "tests/bus/pending_calls_test.ts",
  },
  {
    subject: "a call that has ended is kept",
    file: "src/rpc/pending_calls.ts",
    text: "this.#calls.delete(call.id);",
    fault: "",
    tests: memory(/^rpc: (an aborted call|a call without an answer)/),
  },
  {
    subject: "the arguments of a procedure are not validated",
    file: "src/rpc/server.ts",
    text: '(schema ? await validate(schema, args, argumentsOf(fn), "arguments") : args) as never[];',
    fault: "args as never[];",
    tests: memory(/^rpc: caller and server validate/),
  },
  {
    subject: "a served function ignores its concurrency",
    file: "src/rpc/server.ts",
    text:
      "return exposed.semaphore ? this.#inTurn(work, exposed, exposed.semaphore) : this.#invoke(work, exposed.exposure);",
    fault: "return this.#invoke(work, exposed.exposure);",
    tests: "tests/bus/exposing_test.ts",
  },
  {
    subject: "a private method is served",
    file: "src/rpc/methods.ts",
    text: ' && !name.startsWith("_")',
    fault: "",
    tests: "tests/bus/exposing_test.ts",
  },
  {
    subject: "large answers are sent though earlier ones are not confirmed",
    file: "src/rpc/large_answers.ts",
    text: "if (caller.sentSize >= WINDOW) break;",
    fault: "",
    tests: "tests/bus/large_answers_test.ts",
  },
  {
    subject: "large answers have no limit",
    file: "src/rpc/large_answers.ts",
    text: "if (!this.#held.accepts(inbox, SHARES.large))",
    fault: "if (!this.#held)",
    tests: "tests/bus/held_test.ts",
  },
  {
    subject: "a large answer counts no more when it is confirmed while it is being sent",
    file: "src/rpc/large_answers.ts",
    text: "if (sent?.sending) {",
    fault: "if (sent === null) {",
    tests: "tests/bus/held_test.ts",
  },
  {
    subject: "a call runs for a caller that has died",
    file: "src/rpc/server.ts",
    text: "&& await this.#callerLeft(work)",
    fault: "&& false",
    tests: "tests/bus/server_test.ts",
  },
  {
    subject: "a server that validates a request for a long time seems to be gone",
    file: "src/rpc/server.ts",
    text: 'if (this.#validating.has(id)) return void this.#reply(request, "running");',
    fault: "",
    tests: memory(/^servers: a server that validates a request/),
  },
];
