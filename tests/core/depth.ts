/** Cases about bodies that are nested far more deeply than values that tsmq writes. */
import { ValidationError } from "../../src/errors.ts";
import { writeRequest } from "../../src/rpc/wire.ts";
import { equal, ok } from "../../src/conformance/assert.ts";
import type { Cases } from "../../src/conformance/cases.ts";

/** Cases about the depth of values. */
export const depth: Cases = {
  "a body that is nested 100,000 levels deep is read or refused, and the next body is delivered": async (t) => {
    const bus = await t.open();
    const client = await t.rawClient();
    const queue = t.queue(bus, "queue");
    await client.put("queue", "[".repeat(100_000) + "]".repeat(100_000));
    await client.put("queue", "2");
    try {
      ok(Array.isArray(await queue.get({ timeout: 5_000 })), "it is read as what it is");
    } catch (error) {
      ok(error instanceof ValidationError, `it is ${error} instead of a ValidationError`);
    }
    equal(await queue.get({ timeout: 5_000 }), 2);
  },

  "an event, a request and a cancellation that are nested 100,000 levels deep do no harm": async (t) => {
    const bus = await t.open();
    const errors = t.errors(bus);
    const client = await t.rawClient();
    const seen = t.collect<unknown>();
    const whatever = { "~standard": { version: 1, vendor: "kit", validate: (value: unknown) => ({ value }) } } as const;
    const fail = (event: unknown) => {
      if (event !== "end") throw event;
      seen.add(event);
    };
    await Promise.all([
      bus.subscribe("topic", (event) => seen.add(event === "end" ? event : typeof event)).ready,
      bus.subscribe("topic", fail, { schema: whatever }).ready,
      bus.subscribe("topic", fail, { group: "group", maxAttempts: 1 }).ready,
    ]);
    await bus.expose("same", (value: unknown) => value);
    await bus.expose("fails", (value: unknown) => Promise.reject(value));
    const [server] = await client.sender.servers("same");
    const call = () => ({ id: crypto.randomUUID(), inbox: client.address, deadline: Date.now() + 60_000 });
    for (const [open, close] of [["[", "]"], ['{"a":', "}"]] as const) {
      const deep = `${open.repeat(100_000)}0${close.repeat(100_000)}`;
      const expected = seen.values.length + 4;
      await client.publish("topic", deep);
      await bus.publish("end", "topic");
      equal((await seen.count(expected)).slice(expected - 4).toSorted(), ["end", "end", "end", "object"]);
      const answers = client.inbox.length;
      for (const fn of ["same", "fails"]) {
        await client.sender.post(server!.inbox, writeRequest(fn, "", { json: `[${deep}]` }, call()));
      }
      await t.until(() => client.inbox.length === answers + 2, "both are answered");
      for (
        const tag of ["tsmq:cancel", "tsmq:values", "tsmq:credit", "pymq.core.RpcRequest", "pymq.core.RpcResponse"]
      ) {
        for (const json of [deep, `[${deep}]`]) {
          await client.sender.post(server!.inbox, `{"__obj":${json},"__type":"${tag}"}`);
        }
      }
      equal(await bus.stub("same")(open), open);
    }
    ok(errors.values.every(({ error }) => !(error instanceof RangeError)), "no error is a RangeError");
  },
};
