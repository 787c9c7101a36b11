/** Every reader of text from the wire takes time that is linear in its size, whatever a hostile peer sends. */
// run: on bun
import { assert, assertEquals, assertRejects, assertThrows } from "@std/assert";
import { describe, it } from "@std/testing/bdd";
import { Buffer } from "node:buffer";
import process from "node:process";
import { fromJson } from "../cli/io.ts";
import { withoutUser } from "../cli/urls.ts";
import { BusError, ValidationError } from "../mod.ts";
import { Codec } from "../src/codec/codec.ts";
import { UNSIGNED, unwrap } from "../src/codec/envelope.ts";
import { listHeaders } from "../src/codec/headers.ts";
import { writeMarks } from "../src/codec/marks.ts";
import type { Core } from "../src/core.ts";
import { LimitedTextMap } from "../src/internal/caches.ts";
import { membersOf, stringIn } from "../src/internal/json.ts";
import { SignedEnvelopes } from "../src/keys/signed_envelopes.ts";
import { BoundQueues } from "../src/provider/bindings.ts";
import type { Sender } from "../src/provider/provider.ts";
import { unmark } from "../src/provider/delivery_mark.ts";
import { glob } from "../src/provider/glob.ts";
import { Batcher } from "../src/providers/aws/batcher.ts";
import { idleTopics } from "../src/providers/aws/cleanup.ts";
import type { AwsClient } from "../src/providers/aws/client.ts";
import { toBusError } from "../src/providers/aws/errors.ts";
import { asUntried, read, readItem as readAwsItem } from "../src/providers/aws/message.ts";
import { unescapeName } from "../src/providers/aws/names.ts";
import { readEvents, readItem, readLarge } from "../src/providers/ipc/frames.ts";
import { Names } from "../src/providers/ipc/names.ts";
import { Answers } from "../src/providers/redis/answers.ts";
import type { Client } from "../src/providers/redis/client.ts";
import { Names as RedisNames } from "../src/providers/redis/names.ts";
import { PubSubParser } from "../src/providers/redis/pubsub_parser.ts";
import { SeenEvents } from "../src/pubsub/seen_events.ts";
import type { ServedCall } from "../src/rpc/current_call.ts";
import { Directory } from "../src/rpc/directory.ts";
import { LargeAnswers } from "../src/rpc/large_answers.ts";
import { OpenStreams } from "../src/rpc/open_streams.ts";
import { Posts } from "../src/rpc/posts.ts";
import { Proofs } from "../src/rpc/proofs.ts";
import { SeenRequests } from "../src/rpc/seen_requests.ts";
import { ServedCalls } from "../src/rpc/served_calls.ts";
import { Server } from "../src/rpc/server.ts";
import { Sizes } from "../src/rpc/sizes.ts";
import { readRequest } from "../src/rpc/wire.ts";
import { colliding } from "./support/colliding.ts";
import { linear } from "./support/growth.ts";
import { schema } from "./support/schema.ts";

class Order {
  static readonly topic = "shop.Order";
}

class Paid {
  static readonly topic = "shop.Paid";
  static readonly schema = schema((value) => Promise.resolve({ value: value as object }));
}

const codec = new Codec([Order, Paid]);
const encoder = new TextEncoder();

/** Repeats a part until the text has about `size` characters. */
function fill(size: number, part: string | ((i: number) => string), between = ""): string {
  const parts: string[] = [];
  for (let length = 0, i = 0; length < size; i++) {
    const next = typeof part === "string" ? part : part(i);
    parts.push(next);
    length += next.length + between.length;
  }
  return parts.join(between);
}

/** A list of this JSON, and marks, each about half of the body. */
function marked(size: number, element: string, marks: (size: number) => string): string {
  return `[${fill(size / 2, element, ",")}]${writeMarks(marks(size / 8))}`;
}

const keys = (size: number, mark = '"U"') => `{${fill(size, (i) => `"${i.toString(36)}":${mark}`, ",")}}`;

/** Bodies whose parts are chosen to make a reader look at the same text again. */
const BODIES: Readonly<Record<string, (size: number) => string>> = {
  "NaN beside zeros": (size) => `[NaN,"0e${"0".repeat(size / 2)}","${"0".repeat(size / 2)}"]`,
  "NaN beside every exponent": (size) => `[NaN,${fill(size, (i) => `0e${i}`, ",")}]`,
  "many NaN": (size) => `[${fill(size, "NaN,-Infinity", ",")}]`,
  "NaN beside backslashes": (size) => `[NaN,"${fill(size, '\\\\\\"')}"]`,
  "NaN beside quotes": (size) => `[NaN,${fill(size, '""', ",")}]`,
  "NaN and a string without an end": (size) => `[NaN,"${"\\\\".repeat(size / 2)}\\"`,
  "white space": (size) => `[1${" ".repeat(size)}]`,
  "white space after the value": (size) => `[NaN]${" \t".repeat(size / 2)}\r`,
  "long integers": (size) => `[${fill(size, "12345678901234567890", ",")}]`,
  "an integer of the whole size": (size) => "9".repeat(size),
  "fractions": (size) => `[${fill(size, "0.1234567890123456789e-300", ",")}]`,
  "minus signs": (size) => `[${"-".repeat(size)}]`,
  "keys beside a long integer": (size) => `[12345678901234567,{${fill(size, (i) => `"${i}":${i}`, ",")}}]`,
  "one key": (size) => `{${fill(size, '"__type":"set"', ",")}}`,
  "depth": (size) => fill(size, () => "[".repeat(400) + "]".repeat(400), ",").replace(/^(.*)$/, "[$1]"),
  "depth without an end": (size) => "[".repeat(size),
  "depth of tagged lists without a list": (size) =>
    '{"__list":'.repeat(size / 32) + "0" + ',"__type":"x"}'.repeat(size / 32),
  "tags": (size) => `[${fill(size, '{"__obj":[[]],"__type":"set"}', ",")}]`,
  "unknown tags": (size) => `[${fill(size, '{"__obj":{"__type":"y","a":1},"__type":"x"}', ",")}]`,
  "a list of instances": (size) => `{"__list":[${fill(size, '{"a":1}', ",")}],"__type":"shop.Order"}`,
  "keys of undefined fields": (size) => `{"__undefined":[${fill(size, (i) => `"${i}"`, ",")}],"a":{}}`,
  "a set": (size) => `{"__obj":[${fill(size, (i) => `"${i}"`, ",")}],"__type":"tsmq:Set"}`,
  "a map": (size) => `{"__obj":[${fill(size, (i) => `["${i}",1]`, ",")}],"__type":"tsmq:Map"}`,
  "bytes": (size) => `{"__obj":"${"A".repeat(4 * Math.floor(size / 4))}","__type":"tsmq:bytes"}`,
  "a date of parentheses": (size) => `{"__obj":"${"(".repeat(size)}","__type":"tsmq:Date"}`,
  "a date of words": (size) => `{"__obj":"${"1 jan ".repeat(size / 6)}","__type":"tsmq:Date"}`,
  "keys that many maps share": (size) => marked(size, "{}", (size) => `[["M",{},[${fill(size, '"a"', ",")}]]]`),
  "the key of each element": (size) => marked(size, "[]", (size) => keys(size, '"S"')),
  "marks that are not JSON": (size) => `1${" ".repeat(size)}\r`,
};

/** Bodies in which one long text is used for each of many values. A reader is so quick with small ones that only large ones show it. */
const LONG: Readonly<Record<string, (size: number) => string>> = {
  "keys that many maps with an asynchronous schema share": (size) => {
    return marked(size, '{"a":{"__type":"shop.Paid"}}', (size) => `[["M",{},[${fill(size, '"a"', ",")}]]]`);
  },
  "a nested list that many maps share as their key": (size) => {
    return marked(size, '{"a":0}', (size) => `[["M",{},[${"[".repeat(size / 10)}"a"${"]".repeat(size / 10)}]]]`);
  },
  "a number of many digits that names an undefined field of all elements": (size) => {
    return marked(size, "{}", (size) => `[{"1${"0".repeat(size)}":"U"}]`);
  },
  "a long tag that all elements share": (size) => marked(size, "0", (size) => `["@${"a".repeat(size)}"]`),
  "a long tag of a list": (size) => `{"__list":[${fill(size / 2, "0", ",")}],"__type":"${"a".repeat(size / 2)}"}`,
};

/** Bodies in which one mark is applied to many values. The reader counts the keys. */
const SHARED: Readonly<Record<string, (size: number) => string>> = {
  "undefined fields of objects": (size) => marked(size, "{}", (size) => `[${keys(size)}]`),
  "marks of objects": (size) => marked(size, "{}", (size) => `[${keys(size, '["D"]')}]`),
  "marks of lists": (size) => marked(size, "[]", (size) => `[${keys(size)}]`),
  "marks of instances": (size) => marked(size, "{}", (size) => `[["@shop.Order",${keys(size)}]]`),
  "marks of tagged objects": (size) => marked(size, '{"__type":"shop.Order"}', (size) => `[${keys(size)}]`),
};

const HEAD = '{"__tsmq":{"a":"b"},';
const ENVELOPES: Readonly<Record<string, (size: number) => string>> = {
  "many headers": (size) => `{"__tsmq":{${fill(size, (i) => `"h${i}":"v"`, ",")}},"__obj":1}`,
  "a long header": (size) => `{"__tsmq":{"a":"${"x".repeat(size)}"},"__obj":1}`,
  "headers without an end": (size) => `{"__tsmq":{${'"'.repeat(size)}`,
  "many tags": (size) => `${HEAD}"__obj":[${fill(size, '"__type":"x"', ",")}]}`,
  "a tag without an end": (size) => `${HEAD}"__type":"x","__obj":{${fill(size, '"__type":"', ",")}`,
  "many braces": (size) => `${HEAD}"__type":"x","__obj":{${"}".repeat(size)}`,
  "white space": (size) => `${HEAD}"__obj":{},"__type":"x"}${" ".repeat(size)}x`,
  "a trace": (size) => `{"__traceparent":"00-${"0".repeat(size)}`,
};

const MESSAGES: Readonly<Record<string, (size: number) => string>> = {
  "lengths": (size) => `\x01${fill(size, "0:0,")}\n`,
  "wrong lengths": (size) => `\x01${"9".repeat(size)}\n`,
  "lengths without texts": (size) => `\x01${fill(size, "1:1,")}\n`,
  "an event of PyMQ": (size) => `{"__obj":[0,"t","${"x".repeat(size)}"],"__type":"pymq.provider.ipc.IpcEvent"}`,
  "brackets": (size) => "[".repeat(size),
  "a length": (size) => `${"9".repeat(size)}\nx`,
  "a mark": (size) => `1\n${" ".repeat(size)}`,
  "line feeds": (size) => "\n ".repeat(size / 2),
};

const SMALL = 5_000;

describe("The readers of the wire take linear time", () => {
  for (const [what, make] of Object.entries({ ...BODIES, ...LONG })) {
    it(`the codec, for ${what}`, async () => {
      await linear(what, what in LONG ? 8 * SMALL : SMALL, make, async (body) => {
        try {
          await codec.decode(body);
        } catch (error) {
          if (!(error instanceof ValidationError)) throw error;
        }
      });
    });
  }

  it("the codec refuses marks that describe far more than the value, and restores what it writes", () => {
    for (const make of Object.values(SHARED)) {
      assertThrows(
        () => codec.decode(make(100_000)),
        ValidationError,
        "its type marks describe more values than it has",
      );
    }
    // a long name counts by its length: written again, it would stand in each element
    const long = marked(100_000, "{}", () => `[{"${"a".repeat(1_000)}":"U"}]`);
    assertThrows(() => codec.decode(long), ValidationError, "describe more values");
    for (const missing of [1, 5, 30, 200]) {
      const fields = Object.fromEntries(Array.from({ length: missing }, (_, i) => [`k${i}`, undefined]));
      for (const count of [1, 2, 100]) {
        const rows = Array(count).fill({ id: 1, ...fields });
        const few = rows.slice(0, 5);
        const nested = Array(5).fill({ ...fields, list: Array(20).fill({ ...fields, list: few }) });
        for (
          const value of [Array(count).fill(fields), rows, Array(count).fill([{ id: 1, ...fields }, fields]), nested]
        ) {
          const { value: same } = codec.decode(codec.encode(value)) as { value: typeof value };
          assertEquals(same, value);
        }
      }
    }
  });

  it("a received value that is nested deeply is written again without a search at each level", () => {
    const nested = (open: string, inner: string, close: string) => open.repeat(480) + inner + close.repeat(480);
    const many = "{},".repeat(2_000);
    for (const last of ["-0", '"__"', "12345678901234567890", '{"__undefined":1}', '{"a":[NaN]}']) {
      for (const body of [nested("[", many + last, "]"), nested('{"a":', `[${many}${last}]`, "}")]) {
        const { value } = codec.decode(body) as { value: unknown };
        let looks = 0;
        let written = 0;
        const { getPrototypeOf } = Object;
        const { stringify } = JSON;
        try {
          Object.getPrototypeOf = (object: object) => {
            looks++;
            return getPrototypeOf(object);
          };
          JSON.stringify = (value: unknown) => {
            const text = stringify(value);
            written += text.length;
            return text;
          };
          codec.encode(value);
        } finally {
          Object.getPrototypeOf = getPrototypeOf;
          JSON.stringify = stringify;
        }
        assert(looks < 5 * 2_500, `${looks} objects were looked at for ${last}`);
        assert(written < 5 * body.length, `${written} characters were written for ${last}`);
      }
    }
  });

  it("objects with large integer keys take no more memory than others", () => {
    const [large, list] = ['{"1023":0,"2574":0}', (element: string) => `[${Array(2_000).fill(element).join()}]`];
    const bodies: Record<string, string> = {
      "objects whose keys look like a tag": list(large) + writeMarks('["R"]'),
      maps: list('{"1023":0}') + writeMarks('["M"]'),
      "instances with marks": list(large) + writeMarks('["@shop.Order"]'),
      "instances with tags": list('{"1023":0,"2574":0,"__type":"shop.Order"}'),
      "instances of an unknown class": list('{"1023":0,"2574":0,"__type":"x"}'),
      "a list of instances": `{"__list":${list(large)},"__type":"shop.Order"}`,
      "undefined fields": list('{"__undefined":["1023"]}'),
      "marks of undefined fields": list("{}") + writeMarks('[{"1023":"U"}]'),
      "a key that would change the prototype": list('{"1023":0,"2574":0,"__proto__":0}'),
    };
    for (const [what, body] of Object.entries(bodies)) {
      const before = process.memoryUsage().heapUsed;
      const { value } = codec.decode(body) as { value: unknown[] };
      const used = process.memoryUsage().heapUsed - before;
      assert(value.length === 2_000 && used < 8 * 2 ** 20, `${what}: ${used} bytes`);
    }
    const before = process.memoryUsage().heapUsed;
    const opened = Array.from({ length: 2_000 }, () => unwrap('{"__tsmq":{"1023":"x"},"__obj":1}'));
    const used = process.memoryUsage().heapUsed - before;
    assert(opened.length === 2_000 && used < 8 * 2 ** 20, `headers: ${used} bytes`);
  });

  it("objects with undefined fields that are integers are hash tables, or have few places", () => {
    const elements = Array(20_000).fill('{"a":"0123456789"}');
    const body = `[${elements}]${writeMarks('[{"30":"U","31":"U","32":"U"}]')}`;
    const before = process.memoryUsage().heapUsed;
    // of several, because garbage counts too
    const values = Array.from({ length: 8 }, () => codec.decode(body) as { value: unknown[] });
    const used = (process.memoryUsage().heapUsed - before) / values.length;
    assert(values[0]!.value.length === 20_000 && used < 10 * 2 ** 20, `${used} bytes`); // lists of 50 places would take 13 MiB
  });

  it("on Bun, objects with few integer keys that take a place for each smaller one are refused; others are read", async () => {
    const list = (element: string, count: number) => `[${Array(count).fill(element).join()}]`;
    const hostile = ['{"999":0}', '{"999" \n:0}', '{"\\u0039\\u0039\\u0039":0}', '{"a":"}","b":{},"998":0}'];
    const bodies = hostile.map((element) => list(element, 12_000));
    bodies.push(`[]${writeMarks(list('{"999":"U"}', 12_000))}`);
    for (const body of bodies) {
      if (!("Bun" in globalThis)) codec.decode(body);
      else assertThrows(() => codec.decode(body), ValidationError);
    }
    const table = JSON.stringify(Object.fromEntries(Array.from({ length: 1_000 }, (_, i) => [i, { i, text: "}" }])));
    const honest = [
      list(table, 50),
      list('"{\\"999\\":0}"', 12_000),
      list('{"a":"999"}', 12_000),
      list('{"999":0}', 500),
    ];
    for (const body of [...honest, list('{"1000":0}', 12_000)]) {
      assert(Array.isArray((codec.decode(body) as { value: unknown }).value));
    }
    await linear(
      "integer keys",
      300_000,
      (size) => list('{"9":0,"11":"\\"}"}', size / 10),
      (body) => void codec.decode(body),
    );
  });

  it("envelopes and headers", async () => {
    for (const [what, make] of Object.entries(ENVELOPES)) await linear(what, SMALL, make, unwrap);
    const headers = (size: number) => JSON.parse(`{${fill(size, (i) => `"h${i}":"v"`, ",")}}`);
    const call = { id: "x", inbox: "y", deadline: 1 };
    await linear("a request", SMALL, (size) => ["f", "", [], {}, { ...call, headers: headers(size) }], readRequest);
  });

  it("lines of standard input that are not JSON, and what the command line says about them", async () => {
    for (const part of ["/", "//", "@", "/@", "@/", "a", " ", '"', "\\"]) {
      const make = (size: number) => `!${part.repeat(size / part.length)}`;
      await linear(`a password in ${part}`, 250, make, withoutUser);
      await linear(`a line of ${part}`, 250, make, async (line) => {
        await assertRejects(() => fromJson(line), ValidationError);
      });
    }
  });

  it("globs: in the pattern and in the topic", async () => {
    for (const part of ["a*", "*a?", "[a-b]*", "\\a*", "*[^b]a"]) {
      await linear(`topic of ${part}`, 2_000, (size) => "a".repeat(size), glob(`${part.repeat(100)}b`));
      await linear(
        `pattern of ${part}`,
        100,
        (size) => glob(`${part.repeat(size)}b`),
        (match) => void match("a".repeat(2_000)),
      );
    }
    await linear("unclosed classes", SMALL, (size) => "[".repeat(size), glob);
    await linear("a class", SMALL, (size) => `[${"!-~".repeat(size / 3)}`, glob);
  });

  it("the bindings of groups", async () => {
    const make = (size: number) => Array.from({ length: size }, (_, i) => `=topic\0queue${i}`);
    await linear("bindings of one topic", SMALL, make, (bindings) => void new BoundQueues(bindings));
    const names = { topics: (name: string) => `=${name}\0queue`, queues: (name: string) => `=topic\0${name}` };
    for (const [what, write] of Object.entries({ ...names, patterns: (name: string) => `*${name}\0${name}` })) {
      const make = (size: number) => colliding(size).map(write);
      await linear(`${what} that collide`, SMALL / 16, make, (bindings) => {
        const bound = new BoundQueues(bindings, new BoundQueues(bindings));
        if (what === "queues") assertThrows(() => bound.queuesOf("topic"), BusError, "and the limit is 256");
      });
    }
    const patterns = (size: number) => {
      const bound = new BoundQueues(Array.from({ length: size / 20 }, (_, i) => `z${i}*\0queue${i}`));
      return { bound, topic: "é".repeat(size / 2) };
    };
    await linear("a long topic and many patterns", SMALL, patterns, ({ bound, topic }) => void bound.queuesOf(topic));
  });

  it("the memories of calls, servers and events, whose names peers choose", async () => {
    const core = {
      link: { inbox: "i", address: () => Promise.resolve("i") },
      post: () => Promise.resolve(true),
      joins() {},
    } as unknown as Core;
    const sender = { maxJoined: 1_000 } as Sender;
    const served = (id: string) => ({ request: { call: { id, inbox: id } } }) as ServedCall;
    const answer = { fn: "f", result: "", resultType: "", isError: false, call: { id: "", server: "" } };
    const works: Record<string, (names: string[]) => unknown> = {
      "served calls": (names) => {
        const calls = new ServedCalls();
        for (const name of names) {
          calls.add(name);
          calls.keep(name, "");
          calls.refuse(`${name}x`, 1);
          calls.refused(name, 1);
        }
      },
      "calls that are validated": (names) => {
        const server = new Server(core, () => undefined);
        for (const id of names) server.validating(["f", "", [], {}, { id, inbox: "i", deadline: 1 }]);
      },
      "signed requests": (names) => {
        const seen = new SeenRequests();
        for (const id of names) seen.add({ id, attempt: 1, deadline: 1 }, { time: 1 });
      },
      "signed events": (names) => {
        const seen = new SeenEvents();
        for (const name of names) seen.add(name);
      },
      "sizes": (names) => {
        const sizes = new Sizes(1, 1);
        for (const name of names) sizes.add(name, 1);
      },
      "inboxes that read joined messages": (names) => {
        const posts = new Posts(sender, UNSIGNED);
        for (const name of names) posts.joins(name);
      },
      "large answers": async (names) => {
        const answers = new LargeAnswers(core, new Sizes(1, 1));
        for (const name of names) await answers.admit(served(name), answer);
        answers.end();
      },
      "streams": (names) => {
        const streams = new OpenStreams(core);
        for (const name of names) streams.add(name, { check() {} });
        for (const name of names) streams.delete(name);
      },
      "proofs of servers": async (names) => {
        const proofs = new Proofs(core);
        const proven = proofs.all("f", names.map((name) => name.slice(0, -2))); // `"]` follows in the key
        proofs.close();
        await proven;
      },
      "servers": async (names) => {
        const servers = () => Promise.resolve(names.map((inbox) => ({ inbox })));
        const directory = new Directory({ servers } as unknown as Sender, {
          all: () => Promise.resolve(names),
        } as unknown as Proofs);
        directory.add("f", names);
        await directory.proven("f");
      },
      "answers to PyMQ on Redis": async (names) => {
        const answers = new Answers({ call: () => Promise.resolve(1) } as unknown as Client);
        for (const name of names) await answers.put(name, "").catch(() => {});
      },
      "batches for queues of AWS": async (names) => {
        const batcher = new Batcher<string>((_, items) => Promise.resolve(items.map(() => undefined)), {
          parallel: () => 1,
        });
        await Promise.all(names.map((name) => batcher.add(name, "")));
      },
      "subscriptions of AWS": async (names) => {
        const Topics = names.map((name) => ({ TopicArn: `arn:aws:sns:region:1:${name}` }));
        const Subscriptions = Topics.map((topic) => ({ ...topic, Endpoint: "" }));
        const client = { call: () => Promise.resolve({ Subscriptions, Topics }) } as unknown as AwsClient;
        assertEquals(await Array.fromAsync(idleTopics(client, undefined)), []);
      },
      "limited maps": (names) => {
        const map = new LimitedTextMap(100_000);
        for (const name of names) map.set(name, 1);
      },
    };
    for (const [what, work] of Object.entries(works)) await linear(what, SMALL / 16, colliding, work);
  });

  it("an item in a queue that a peer names after a pattern, with a topic that the peer chose", async () => {
    const envelopes = new SignedEnvelopes("n", [{ id: "k", secret: "s".repeat(32) }], false);
    const make = (size: number) => [`*${"a".repeat(size / 2)}b@g`, "a".repeat(size)] as const;
    await linear("a queue and a topic", SMALL, make, ([queue, topic]) => envelopes.openItem(queue, "1", topic, true));
  });

  it("errors of AWS", async () => {
    const make = (part: string) => (size: number) => new Error(`x${part.repeat(size / part.length)}y`);
    for (const part of [" ", "\n", "The ", " The Canonical String", "\nThe String-to-Sign\n    at ", "\n    at"]) {
      await linear(`a message of ${part}`, SMALL, make(part), (error) => toBusError("put", error));
    }
  });

  it("the keys of queues on Redis whose names need a hash tag: all of them together", () => {
    const names = new RedisNames("n");
    const start = performance.now();
    for (let i = 0; i < 3_000; i++) names.queue(`}${i}`);
    assert(performance.now() - start < 3_000); // a search for each of them takes several times as long
  });

  it("kernel messages, items and their marks", async () => {
    for (const [what, make] of Object.entries(MESSAGES)) {
      const bytes = (size: number) => encoder.encode(make(size));
      await linear(what, SMALL, bytes, readEvents);
      await linear(what, SMALL, bytes, readItem);
      await linear(what, SMALL, make, readLarge);
      await linear(what, SMALL, make, unmark);
    }
    const names = (size: number) => `{${colliding(size / 16).map((name) => `${JSON.stringify(name)}:0`)}}`;
    await linear("names that collide", SMALL, (size) => new TextEncoder().encode(names(size)), readEvents);
    const { parseBus } = new Names("n");
    await linear("the name of a bus", SMALL, (size) => `pymq_n_$${"1".repeat(size)}_1_1.1.`, (name) => {
      parseBus.call(new Names("n"), name);
    });
  });

  it("messages of SNS and SQS", async () => {
    const object = (size: number) => `{${colliding(size / 16).map((name) => `${JSON.stringify(name)}:0`)}}`;
    const attribute = (StringValue: string) => ({ tsmq: { DataType: "String", StringValue } });
    await linear("names that collide", SMALL, object, (text) => {
      read({ Body: text }, true);
      read({ Body: text, MessageAttributes: attribute('{"json":true}') }, true);
      read({ Body: "1", MessageAttributes: attribute(text) }, true);
      asUntried({ Body: "1", MessageAttributes: attribute(text) });
    });
    const envelope = (message: string, label: string) =>
      JSON.stringify({
        Type: "Notification",
        TopicArn: "a:b",
        Message: message,
        MessageAttributes: { tsmq: { Type: "String", Value: label } },
      });
    const labels = ["{}", '{"json":true}', '{"topic":"t"}'];
    const strings: Readonly<Record<string, (size: number) => string>> = {
      "escapes": (size) => `"${"\\n\\u00e9".repeat(size / 8)}"`,
      "escapes without an end": (size) => `"${'\\"'.repeat(size / 2)}`,
      "white space": (size) => `{${" \t".repeat(size / 2)}`,
      "white space in front of a member": (size) => `{"Type":${" \t".repeat(size / 2)}"Notification"}`,
      "signs": (size) => `{${":".repeat(size)}`,
    };
    for (const [what, make] of Object.entries({ ...BODIES, ...MESSAGES, ...strings })) {
      for (const label of labels) {
        await linear(what, SMALL, make, (text) => {
          const MessageAttributes = attribute(label);
          read({ Body: text, MessageAttributes }, true);
          readAwsItem({ Body: text, MessageAttributes });
          asUntried({ Body: text, MessageAttributes });
          read({ Body: envelope(text, label) }, true);
        });
      }
      await linear(what, SMALL, make, (StringValue) => {
        read({ Body: "1", MessageAttributes: attribute(StringValue) }, true);
      });
    }
    for (const part of ["_", "_U", "_H0", "_U1F600_", "_RPC_"]) {
      await linear(`names of ${part}`, SMALL, (size) => part.repeat(size), unescapeName);
    }
  });

  it("strings of many escapes: each reader takes little more time than JSON.parse", () => {
    const escapes = '\\"'.repeat(200_000);
    // they are refused, because decoding the escapes would take longer
    const readers: Record<string, () => unknown> = {
      string: () => stringIn(`"${escapes}\\x"`),
      members: () => membersOf(`{"a":"${escapes}"`, ["a"]),
      headers: () => listHeaders(`{"a":"${escapes}"]`),
    };
    const quickest = (work: () => unknown) =>
      Math.min(...Array.from({ length: 8 }, () => {
        const start = performance.now();
        work();
        return performance.now() - start;
      }));
    const parse = quickest(() => JSON.parse(`"${escapes}"`));
    for (const [what, work] of Object.entries(readers)) {
      assertEquals(work(), undefined);
      const ms = quickest(work);
      assert(ms < 20 * parse, `${what}: ${ms} ms, JSON.parse: ${parse} ms`); // on Bun, one expression for a whole string takes 80 times as long
    }
  });

  it("replies of Redis whose line arrives byte by byte behind a long text, which is not copied for each byte", () => {
    const { concat } = Buffer;
    let copied = 0;
    Buffer.concat = (...args: Parameters<typeof concat>) => {
      const all = concat(...args);
      copied += all.length;
      return all;
    };
    try {
      const received: string[] = [];
      const parser = new PubSubParser({ message: (_, body) => received.push(body) }, () => {});
      parser.parse(Buffer.from(`*3\r\n$7\r\nmessage\r\n$100000\r\n${"x".repeat(100_000)}`));
      for (const byte of `\r\n$${"0".repeat(1_000)}2\r\nab\r\n`) parser.parse(Buffer.from(byte));
      assertEquals(received, ["ab"]);
      assert(copied < 1_000_000, `${copied} bytes were copied`);
    } finally {
      Buffer.concat = concat;
    }
  });

  it("replies of Redis, in small chunks", async () => {
    const replies: Record<string, (size: number) => string> = {
      "many elements": (size) => `*${size}\r\n${":1\r\n".repeat(size)}`,
      "many lists": (size) => `*${size}\r\n${"*1\r\n:1\r\n".repeat(size)}`,
      "nested lists": (size) => "*1\r\n".repeat(size) + ":1\r\n",
      "a long list of keys": (size) => `*3\r\n$7\r\nmessage\r\n$1\r\nc\r\n*${size}\r\n${"$1\r\nk\r\n".repeat(size)}`,
      "a long message": (size) => `*3\r\n$7\r\nmessage\r\n$1\r\nc\r\n$${4 * size}\r\n${"\r\n$1".repeat(size)}\r\n`,
      "many messages": (size) => "*3\r\n$7\r\nmessage\r\n$1\r\nc\r\n$1\r\nx\r\n".repeat(size / 10),
      "a long line": (size) => `+${"x".repeat(8 * size)}`,
    };
    for (const [what, make] of Object.entries(replies)) {
      await linear(what, 4_000, (size) => Buffer.from(make(size)), (bytes) => {
        const parser = new PubSubParser({}, () => {});
        try {
          for (let at = 0; at < bytes.length; at += 256) parser.parse(bytes.subarray(at, at + 256));
        } catch (error) {
          if (!/out of step/.test(String(error))) throw error;
        }
      });
    }
  });
});
