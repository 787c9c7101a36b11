// run: on bun
import { assert, assertEquals } from "@std/assert";
import { describe, it } from "@std/testing/bdd";
import { Redis } from "ioredis";
import { spawnSync } from "node:child_process";
import process from "node:process";
import { glob } from "../src/provider/glob.ts";
import { RedisServer } from "./support/redis_server.ts";
import { itNeeds } from "./support/skip.ts";
import { spy } from "./support/spy.ts";

const BINARY = process.env.TSMQ_TEST_REDIS_SERVER ?? "redis-server";
const itOnRedis = itNeeds(spawnSync(BINARY, ["--version"]).error ? `there is no ${BINARY}` : undefined);

/** The difficult parts: the ends of classes, escapes, and bytes that are not characters. */
const PATTERNS = [
  ..."* ** ? a a* *a a?c a/* */c [abc] [a-c]x [^a-c]x [c-a]x [ [^ [] [^] []a] [^]x [a [^a [a- [a-] [a-]x [- [-]".split(
    " ",
  ),
  ..."\\ \\\\ \\* \\? \\[a] a\\ [\\]] [\\] [\\ [\\a-c] [a-\\] [\\^a] [a^] *[ab]*[cd] a*b*c ü ? ?? [ü] [^ü]? [a-ü] *ü* ☃*"
    .split(" "),
];
const TOPICS = [
  ..."a b c x ac abc a/c a/b/c ax bx dx a]x -x - ] [ ^ \\ * ? a\\ a* [a] []a] a- bd abcd xbyd ü aü üa ☃ ☃☃ é".split(
    " ",
  ),
];

/** A generator of numbers below 1 that gives the same ones for the same seed. */
function random(seed: number): () => number {
  return () => {
    seed = Math.imul(seed ^ seed >>> 15, seed | 1) + 0x6d2b79f5 | 0;
    return (seed >>> 8) / (1 << 24);
  };
}

function texts(count: number, letters: string[], most: number, next: () => number): string[] {
  return Array.from({ length: count }, () => {
    const length = 1 + Math.floor(next() * most);
    return Array.from({ length }, () => letters[Math.floor(next() * letters.length)]).join("");
  });
}

describe("glob()", () => {
  it("matches / with *, and matches escaped characters literally", () => {
    assert(glob("orders/*")("orders/eu/1"));
    assert(!glob("orders/*")("orders"));
    assert(glob("*")("anything/at all"));
    assert(glob("a\\*")("a*"));
    assert(!glob("a\\*")("ab"));
    assert(glob("h[^e]llo")("hallo"));
    assert(!glob("h[^e]llo")("hello"));
    assert(!glob("a.c")("abc"));
  });

  it("matches a long topic, whose bytes become characters in parts", () => {
    for (const length of [2_045, 2_046, 2_047, 2_048, 10_000]) {
      const topic = `shop.${"é".repeat(length)}ü`;
      assert(glob("shop.*\u00fc")(topic));
      assert(glob("shop.*??")(topic));
      assert(glob(topic)(topic));
      assert(!glob(topic)(`${topic}ü`));
      assert(!glob("shop.*é")(topic));
    }
  });

  it("converts a topic once for all patterns, and counts it among the steps", () => {
    const steps = { left: 3_000 };
    for (const pattern of ["a", "b"]) glob(pattern)("é".repeat(1_000), steps);
    assertEquals(steps.left, 3_000 - 1_000 - 2);
  });

  it("does not convert a topic that is longer than the steps that are left", () => {
    const uses: unknown[] = [];
    const end = spy(TextEncoder.prototype, "encode", uses);
    const steps = { left: 999 };
    try {
      assertEquals(glob("*")("ö".repeat(1_000), steps), false);
    } finally {
      end();
    }
    assertEquals(uses, []);
    assert(steps.left < 0);
  });

  it("takes a hostile pattern in steps that do not explode", () => {
    const matches = glob(`${"a*".repeat(2_000)}b`);
    const start = performance.now();
    assertEquals(matches("a".repeat(20_000)), false);
    assert(performance.now() - start < 5_000);
  });

  it("takes no time for many patterns before they are matched, and little memory", () => {
    const pattern = "[a]".repeat(1_365);
    const [start, { rss }] = [performance.now(), process.memoryUsage()];
    const matchers = Array.from({ length: 2_000 }, (_, i) => glob(i + pattern));
    assert(performance.now() - start < 1_000); // it was 2.5 s when each class was compiled
    assert(!matchers.some((matches) => matches("orders.new")));
    const grown = process.memoryUsage().rss - rss;
    assert(grown < 100e6, `memory has grown by ${grown} bytes`); // it was 234 MiB, and 374 MiB on Bun
  });

  itOnRedis("agrees with a real Redis on every pair of pattern and topic", async () => {
    const next = random(7);
    const patterns = [...PATTERNS, ...texts(3_000, [..."abc*?[]^-\\", "ü"], 9, next)];
    const topics = [...new Set([...TOPICS, ...texts(400, [..."abc]^-\\*", "ü"], 6, next)])];
    const server = await RedisServer.start();
    const redis = new Redis({ port: server.port, host: "127.0.0.1" });
    try {
      await redis.mset(topics.flatMap((topic) => [topic, ""]));
      const differences: string[] = [];
      const found = await Promise.all(patterns.map((pattern) => redis.keys(pattern)));
      patterns.forEach((pattern, index) => {
        const theirs = new Set(found[index]);
        const matches = glob(pattern);
        for (const topic of topics) {
          if (matches(topic) !== theirs.has(topic)) {
            differences.push(`${pattern} on ${topic}: Redis ${theirs.has(topic)}`);
          }
        }
      });
      assertEquals(differences, []);
    } finally {
      redis.disconnect();
      await server.stop();
    }
  });
});
