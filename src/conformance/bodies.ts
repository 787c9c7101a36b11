/**
 * Bodies: a transport carries every text unchanged, and an unknown message in an inbox does no harm.
 *
 * @module
 */
import type { Bus } from "../bus.ts";
import { OWN } from "../codec/tags.ts";
import { ProviderError } from "../errors.ts";
import { each, equal, ok, rejects } from "./assert.ts";
import type { Cases } from "./cases.ts";

/** Bodies that cannot be read. */
export const MALFORMED: Readonly<Record<string, string>> = {
  "nothing at all": "",
  "half an object": '{"a":',
  "half a list": "[1,",
  "half a text": '"abc',
  "no JSON": "<xml/>",
  "two values": "1 2",
  "a wrong literal": "nul",
  "no date": `{"__obj":"tomorrow","__type":"${OWN.date}"}`,
  "no map": `{"__obj":[1,2],"__type":"${OWN.map}"}`,
  "no set": `{"__obj":{},"__type":"${OWN.set}"}`,
  "no bytes": `{"__obj":"***","__type":"${OWN.bytes}"}`,
  "no bigint": `{"__obj":"1.5","__type":"${OWN.bigint}"}`,
  "100,000 levels": "[".repeat(100_000),
};

/** Values whose bodies a transport is likely to change: some of them end with white space, which must stay. */
const OPAQUE: Readonly<Record<string, unknown>> = {
  "an empty text": "",
  "text of every kind": 'quotes ", backslash \\, line\n, NUL \0, ☃ 🧊 \u2028',
  "half a surrogate pair": "\ud83e",
  "white space at both ends": " \t\r\n text \n\r\t ",
  "types behind the value": { at: new Date(0), ids: new Set([1n]), raw: [new Uint8Array([0, 255])], no: undefined },
  "a map": new Map<unknown, unknown>([[2, { b: 3 }], [[1], "x"]]),
  "an object that looks like a tag": { __type: "tuple", __obj: [1, 2] },
};

/** Cases about bodies. */
export const bodies: Cases = {
  "events, items, returned items, arguments and results arrive unchanged": async (t) => {
    const [sender, receiver] = await t.buses(2) as [Bus, Bus];
    await receiver.expose("echo", (...args: unknown[]) => args);
    const echo = sender.stub("echo");
    const queue = t.queue(sender, "bodies");
    await each(OPAQUE, async (value, what) => {
      const events = t.collect<unknown>(`${what}, as an event`);
      await using subscription = receiver.subscribe<unknown>("bodies", events.add);
      await subscription.ready;
      await sender.publish(value, "bodies");
      await events.are([value]);
      equal(await echo(value, [value]), [value, [value]], `${what}, as an argument and as a result`);
      await queue.put(value);
      const first = await receiver.queue("bodies").receive();
      equal(first.item, value, `${what}, as an item`);
      await first.nack();
      const second = await receiver.queue("bodies").receive();
      equal(second.item, value, `${what}, as an item that was given back`);
      await second.ack();
    });
  },

  "garbage in the inbox has no effect": async (t) => {
    const [server, caller] = await t.buses(2) as [Bus, Bus];
    for (const bus of [server, caller]) t.errors(bus);
    const client = await t.rawClient();
    const { passed, open } = t.gate();
    await server.expose("fn", () => passed.then(() => "the true answer"));
    const [registered] = await client.sender.servers("fn");
    ok(registered !== undefined, "the server's inbox is registered");
    const call = caller.stub("fn")();
    const forged =
      '{"__obj":["fn","forged","str",false,{"id":"guessed","server":"x"}],"__type":"pymq.core.RpcResponse"}';
    for (const body of [...Object.values(MALFORMED), '"text"', '{"__obj":7,"__type":"tsmq:cancel"}', forged]) {
      await client.sender.post(registered.inbox, body);
    }
    open();
    equal(await call, "the true answer");
    equal(await caller.stub("fn")(), "the true answer");
  },

  "an item of 1 MB arrives, or is refused as too large": async (t) => {
    const bus = await t.open();
    const queue = t.queue<string>(bus, "large");
    const body = "é☃x".repeat(1e6 / 6);
    if (t.features.maxBody < 1e6) {
      await rejects(queue.put(body), ProviderError, "too_large");
      return;
    }
    await queue.put(body);
    ok(await queue.get() === body, "it arrived as it was sent");
  },
};
