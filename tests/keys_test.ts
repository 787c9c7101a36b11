/** The parts of signatures: HMACs, encrypted texts, and the memories of received events and requests. */
// run: on deno
import { assert, assertEquals, assertFalse } from "@std/assert";
import { describe, it } from "@std/testing/bdd";
import { stub } from "@std/testing/mock";
import { createHmac } from "node:crypto";
import { inspect } from "node:util";
import { type Received, unwrap, wrap } from "../src/codec/envelope.ts";
import { Cipher } from "../src/keys/cipher.ts";
import { equal, Hmac } from "../src/keys/hmac.ts";
import { TextMap } from "../src/internal/text_map.ts";
import { Keyring } from "../src/keys/keyring.ts";
import { SignedEnvelopes } from "../src/keys/signed_envelopes.ts";
import { SeenEvents } from "../src/pubsub/seen_events.ts";
import { CLOCK_SKEW } from "../src/internal/time.ts";
import { LostLeases } from "../src/port/lost_leases.ts";
import { open } from "../src/queue/deliveries.ts";
import { SeenRequests } from "../src/rpc/seen_requests.ts";
import { colliding } from "./support/colliding.ts";
import { kept } from "./support/spy.ts";

const SECRET = "s".repeat(32);
const TEXTS = ["", "a", "ünï☃\u{1f600}\n", "x".repeat(55), "x".repeat(56), "x".repeat(64), "x".repeat(100_000)];

describe("Hmac", () => {
  it("computes HMAC-SHA-256", () => {
    for (const length of [0, 1, 32, 64]) {
      const key = crypto.getRandomValues(new Uint8Array(length));
      const hmac = new Hmac(key);
      for (const text of [...TEXTS, ...TEXTS]) {
        assertEquals(hmac.of(text), createHmac("sha256", key).update(text).digest("hex"));
      }
    }
  });

  it("compares whole texts", () => {
    assert(equal("", "") && equal("abc", "abc"));
    assertFalse(equal("abc", "abd") || equal("abc", "bbc") || equal("abc", "ab") || equal("", "a"));
  });
});

describe("Cipher", () => {
  it("decrypts its own texts only, unchanged", () => {
    const cipher = new Cipher(new Uint8Array(32));
    for (const [count, text] of TEXTS.entries()) {
      const encrypted = cipher.encrypt(text, "context", "session", count);
      assertEquals(cipher.decrypt(encrypted, "context", "session", count), text);
      assertEquals(new Cipher(new Uint8Array(32)).decrypt(encrypted, "context", "session", count), text);
      assertEquals(new Cipher(new Uint8Array(32).fill(1)).decrypt(encrypted, "context", "session", count), undefined);
      assertEquals(cipher.decrypt(encrypted, "other", "session", count), undefined);
      assertEquals(cipher.decrypt(encrypted, "context", "other", count), undefined);
      assertEquals(cipher.decrypt(encrypted, "context", "session", count + 1), undefined);
      assertEquals(cipher.decrypt(encrypted, "context", "session", -1), undefined);
      assertEquals(cipher.decrypt(encrypted.slice(4), "context", "session", count), undefined);
      assertEquals(cipher.decrypt(encrypted.slice(0, 8), "context", "session", count), undefined);
    }
  });
});

describe("SignedEnvelopes", () => {
  const keys = [{ id: "k", secret: SECRET }];

  it("have no secret that anything prints", () => {
    const signed = new SignedEnvelopes("n", keys, true);
    const all = [signed, new Keyring(keys), new Keyring(keys).first];
    const derived = Object.keys(new Keyring(keys).first.cipher);
    for (const each of all) {
      const text = inspect(each, { depth: Infinity, showHidden: true }) + JSON.stringify(each);
      assertFalse(text.includes("sss") || /Uint8Array|Buffer/.test(text), text);
    }
    assertEquals(derived, []);
  });

  it("refuse every altered character of a message", () => {
    for (const encrypt of [false, true]) {
      const envelopes = new SignedEnvelopes("n", keys, encrypt);
      const text = envelopes.seal("event", "t", '{"a":"b"}', { h: "v" });
      assertEquals(envelopes.open("event", "t", text).body, '{"a":"b"}');
      assertEquals({ ...envelopes.open("event", "t", text).headers }.h, "v");
      for (let i = 0; i < text.length; i++) {
        for (const other of ["0", "Z", " ", ""]) {
          const altered = text.slice(0, i) + other + text.slice(i + 1);
          if (altered === text) continue;
          const { body, refused } = envelopes.open("event", "t", altered);
          assert(refused, `${altered} is accepted as ${body}`);
          assertEquals(body, altered);
        }
      }
    }
  });

  it("parse nothing of a message, and make nothing of it a key, before its signature is verified", () => {
    const names = Object.fromEntries(colliding(8).map((name) => [name, ""]));
    const plain = new SignedEnvelopes("n", keys, false);
    const own = plain.seal("event", "t", "1", { h: "v" });
    const encrypted = new SignedEnvelopes("n", keys, true).seal("event", "t", "1", { h: "v" });
    const forged = [
      wrap("1", names),
      wrap("1", { ...unwrap(own)!.headers, ...names }),
      wrap("1", { ...unwrap(own)!.headers, h: "forged" }),
      wrap('"Zm9yZ2Vk"', unwrap(encrypted)!.headers),
      wrap('"Zm9yZ2Vk"', { ...unwrap(encrypted)!.headers, "tsmq-encryption": `k ${"s".repeat(22)} 1`, h: "v" }),
    ];
    for (const text of forged) {
      const uses = kept(() => {
        assert(plain.open("event", "t", text).refused, text);
        assert(plain.openItem("t@g", text, undefined, true).refused, text);
      });
      assertEquals(uses.filter((use) => use !== "" && text.includes(String(use))), [], text);
    }
    for (const text of [own, encrypted]) assertEquals(plain.open("event", "t", text).headers?.h, "v");
  });

  it("parse no header that a signature does not cover, and refuse those that no sender has written", () => {
    const name = "x-chosen";
    const topic = `"tsmq-topic":"${name}"`;
    for (const encrypt of [false, true]) {
      const envelopes = new SignedEnvelopes("n", keys, encrypt);
      for (const headers of [undefined, { h: "v" }]) {
        const texts = {
          event: envelopes.seal("event", "t", "1", headers),
          item: envelopes.seal("item", "t@g", "1", headers),
        };
        // with the chosen headers in front of the others, and behind them
        const read = (kind: "event" | "item", more: string) =>
          [0, 1].map((at) => {
            const text = texts[kind].replace(
              ...[['"__tsmq":{', `"__tsmq":{${more},`], ["},", `,${more}},`]][at] as [string, string],
            );
            assert(text.includes(more));
            let received: Received | undefined;
            const uses = kept(() => {
              received = kind === "event"
                ? envelopes.open("event", "t", text)
                : envelopes.openItem("t@g", text, undefined, false);
            });
            assertEquals(uses.filter((use) => String(use).includes(name)), []);
            return received!;
          });
        for (const kind of ["event", "item"] as const) {
          const copies = [
            `${topic},${topic}`,
            texts[kind].match(/"tsmq-signature":"[^"]*"/)![0].replace(/.{9}"$/, `${name}"`),
          ];
          if (encrypt) copies.push(`"${name}":""`, `"h":"${name}"`, `"tsmq-encryption":"${name}"`);
          for (const more of copies) assert(read(kind, more).every(({ refused }) => refused), more);
          for (const { refused, headers: all } of read(kind, topic)) {
            assertEquals([refused, all?.h, JSON.stringify(all).includes(name)], [undefined, headers?.h, false]);
          }
        }
      }
    }
  });

  it("cover the namespace, the destination, its name, and the key", () => {
    for (const encrypt of [false, true]) {
      const envelopes = new SignedEnvelopes("n", keys, encrypt);
      const text = envelopes.seal("event", "t", "1");
      const refused = (other: SignedEnvelopes, place: "event" | "item" | "inbox", name: string) =>
        other.open(place, name, text).refused !== undefined;
      assertFalse(refused(new SignedEnvelopes("n", keys, false), "event", "t"));
      assert(refused(new SignedEnvelopes("m", keys, false), "event", "t"));
      for (const place of ["item", "inbox"] as const) assert(refused(envelopes, place, "t"));
      assert(refused(envelopes, "event", "u"));
      const same = [{ id: "j", secret: SECRET }, { id: "k", secret: `${SECRET}x` }];
      assert(refused(new SignedEnvelopes("n", same, false), "event", "t"));
    }
  });

  it("refuse a signature with a line feed, which would divide what is signed at another place", () => {
    const envelopes = new SignedEnvelopes("n", keys, false);
    const { headers, body } = unwrap(envelopes.seal("event", "t", '[\n["n","event","u"]\n\n7]'))!;
    const [version, id, time, nonce, hmac] = headers["tsmq-signature"]!.split(" ");
    const line = `${nonce}\n["n","event","t"]\n\n[`;
    const moved = wrap("7]", { "tsmq-signature": `${version} ${id} ${time} ${line} ${hmac}` });
    for (const written of ["\n", "\\u000a"]) {
      const { refused } = envelopes.open("event", "u", moved.replaceAll("\\n", written));
      assert(refused, `it is accepted as an event of another topic, with the end of ${body}`);
      assert(refused.message.endsWith("its signature is not valid"), refused.message);
    }
  });

  it("accept a topic from the outside only if the message is signed as an event of it", () => {
    for (const encrypt of [false, true]) {
      const envelopes = new SignedEnvelopes("shop", [{ id: "a", secret: SECRET }], encrypt);
      const item = envelopes.seal("item", "*@group", "1");
      const event = envelopes.seal("event", "orders", "1");
      const topicOf = (queue: string, text: string, topic: string) =>
        open(
          { body: text, topic, receipt: "r", attempt: 1 },
          queue,
          { envelopes, link: { leases: new LostLeases() } },
          true,
        ).topic;
      assertEquals(topicOf("*@group", item, "forged"), undefined);
      assertEquals(topicOf("jobs", envelopes.seal("item", "jobs", "1"), "forged"), undefined);
      assertEquals(topicOf("*@group", event, "orders"), "orders");
      const { refused, topic } = envelopes.openItem("*@group", event, "forged", true);
      assertEquals([refused !== undefined, topic], [true, "forged"]); // its dead letter keeps the topic
      assert(envelopes.openItem("*@group", event, "orders", false).refused);
    }
  });

  it("give each message its own nonce, also of two buses", () => {
    const two = [new SignedEnvelopes("n", keys, true), new SignedEnvelopes("n", keys, true)];
    const nonces = two.flatMap((each) =>
      [1, 2, 3].map(() => each.open("event", "t", each.seal("event", "t", "1")).signed!.nonce)
    );
    assertEquals(new Set(nonces).size, 6);
    const encrypted = two.flatMap((each) => [1, 2].map(() => unwrap(each.seal("event", "t", "1"))!));
    assertEquals(new Set(encrypted.map(({ body }) => body)).size, 4);
    assertEquals(new Set(encrypted.map(({ headers }) => headers["tsmq-encryption"])).size, 4);
  });

  it("read a time that is not a number as one that has long passed", () => {
    const envelopes = new SignedEnvelopes("n", keys, false);
    const { now } = Date;
    Date.now = () => ({ toString: () => "-" }) as unknown as number;
    try {
      assertEquals(envelopes.open("event", "t", envelopes.seal("event", "t", "1")).signed?.time, 0);
    } finally {
      Date.now = now;
    }
  });

  it("read hostile signatures in linear time, without an error", () => {
    const envelopes = new SignedEnvelopes("n", keys, false);
    const signature = unwrap(envelopes.seal("event", "t", "1"))!.headers["tsmq-signature"]!;
    for (const value of ["", " ", "    ", "1 k", "1 k 0 0", "1  0 0 0", " ".repeat(60_000), "1 __proto__ 0 0 0"]) {
      assert(envelopes.open("event", "t", wrap("1", { "tsmq-signature": value })).refused);
    }
    for (const value of ["", " ", "k", "k s", "k s -1", "k s zzzzzzzzzzzzzzzzzz", "k s 1 1", "k  1", "x s 1"]) {
      const secret = signature.replace("1 ", "1e ");
      const text = wrap('"AAAA"', { "tsmq-signature": secret, "tsmq-encryption": value });
      assert(envelopes.open("event", "t", text).refused);
    }
  });
});

describe("SeenEvents", () => {
  it("remembers at least the last 16,384 events, and at most twice as many", () => {
    const seen = new SeenEvents();
    for (let i = 0; i < 100_000; i++) assert(seen.add(`${i}`));
    for (let i = 100_000 - 16_384; i < 100_000; i++) assertFalse(seen.add(`${i}`));
    assert(seen.add("1"));
  });
});

describe("SeenRequests", () => {
  const called = (id: string, until: number) => ({ id, attempt: 1, deadline: until - CLOCK_SKEW });
  const add = (seen: SeenRequests, id: string, time: number, until: number) => seen.add(called(id, until), { time });

  it("remembers a request until its deadline refuses it, however many follow", () => {
    const seen = new SeenRequests();
    const later = Date.now() + 60_000;
    for (let i = 0; i < 50_000; i++) assert(add(seen, `${i}`, i, i % 2 ? later : later + 1));
    for (const id of [0, 1, 25_000, 49_999]) assertFalse(add(seen, `${id}`, id, later));
    assert(add(seen, "new", 0, later));
  });

  it("knows that a caller asks again from a later signature", () => {
    const seen = new SeenRequests();
    const call = called("a", Date.now() + 60_000);
    const times = [1, 1, 3, 2, 3, 4];
    assert(seen.add(call, { time: 1 }));
    assertEquals(times.map((time) => seen.asksAgain(call, { time })), [false, false, true, false, false, true]);
  });

  it("forgets those that are too old", () => {
    const seen = new SeenRequests();
    assert(add(seen, "old", 1, Date.now() - 1_000));
    for (let i = 0; i < 20_000; i++) add(seen, `${i}`, i, Date.now() + 60_000);
    assert(add(seen, "old", 1, Date.now() + 1_000));
  });

  it("refuses those that it has forgotten after its clock was set back", () => {
    const seen = new SeenRequests();
    const { now } = Date;
    const until = now() + 60_000;
    assert(add(seen, "old", 1, until));
    Date.now = () => until + 1;
    try {
      for (let i = 0; i < 20_000; i++) add(seen, `${i}`, i, until + 60_000);
    } finally {
      Date.now = now;
    }
    assertFalse(add(seen, "old", 1, until));
    assert(add(seen, "new", 1, until + 1));
  });

  it("refuses requests that were signed before those that it had to forget, and searches for old ones seldom", () => {
    const seen = new SeenRequests();
    const later = Date.now() + 3_600_000;
    const count = 2 ** 20 + 2 ** 14;
    const maps = Object.getPrototypeOf(TextMap.prototype) as TextMap<unknown>;
    const loop = maps[Symbol.iterator];
    let looked = 0;
    {
      using _ = stub(maps, Symbol.iterator, function (this: typeof maps) {
        looked += this.size;
        return loop.call(this);
      });
      for (let i = 1; i <= count; i++) assert(add(seen, `${i}`, i, later));
    }
    assert(looked > 0 && looked < 20 * count, `${looked} looks`); // with a search for each 16,384 of them, 66 times their number
    for (const i of [1, 100, 2 ** 14, 2 ** 14 + 1, count]) assertFalse(add(seen, `${i}`, i, later), `${i}`);
    assert(add(seen, "new", count + 1, later));
  });
});
