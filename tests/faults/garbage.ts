/** Messages that tsmq never sends: random bytes, and valid messages that are cut, changed or enlarged. */
import type { Random } from "../support/random.ts";

const call = { id: "1b4e28ba-2fa1-11d2-883f-0016d3cca427", inbox: "__tsmq:inbox:x", deadline: 2e12 };

/** Valid bodies of every kind. */
export const BODIES: readonly string[] = [
  JSON.stringify({ id: "o-1", total: 12, list: [1, 2.5, -3e9, null, true, "ä\u2028😀"] }),
  JSON.stringify({ __obj: { id: "o-1" }, __type: "shop.OrderPlaced" }),
  JSON.stringify({ __obj: ["echo", "", [1, { a: [2] }], {}, call], __type: "pymq.core.RpcRequest" }),
  JSON.stringify({ __obj: ["echo", 2, "int", false, { id: call.id, server: "x" }], __type: "pymq.core.RpcResponse" }),
  JSON.stringify({ __obj: [call.id], __type: "tsmq:cancel" }),
  JSON.stringify({ __obj: ["1", "2"], __type: "builtins.tuple" }),
  JSON.stringify({ __obj: "aGVsbG8=", __type: "builtins.bytes" }),
  JSON.stringify({ __obj: "2026-01-01T00:00:00+00:00", __type: "datetime.datetime" }),
  JSON.stringify("text"),
  "12",
];

const encoder = new TextEncoder();
/** Texts that break readers of JSON. */
const PIECES = ['"', "\\", "{", "}", "[", "]", ",", ":", "null", "-", "1e999", "\\u0000", "\\ud800", "__type", "__obj"]
  .concat([
    '"__proto__"',
    '"constructor"',
    '"length"',
    "9".repeat(400),
    '{"__obj":{},"__type":"Object"}',
    "[".repeat(500),
  ]);

/** Returns bytes as a hostile or broken peer sends them, up to about 10 kB. */
export function garbage(random: Random, bodies: readonly string[] = BODIES): Uint8Array {
  if (random.chance(0.2)) return random.bytes(random.int(0, 300));
  let bytes: Uint8Array = encoder.encode(random.pick(bodies));
  for (let i = random.int(1, 4); i > 0; i--) bytes = mutate(bytes, random);
  return bytes;
}

function mutate(bytes: Uint8Array, random: Random): Uint8Array {
  const at = random.int(0, bytes.length);
  const till = random.int(at, bytes.length);
  switch (random.int(0, 4)) {
    case 0:
      return bytes.slice(0, at);
    case 1:
      return bytes.map((byte) => random.chance(0.02) ? random.int(0, 255) : byte);
    case 2:
      return join(bytes.slice(0, at), encoder.encode(random.pick(PIECES)), bytes.slice(at));
    case 3:
      return join(bytes.slice(0, at), bytes.slice(till));
    default:
      return join(bytes, ...Array.from({ length: random.int(1, 8) }, () => bytes.slice(at, till)));
  }
}

function join(...parts: readonly Uint8Array[]): Uint8Array {
  const joined = new Uint8Array(parts.reduce((sum, { length }) => sum + length, 0));
  let at = 0;
  for (const part of parts) {
    joined.set(part, at);
    at += part.length;
  }
  return joined;
}
