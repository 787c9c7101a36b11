/** Mutants: the faults in streams. */
import { memory, type Mutant } from "./mutant.ts";

/** The faults in streams. */
export const STREAMS: readonly Mutant[] = [
  {
    subject: "a generator runs ahead of its reader without a limit",
    file: "src/rpc/served_stream.ts",
    text: "return ahead < MAX_AHEAD && this.#size < MAX_AHEAD_SIZE && this.#held.accepts(this.#inbox, SHARES.asking);",
    fault: "return ahead < 100 * MAX_AHEAD;",
    tests: memory(/^streams: a generator runs a limited number/),
  },
  {
    subject: "a server believes forged credit",
    file: "src/rpc/served_stream.ts",
    text: "if (taken < this.#taken || taken > this.#batched) return;",
    fault: "if (taken < this.#taken) return;",
    tests: memory(/^streams: a caller that gives no credit, or forged credit/),
  },
  {
    subject: "a reader that leaves does not end the generator",
    file: "src/rpc/called_stream.ts",
    text: "if (this.#server !== undefined) this.#cancel();",
    fault: "",
    tests: memory(/^streams: break, abort and return/),
  },
  {
    subject: "lost values are not sent again",
    file: "src/rpc/served_stream.ts",
    text: "if (batch.first >= received) batch.posted = false;",
    fault: "if (batch.first < received) batch.posted = false;",
    tests: "tests/bus/streams_test.ts",
  },
  {
    subject: "a repeated message is read twice",
    file: "src/rpc/called_stream.ts",
    text: "if (this.#complete || first < this.#received) return;",
    fault: "if (this.#complete) return;",
    tests: "tests/bus/streams_test.ts",
  },
  {
    subject: "a server does not notice that its caller was killed",
    file: "src/rpc/served_stream.ts",
    text: "if (!recovering && ++this.#silent > MAX_SILENT) return void this.abandon();",
    fault: "",
    tests: "tests/bus/streams_test.ts",
  },
  {
    subject: "a caller does not notice that its server was killed",
    file: "src/rpc/called_stream.ts",
    text: "if (!recovering && ++this.#silent > MAX_SILENT) return this.fail(serverGone(this.#call.fn));",
    fault: "",
    tests: "tests/bus/streams_test.ts",
  },
];
