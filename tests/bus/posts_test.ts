import { assertEquals, assertRejects, assertStrictEquals } from "@std/assert";
import { describe, it } from "@std/testing/bdd";
import { Bus, memory } from "../../mod.ts";
import { engineOf } from "../../src/bus.ts";
import { Codec } from "../../src/codec/codec.ts";
import { type Envelopes, UNSIGNED } from "../../src/codec/envelope.ts";
import { RawClient } from "../../src/conformance/raw_client.ts";
import { SignedEnvelopes } from "../../src/keys/signed_envelopes.ts";
import type { Sender } from "../../src/provider/provider.ts";
import { Posts, split } from "../../src/rpc/posts.ts";
import { writeCancel, writeRequest } from "../../src/rpc/wire.ts";
import { until } from "../support/until.ts";

/** Posts, and what they have sent. Each message has this outcome. */
function posting(outcome: () => Promise<boolean>, maxJoined?: number, envelopes: Envelopes = UNSIGNED) {
  const sent: [inbox: string, message: string][] = [];
  const post = (inbox: string, message: string) => {
    sent.push([inbox, message]);
    return outcome();
  };
  return { posts: new Posts({ post, maxJoined } as unknown as Sender, envelopes), sent };
}

const arrived = () => Promise.resolve(true);

/** Returns the texts of messages whose values have marks, and line feeds in strings. */
function messages(): string[] {
  const codec = new Codec();
  const requests = [[new Date(0)], ["a\n{b"], [new Set([1]), new Map([["\n{", 1n]])], []].map((args, i) =>
    writeRequest("fn\n{", "", codec.write(args), { id: String(i), inbox: "\n{", deadline: 1 })
  );
  return [...requests, writeCancel("id")];
}

const secret = { id: "a", secret: "a secret of at least 32 characters" };

describe("Posts", () => {
  for (
    const [name, envelopes] of Object.entries({
      "without keys": UNSIGNED,
      signed: new SignedEnvelopes("ns", [secret], false),
      encrypted: new SignedEnvelopes("ns", [secret], true),
    })
  ) {
    it(`joins the messages of one turn to an inbox that reads them, in order, ${name}`, async () => {
      const { posts, sent } = posting(arrived, 10_000, envelopes);
      posts.joins("reads");
      const texts = messages();
      const outcomes = texts.flatMap((text) => [posts.post("reads", text), posts.post("other", text)]);
      assertEquals(await Promise.all(outcomes), outcomes.map(() => true));
      await posts.post("reads", "{}");
      const opened = (to: string) =>
        sent.filter(([inbox]) => inbox === to).map(([, text]) => envelopes.open("inbox", to, text)?.body ?? text);
      assertEquals(opened("reads").map(split), [texts, ["{}"]]);
      assertEquals(opened("other"), texts);
    });
  }

  it("gives each message the outcome of the joined one", async () => {
    const gone = posting(() => Promise.resolve(false), 100);
    gone.posts.joins("inbox");
    assertEquals(await Promise.all([gone.posts.post("inbox", "{}"), gone.posts.post("inbox", "{}")]), [false, false]);
    const error = new Error("lost");
    const lost = posting(() => Promise.reject(error), 100);
    lost.posts.joins("inbox");
    for (const outcome of [lost.posts.post("inbox", "{}"), lost.posts.post("inbox", "{}")]) {
      assertStrictEquals(await assertRejects(() => outcome), error);
    }
    assertEquals(lost.sent.length, 1);
  });

  it("sends a message of any length, in order, and joins only up to the limit of the transport", async () => {
    const { posts, sent } = posting(arrived, 10);
    posts.joins("inbox");
    const texts = ["{1}", "{2}", "{3}", `{"${"4".repeat(20)}"}`, "{5}"];
    await Promise.all(texts.map((text) => posts.post("inbox", text)));
    assertEquals(sent.map(([, message]) => message), ["\n{1}\n{2}", "{3}", texts[3], "{5}"]);
    const none = posting(arrived);
    none.posts.joins("inbox");
    await Promise.all(texts.map((text) => none.posts.post("inbox", text)));
    assertEquals(none.sent.map(([, message]) => message), texts);
  });

  it("does not read the rest of a joined message after four parts that cannot be read", async () => {
    const provider = memory();
    await using bus = await Bus.open(provider, { namespace: "ns" });
    const client = await RawClient.open(provider, bus.namespace);
    const errors: string[] = [];
    bus.addEventListener("error", (event) => errors.push((event.error as Error).message));
    const { inbox } = engineOf(bus).link;
    const unknown = '{"__obj":[],"__type":"x"}';
    await client.sender.post(inbox, `\n${unknown}\n{\n${unknown}${"\n{".repeat(100)}\n${unknown}`);
    await client.sender.post(inbox, unknown);
    await until("all are read", () => errors.length >= 7);
    const kinds = errors.map((text) => /unknown message type|JSON/.exec(text)?.[0]);
    const json = ["JSON", "JSON", "JSON"];
    const other = "unknown message type";
    assertEquals(kinds, [other, "JSON", other, ...json, other], errors.join("\n"));
    await client.close();
  });

  it("keeps the order of the messages to an inbox that is forgotten because others join", async () => {
    const { posts, sent } = posting(arrived, 1_000);
    posts.joins("first");
    const posted = [posts.post("first", "{1}")];
    for (let i = 0; i < 10_000; i++) posts.joins(`inbox ${i}`);
    posted.push(posts.post("first", "{2}"));
    await Promise.all(posted);
    assertEquals(sent, [["first", "{1}"], ["first", "{2}"]]);
  });

  it("rejects the messages of one inbox if the sender throws, and posts the others", async () => {
    let calls = 0;
    const { posts, sent } = posting(() => {
      if (calls++ === 0) throw new Error("on purpose");
      return arrived();
    }, 1_000);
    posts.joins("a");
    posts.joins("b");
    const outcomes = await Promise.allSettled([posts.post("a", "{1}"), posts.post("b", "{2}")]);
    assertEquals(outcomes.map(({ status }) => status), ["rejected", "fulfilled"]);
    assertEquals(sent.length, 2);
  });

  it("splits only a message of as many parts as it joins", () => {
    const message = (count: number) => "\n{}".repeat(count);
    assertEquals(split(message(256)).length, 256);
    assertEquals(split(message(257)), [message(257)]);
    assertEquals(split("{}\n{}"), ["{}\n{}"]);
  });
});
