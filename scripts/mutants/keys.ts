/** Mutants: the faults in keys, and in the limits for hostile messages. */
import type { Mutant } from "./mutant.ts";

/** The faults in keys. */
export const KEYS: readonly Mutant[] = [
  {
    subject: "a signature is not compared",
    file: "src/keys/signed_envelopes.ts",
    text: 'if (!right) return refuse("its signature does not match");',
    fault: "",
    tests: "tests/keys_test.ts",
  },
  {
    subject: "a signature does not cover the destination",
    file: "src/keys/signed_envelopes.ts",
    text: "JSON.stringify([this.#namespace, ...destination])",
    fault: "this.#namespace",
    tests: "tests/keys_test.ts",
  },
  {
    subject: "a bus that encrypts accepts what is only signed",
    file: "src/keys/signed_envelopes.ts",
    text: "if (encryption === undefined && this.#encrypt)",
    fault: "if (false)",
    tests: "tests/bus/keys_test.ts",
  },
  {
    subject: "headers are accepted that the signature does not cover",
    file: "src/keys/signed_envelopes.ts",
    text: 'if (!outer.valid) return refuse("its headers are not valid");',
    fault: "",
    tests: "tests/keys_test.ts",
  },
  {
    subject: "a group accepts signed events of any topic",
    file: "src/pubsub/groups.ts",
    text: "topic !== undefined && !matches(topic)",
    fault: "false",
    tests: "tests/bus/keys_groups_test.ts",
  },
  {
    subject: "a text of any size is verified",
    file: "src/keys/signed_envelopes.ts",
    text: "if (text.length > this.#largest)",
    fault: "if (false)",
    tests: "tests/bus/keys_rpc_test.ts",
  },
  {
    subject: "a refused message is handled",
    file: "src/queue/deliveries.ts",
    text: "if (refused) throw refused;",
    fault: "",
    tests: "tests/bus/keys_test.ts",
  },
  {
    subject: "an event that arrives again is handled again",
    file: "src/pubsub/seen_events.ts",
    text: "if (this.#new.has(nonce) || this.#old.has(nonce)) return false;",
    fault: "",
    tests: "tests/bus/keys_test.ts",
  },
  {
    subject: "a registration without a key is called",
    file: "src/rpc/proofs.ts",
    text: "const stop = after(WAIT, () => settle(false, IGNORED));",
    fault: "const stop = after(WAIT, () => settle(true, IGNORED));",
    tests: "tests/bus/keys_test.ts",
  },
  {
    subject: "the old messages of a stream count",
    file: "src/rpc/clocks.ts",
    text: "if (Math.abs(age) <= CLOCK_SKEW || (type !== VALUES && type !== CREDIT)) return undefined;",
    fault: "if (age >= 0 || type) return undefined;",
    tests: "tests/bus/keys_rpc_test.ts",
  },
  {
    subject: "a signed request may have any deadline",
    file: "src/rpc/wire.ts",
    text: "if (signed) return undefined;",
    fault: "",
    tests: "tests/bus/keys_rpc_test.ts",
  },
  {
    subject: "a request may have any deadline",
    file: "src/rpc/wire.ts",
    text: "call = { ...call, deadline: latest };",
    fault: "",
    tests: "tests/bus/keys_rpc_test.ts",
  },
  {
    subject: "a set of values that collide is built",
    file: "src/codec/collections.ts",
    text: "if (collide(keys.slice(0, end))) {",
    fault: "if (false) {",
    tests: "tests/collections_test.ts",
  },
  {
    subject: "a set that takes long is refused without a comparison",
    file: "src/codec/collections.ts",
    text: "if (collide(keys.slice(0, end))) {",
    fault: "if (keys) {",
    tests: "tests/collections_test.ts",
  },
];
