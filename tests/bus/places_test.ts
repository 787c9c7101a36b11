/** Values that take far more memory than their texts count with it for the limits of what a bus holds. */
// run: on bun
import { assert, assertEquals, assertRejects } from "@std/assert";
import { afterAll, beforeAll, describe, it } from "@std/testing/bdd";
import { stub } from "@std/testing/mock";
import process from "node:process";
import { Bus, memory, RpcError } from "../../mod.ts";
import { Codec } from "../../src/codec/codec.ts";
import { heldBytes } from "../../src/codec/held_bytes.ts";
import { writeMarks } from "../../src/codec/marks.ts";
import { writeValues } from "../../src/rpc/stream_messages.ts";
import { overridden } from "../../src/conformance/runs.ts";
import type { Sender } from "../../src/provider/provider.ts";
import { until } from "../support/until.ts";
import { fresh } from "./grounds.ts";
import { schema } from "../support/schema.ts";

const bun = "Bun" in globalThis;
/** Objects that take 51 MB on Bun, in a body of 64 kB. */
const sparse = Array.from({ length: 6_400 }, () => ({ "999": 0 }));
/** Values whose body has about 1 MB. */
const sets = Array.from({ length: 350_000 }, () => new Set());

/** Reads the first value of a stream, whose further messages are forged. */
async function reading() {
  const provider = memory();
  const sent = Promise.withResolvers<{ inbox: string; id: string }>();
  const gate = Promise.withResolvers<void>();
  let post: Sender["post"];
  const open: typeof provider.open = async (context) => {
    const sender = await provider.open(context);
    post = sender.post.bind(sender);
    return overridden(sender, {
      post: (inbox, body) => {
        if (body.includes('"stream":true')) sent.resolve(JSON.parse(body).__obj[4]);
        return post(inbox, body);
      },
    });
  };
  const bus = await Bus.open({ ...provider, open }, { namespace: fresh() });
  await bus.expose("values", async function* (): AsyncGenerator<unknown> {
    yield "first";
    await gate.promise;
  });
  const read = Promise.withResolvers<void>();
  bus.addEventListener("error", () => read.resolve());
  const values = bus.stream<() => AsyncIterable<unknown>>("values")()[Symbol.asyncIterator]();
  assertEquals((await values.next()).value, "first");
  const { id, inbox } = await sent.promise;
  const codec = new Codec([]);
  return {
    values,
    forge: (first: number, value: unknown) => post(inbox, writeValues(id, first, [codec.write(value)])),
    /** Sends a message without values, of at least this size. */
    keepAlive: (first: number, size: number) => post(inbox, writeValues(id, first, []) + " ".repeat(size)),
    /** Resolves when all messages have arrived. Can be called once. */
    arrived: async () => {
      await post(inbox, '{"__obj":"malformed","__type":"tsmq:values"}');
      await read.promise;
    },
    [Symbol.asyncDispose]: async () => {
      await values.return?.();
      gate.resolve();
      await bus.close();
    },
  };
}

describe("small messages of objects with few large integer keys", () => {
  it("as arguments: on Bun, their places count for the limit of running calls", async () => {
    await using bus = await Bus.open(memory(), { namespace: fresh() });
    const gate = Promise.withResolvers<void>();
    let [running, refused] = [0, 0];
    await bus.expose("fn", async (_: unknown) => {
      running++;
      await gate.promise;
    });
    const calls = Array.from({ length: 20 }, () => bus.stub("fn")(sparse).catch(() => refused++));
    await until("they have arrived", () => running + refused === calls.length);
    gate.resolve();
    await Promise.all(calls);
    assert(bun ? running >= 9 && running <= 15 : refused === 0, `${running} calls ran`); // of 51 MB each, up to 512 MiB
  });

  it("as events: on Bun, those that wait for a handler are not decoded, and all arrive in order", async () => {
    await using bus = await Bus.open(memory(), { namespace: fresh() });
    const gate = Promise.withResolvers<void>();
    const seen: unknown[] = [];
    await bus.subscribe("topic", async (event: unknown) => {
      await gate.promise;
      seen.push(Array.isArray(event) ? event.length : event);
    }).ready;
    const before = process.memoryUsage().rss;
    const sent = Array.from({ length: 40 }, (_, i) => i % 2 ? i : 6_400);
    for (const each of sent) await bus.publish(each === 6_400 ? sparse : each, "topic");
    const grown = process.memoryUsage().rss - before;
    gate.resolve();
    await until("all have arrived", () => seen.length === sent.length);
    assertEquals(seen, sent);
    assert(grown < 500 * 2 ** 20, `waiting events took ${grown} bytes`); // they would take a GB
  });

  it("as values of a stream whose reader is slow: on Bun, those beyond 16 MiB are dropped, unless none waits", async () => {
    await using stream = await reading();
    const { values, forge, arrived } = stream;
    await forge(1, sparse);
    await forge(2, sparse);
    await forge(4, sparse); // also one that arrives early
    await arrived();
    assertEquals(((await values.next()).value as []).length, sparse.length);
    await forge(2, "second");
    await forge(3, "third");
    await forge(4, "fourth");
    const rest = [(await values.next()).value, (await values.next()).value, (await values.next()).value];
    assertEquals(rest, bun ? ["second", "third", "fourth"] : [sparse, "third", sparse]);
  });

  it("as values of a stream: messages without values do not count, however long the stream is quiet", async () => {
    await using stream = await reading();
    const { values, keepAlive, forge, arrived } = stream;
    for (let i = 0; i < 20; i++) await keepAlive(1, 2 ** 20); // each counts 2 MiB
    for (let i = 1; i <= 3; i++) await forge(i, i);
    await arrived();
    for (let i = 1; i <= 3; i++) assertEquals((await values.next()).value, i);
  });
});

describe("calls with sets of about 1 MB, while the refusals are on their way", () => {
  const gate = Promise.withResolvers<void>();
  const filling: Promise<unknown>[] = [];
  let [server, caller]: Bus[] = [];
  let [running, refused] = [0, 0];

  beforeAll(async () => {
    const provider = memory();
    const open: typeof provider.open = async (context) => {
      const sender = await provider.open(context);
      const post: Sender["post"] = async (inbox, body) => {
        if (body.includes('"refused":"busy"')) {
          refused++;
          await gate.promise;
        }
        return await sender.post(inbox, body);
      };
      return overridden(sender, { post });
    };
    const namespace = fresh();
    server = await Bus.open({ ...provider, open }, { namespace });
    caller = await Bus.open(provider, { namespace });
    await server.expose("fn", async (_: unknown) => {
      running++;
      await gate.promise;
    });
    for (let i = 0; i < 8; i++) filling.push(caller.stub("fn")(sets).catch(() => {}));
    await until("all have arrived", () => running + refused === filling.length);
  });
  afterAll(async () => {
    gate.resolve();
    await Promise.all(filling);
    await caller?.close();
    await server?.close();
  });

  it("sets count with the memory that they take, so that a server refuses them in time", () => {
    assert(running >= 4 && running <= 7, `${running} calls ran`); // each takes 100 MB, up to 512 MiB
  });

  it("a refusal on its way does not keep the arguments: on Bun, they would take 1.8 GB", async () => {
    assert(refused > 0, "the limit is reached"); // on Bun, empty sets take little memory until they are used
    const before = process.memoryUsage().rss;
    for (let i = 0; i < 40; i++) filling.push(caller!.stub("fn")(sparse).catch(() => {}));
    await until("all have arrived", () => running + refused === filling.length);
    const grown = process.memoryUsage().rss - before;
    assert(grown < 1_000 * 2 ** 20, `refused calls took ${grown} bytes`);
  });
});

describe("messages of about 1 MB of small values", () => {
  /** Makes calls at once of a function that ends when all have arrived. Resolves with the number of those that ran. */
  const ran = async (count: number, value: unknown): Promise<number> => {
    await using bus = await Bus.open(memory(), { namespace: fresh() });
    const gate = Promise.withResolvers<void>();
    let running = 0;
    await bus.expose("fn", async (_: unknown) => {
      running++;
      await gate.promise;
    });
    let refused = 0;
    const calls = Array.from({ length: count }, () => bus.stub("fn")(value).catch(() => refused++));
    await until("all have arrived", () => running + refused === count);
    gate.resolve();
    await Promise.all(calls);
    return running;
  };

  it("as arguments: 64 calls with ordinary values are served at once", async () => {
    const row = (id: number) => ({
      id,
      name: `name ${id}`,
      price: id / 8,
      tags: ["new", "blue"],
      from: { x: 1, y: 2 },
    });
    assertEquals(await ran(64, Array.from({ length: 11_000 }, (_, id) => row(id))), 64);
  });

  it("as arguments that wait for an asynchronous schema: sets beside them count too", async () => {
    const gate = Promise.withResolvers<void>();
    let validated = 0;
    class Paid {
      static readonly topic = "shop.Paid";
      static readonly schema = schema(async (value) => {
        validated++;
        await gate.promise;
        return { value };
      });
    }
    const provider = memory();
    const namespace = fresh();
    await using server = await Bus.open(provider, { namespace, types: [Paid] });
    await using caller = await Bus.open(provider, { namespace, types: [Paid] });
    await server.expose("fn", (_paid: Paid, _sets: unknown) => {});
    const dropping = Promise.withResolvers<unknown>();
    server.addEventListener("error", ({ error }) => dropping.resolve(error));
    const calls = Array.from({ length: 8 }, () => caller.stub("fn", { timeout: 60_000 })(new Paid(), sets));
    const settled = Promise.allSettled(calls);
    await dropping.promise;
    assert(validated >= 4 && validated <= 7, `${validated} calls were read`);
    gate.resolve();
    await settled;
  });

  it("as results of a multi-call: it fails when they take more than 256 MiB", async () => {
    const provider = memory();
    const namespace = fresh();
    await using one = await Bus.open(provider, { namespace });
    await using two = await Bus.open(provider, { namespace });
    await using three = await Bus.open(provider, { namespace });
    for (const [i, bus] of [one, two, three].entries()) {
      await bus.expose("sets", (count: number) => i < count ? sets : "small");
    }
    const all = one.stub("sets", { multi: true });
    assertEquals((await all(2)).map(({ status }) => status), Array(3).fill("fulfilled"));
    await assertRejects(() => all(3), RpcError, "the answers take more than 268435456 bytes");
  });

  it("as events: those that wait for a handler take a limited amount of memory, and all arrive in order", async () => {
    let revived = 0;
    class Mark {
      static readonly topic = "shop.Mark";
      static revive(): Mark {
        revived++;
        return new Mark();
      }
    }
    await using bus = await Bus.open(memory(), { namespace: fresh(), types: [Mark] });
    const gate = Promise.withResolvers<void>();
    const seen: unknown[] = [];
    await bus.subscribe("sets", async ([i]: [number]) => {
      await gate.promise;
      seen.push(i);
    }).ready;
    let end = false;
    await bus.subscribe("end", () => end = true).ready;
    const some = sets.slice(0, sets.length / 4);
    for (let i = 0; i < 10; i++) await bus.publish([i, new Mark(), some], "sets");
    await bus.publish(1, "end");
    await until("all have arrived", () => end);
    assert(revived >= 2 && revived <= 5, `${revived} events were decoded`); // of 28 MB each, up to 64 MiB
    gate.resolve();
    await until("all are handled", () => seen.length === 10);
    assertEquals(seen, Array.from({ length: 10 }, (_, i) => i));
  });
});

describe("values of sets that are read without being taken", () => {
  it("are fewer than the limit of a peek, at least one, if they take more than 64 MiB", async () => {
    await using bus = await Bus.open(memory(), { namespace: fresh() });
    const queue = bus.queue<unknown>("sets");
    for (let i = 0; i < 2; i++) await queue.put(sets); // of 84 MB each
    const sizes = async (offset: number) =>
      (await queue.peek({ limit: 3, offset })).map(({ item }) => (item as []).length);
    assertEquals(await sizes(0), [sets.length]);
    assertEquals(await sizes(1), [sets.length]);
    await queue.put(1);
    await queue.purge();
    for (let i = 0; i < 3; i++) await queue.put(i);
    assertEquals((await queue.peek({ limit: 3 })).map(({ item }) => item), [0, 1, 2]);
  });
});

describe("the estimate of the memory that a body takes", () => {
  /** Multiples of it are spread evenly over 0 to 1: of many short texts, the right share is searched, in each run. */
  const GOLDEN = (Math.sqrt(5) - 1) / 2;
  const list = (element: string, count: number) => `[${Array(count).fill(element).join()}]`;
  /** Element → about how many bytes its value takes on the engine that needs more. */
  const elements: Readonly<Record<string, [bytes: number, mark?: string]>> = {
    "{}": [68],
    "[1]": [68],
    '{"32":1}': [bun ? 390 : 330],
    "[]": [240, '["S"]'],
    '""': [204, '["B"]'],
    "null": [100, '["D"]'],
  };
  /** The same of objects of which Bun reads only few from a body, and which take no place on Deno. */
  const large: Readonly<Record<string, [bytes: number]>> = bun
    ? {
      '{"999":0}': [8_130],
      '{"10":0,"999":0}': [12_140],
      '{"999":0,"1200":0}': [8_340], // until the garbage is collected, half as much more
      '{"999":0,"name{":0}': [8_340],
      [`{"name":"${"x".repeat(300)}","999":0}`]: [8_800],
    }
    : {};

  for (const count of [3, 300, 30_000]) {
    it(`is right for lists of ${count} elements, on average`, () => {
      let random = 0;
      using _ = stub(Math, "random", () => random = (random + GOLDEN) % 1);
      const codec = new Codec();
      for (const [element, [bytes, mark]] of Object.entries({ ...elements, ...(count < 1_000 ? large : {}) })) {
        const body = list(element, count) + writeMarks(mark);
        codec.decode(body);
        const { typed } = codec;
        const runs = Math.max(20, Math.min(2_000, 600_000 / count));
        let sum = 0;
        for (let i = 0; i < runs; i++) sum += heldBytes(body, typed);
        const each = sum / runs / count;
        assert(each > bytes / 2 && each < 3 * bytes, `${element}: ${each} bytes`);
      }
    });
  }

  it("counts objects that are at the borders of the parts of a text", () => {
    let random = 0;
    using _ = stub(Math, "random", () => random = (random + GOLDEN) % 1);
    const part = `${"{},".repeat(17)}"${"x".repeat(2_048 - 2 * 51 - 3)}",${"{},".repeat(17)}`;
    const text = `[${part.repeat(16).slice(1, -1)}`;
    let sum = 0;
    for (let i = 0; i < 2_000; i++) sum += heldBytes(text) - 2 * text.length;
    const share = sum / 2_000 / (64 * 34 * 16);
    assert(share > 0.8 && share < 1.2, `${share} of them are counted`);
  });

  it("counts each value of a type alike: with a mark, with a tag of its own, or with the tag of its list", () => {
    const typed = (body: string) => {
      const codec = new Codec();
      codec.decode(body);
      return codec.typed;
    };
    const values: [tag: string, mark: string, json: string][] = [
      ["set", "S", "[]"],
      ["tsmq:Set", "S", "[]"],
      ["tsmq:Map", "M", "[]"],
      ["tsmq:bytes", "B", '""'],
      ["tsmq:Date", "D", "null"],
      ["tsmq:bigint", "N", "1"],
    ];
    for (const [tag, mark, json] of values) {
      const tagged = `{"__obj":${json},"__type":"${tag}"}`;
      const one = typed(json + writeMarks(`"${mark}"`));
      assert(one > 0, tag);
      const bodies: [body: string, values: number][] = [
        [tagged, 1],
        [list(json, 100) + writeMarks(`["${mark}"]`), 100],
        [list(tagged, 100), 100],
        [`{"__list":${list(json, 100)},"__type":"${tag}"}`, 100],
        [`{"in":{"__list":[${json},${tagged}],"__type":"${tag}"}}`, 2],
      ];
      for (const [body, count] of bodies) assertEquals(typed(body) / one, count, body.slice(0, 60));
    }
  });

  it("counts undefined fields, and fields of objects that each have other keys, with much of what they take", () => {
    const codec = new Codec();
    const names = Array.from({ length: 43 }, (_, i) => String.fromCharCode(i < 26 ? 97 + i : 39 + i));
    const missing = `[${Array(1_000).fill("{}").join()},"${"x".repeat(200_000)}"]`.replace(/,"x/, '],"x').replace(
      "[",
      "[[",
    );
    const marks = writeMarks(`{"0":[{${names.map((name) => `"${name}":"U"`)}}]}`);
    codec.decode(missing + marks);
    const each = (heldBytes(missing, codec.typed) - 2 * missing.length) / 1_000 / names.length;
    assert(each > 50 && each < 150, `${each} bytes for an undefined field`); // it takes about 65
    const other = () => `{${names.toSorted(() => Math.random() - 0.5).map((name) => `"${name}":1`)}}`;
    const list = `[${Array.from({ length: 1_000 }, other)}]`;
    const field = heldBytes(list) / 1_000 / names.length;
    assert(field > 30 && field < 150, `${field} bytes for a field`); // it takes about 95, and 120 on Bun
  });

  it("counts ordinary values with few bytes for each character", () => {
    const rows = Array.from({ length: 5_000 }, (_, id) => ({ id, name: `name ${id}`, price: 1.5, tags: ["new"] }));
    const byId = Object.fromEntries(rows.slice(100, 1_000).map((row) => [row.id, row]));
    for (
      const value of [
        "x".repeat(100_000),
        rows,
        byId,
        JSON.stringify(byId),
        Array.from({ length: 50_000 }, (_, i) => i / 8),
      ]
    ) {
      const text = JSON.stringify(value);
      assert(heldBytes(text) < 8 * text.length);
    }
  });
});
