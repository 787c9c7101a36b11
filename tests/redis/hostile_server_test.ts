// run: on deno, waiting
import { assertEquals, assertMatch, assertRejects, assertThrows } from "@std/assert";
import { afterAll, beforeAll, describe, it } from "@std/testing/bdd";
import { Buffer } from "node:buffer";
import { EventEmitter } from "node:events";
import { createServer, type Server } from "node:net";
import { ProviderError } from "../../src/errors.ts";
import { ClusterClient } from "../../src/providers/redis/cluster.ts";
import { parseOptions } from "../../src/providers/redis/options.ts";
import { guardParser, Lengths } from "../../src/providers/redis/parser_guard.ts";
import { Random, SEED } from "../support/random.ts";
import { within } from "../support/until.ts";
import { open } from "./halves.ts";

/** A reply that never ends, with few elements in each list: the parser would reserve 32 MB for them, and 3 GB for ten times as many. */
const NESTED = "*200000\r\n".repeat(20);

describe("a hostile Redis server", () => {
  let server: Server;
  let port: number;
  beforeAll(async () => {
    server = createServer((socket) => {
      socket.on("error", () => {});
      socket.once("data", () => socket.write(NESTED));
    });
    await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
    port = (server.address() as { port: number }).port;
  });
  afterAll(() => new Promise<void>((resolve) => server.close(() => resolve())));

  it("that announces more elements than a reply has is left at once", async () => {
    const node = { host: "127.0.0.1", port };
    const cluster = new ClusterClient(parseOptions({ cluster: [node] }), 120_000);
    for (
      const [opened, says] of [
        [() => open({ port }, { sendTimeout: 120_000 }), /: a reply announces more elements than any reply has/],
        [() => open({ name: "main", sentinels: [node] }), /Connection is closed/],
        [() => cluster.open(120_000), /closed/],
      ] as const
    ) {
      const error = await within("it rejects", assertRejects(opened, ProviderError));
      assertMatch(error.message, says);
    }
  });

  it("cannot make the parser copy a line without an end again and again: it gets whole lines", () => {
    const stream = Object.assign(new EventEmitter(), { destroy: () => destroyed++ });
    let destroyed = 0;
    const received: string[] = [];
    const errors: string[] = [];
    stream.on("data", (bytes: Buffer) => received.push(bytes.toString()));
    guardParser({ stream } as unknown as Parameters<typeof guardParser>[0], (error) => errors.push(String(error)));
    const line = `-ERR ${"x".repeat(1_000)}\r\n`;
    for (const text of [":1\r\n+a", ...line.slice(1), ":2\r\n", "$3", "\r\nab", "c\r\n"]) {
      stream.emit("data", Buffer.from(text));
    }
    assertEquals(received.join(""), `:1\r\n+a${line.slice(1)}:2\r\n$3\r\nabc\r\n`);
    assertEquals(received.length < 10, true, `${received.length} chunks`);
    assertEquals([errors.length, destroyed], [0, 0]);
    while (destroyed === 0) stream.emit("data", Buffer.from(`+${"x".repeat(1_000)}`));
    assertMatch(errors.join(), /a line without an end/);
  });

  it("cannot make the parser reserve memory for nested lists, wherever the chunks end", () => {
    for (const size of [1, 2, 7, NESTED.length]) {
      const stream = Object.assign(new EventEmitter(), { destroy: () => destroyed++ });
      let [destroyed, received] = [0, 0];
      stream.on("data", (bytes: Buffer) => received += bytes.length);
      const errors: string[] = [];
      guardParser({ stream } as unknown as Parameters<typeof guardParser>[0], (error) => errors.push(String(error)));
      for (let at = 0; at < NESTED.length && destroyed === 0; at += size) {
        stream.emit("data", Buffer.from(NESTED.slice(at, at + size)));
      }
      assertEquals([errors.length, destroyed], [1, 1]);
      assertEquals(received < NESTED.length / 3, true, `${received} bytes reached the parser`);
    }
  });
});

describe(`the lengths of replies (seed ${SEED})`, () => {
  const random = new Random(SEED);

  /** Returns a random reply. */
  function reply(depth = 0): string {
    const kind = random.int(0, depth > 4 ? 5 : 7);
    if (kind === 0) return `:${random.int(-9, 1e9)}\r\n`;
    if (kind === 1) return `+${"OK *99999999".slice(0, random.int(0, 12))}\r\n`;
    if (kind === 2) return "-ERR $99999999 *9999999\r\n";
    if (kind === 3) return random.int(0, 1) ? "$-1\r\n" : "*-1\r\n";
    if (kind === 4) return "*0\r\n";
    if (kind === 5) {
      const text = "*99999999\r\n$5\r\n\r".repeat(random.int(0, 5));
      return `$${text.length}\r\n${text}\r\n`;
    }
    const elements = Array.from({ length: random.int(1, 6) }, () => reply(depth + 1));
    return `*${elements.length}\r\n${elements.join("")}`;
  }

  it("are followed wherever the chunks end, and texts that look like lists are not counted", () => {
    for (let round = 0; round < 100; round++) {
      const bytes = Buffer.from(Array.from({ length: 50 }, () => reply()).join(""));
      const lengths = new Lengths();
      for (let at = 0; at < bytes.length;) {
        const size = random.int(1, round % 2 ? 4 : 400);
        lengths.check(bytes.subarray(at, at + size));
        at += size;
      }
      // nothing is missing: the largest list is allowed, and one element more is not
      lengths.check(Buffer.from("*1048576\r\n:1\r\n*1\r\n"));
      assertThrows(() => lengths.check(Buffer.from("*3\r\n")), Error, "out of step");
    }
  });
});
