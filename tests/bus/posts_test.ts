import { assertEquals, assertRejects, assertStrictEquals } from "@std/assert";
import { describe, it } from "@std/testing/bdd";
import { Bus, memory } from "../../mod.ts";
import { engineOf } from "../../src/bus.ts";
import { Codec, type EventClass } from "../../src/codec/codec.ts";
import { type Envelopes, UNSIGNED } from "../../src/codec/envelope.ts";
import { textOf } from "../../src/internal/thrown.ts";
import { SignedEnvelopes } from "../../src/keys/signed_envelopes.ts";
import type { Sender } from "../../src/provider/provider.ts";
import { Posts, split } from "../../src/rpc/posts.ts";
import { CREDIT, VALUES } from "../../src/rpc/stream_messages.ts";
import { ANSWER, CANCEL, REQUEST, writeCancel, writeRequest } from "../../src/rpc/wire.ts";
import { schema } from "../support/schema.ts";
import { spy } from "../support/spy.ts";

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

/** A bus, a function that handles a text of its inbox at once, and its reports. */
async function receiving(types: EventClass[] = []) {
  const bus = await Bus.open(memory(), { namespace: "ns", types });
  const errors: string[] = [];
  bus.addEventListener("error", ({ error }) => errors.push(textOf(error)));
  const engine = engineOf(bus);
  return { bus, errors, receive: (text: string) => engine.receiveAnswer(engine.link.inbox, text) };
}

const joined = (parts: readonly string[]) => `\n${parts.join("\n")}`;
const tagged = (value: string, tag: string) => `{"__obj":${value},"__type":"${tag}"}`;
/** A bigint that cannot be restored. */
const TYPED = tagged('"x"', "tsmq:bigint");

/** Parts that no bus sends. */
const HOSTILE = {
  "no JSON": "{",
  "an object": "{}",
  "an unknown type": tagged("[]", "x"),
  "types that cannot be restored": TYPED,
  "a malformed request": tagged("[1]", REQUEST),
  "malformed values": tagged("[1]", VALUES),
  "malformed credit": tagged("[1]", CREDIT),
  "a malformed cancellation": tagged("[1]", CANCEL),
  "credit that cannot be read": tagged(`["id",1,${TYPED}]`, CREDIT),
  "a request that cannot be read": tagged(`[1,${TYPED}]`, REQUEST),
  "values of no stream that cannot be read": tagged(`["id",0,[${TYPED}]]`, VALUES),
  "an answer of no call that cannot be read": tagged(`["fn",${TYPED},"str",false,{"id":"a","server":"b"}]`, ANSWER),
};

describe("a joined message", () => {
  for (const [what, part] of Object.entries(HOSTILE)) {
    it(`is not read further after four parts that no bus sends: ${what}`, async () => {
      const { bus, errors, receive } = await receiving();
      receive(joined(Array(256).fill(part)));
      assertEquals(errors.length, 4, errors[0]);
      receive(part);
      assertEquals(errors.length, 5);
      await bus.close();
    });
  }

  it("is read to its end if a bus may have sent it: late messages, and calls whose arguments a schema refuses", async () => {
    class Order {
      static readonly topic = "shop.Order";
      static readonly schema = schema(() => ({ issues: [{ message: "no order" }] }));
    }
    const { bus, errors, receive } = await receiving([Order]);
    const ran: string[] = [];
    await bus.expose("fn", (text: string) => void ran.push(text));
    const { inbox } = engineOf(bus).link;
    const request = (args: string, deadline: number) =>
      writeRequest("fn", "", { json: args }, { id: crypto.randomUUID(), inbox, deadline });
    const soon = Date.now() + 60_000;
    const kinds = {
      "late answer": () => tagged('["fn",1,"int",false,{"id":"a","server":"b"}]', ANSWER),
      "late values": () => tagged('["id",0,[1]]', VALUES),
      "late credit": () => tagged('["id",1]', CREDIT),
      "late cancellation": () => writeCancel("id"),
      "late request": () => request('["late"]', 0),
      "refused arguments": () => request(`[${tagged("{}", "shop.Order")}]`, soon),
    };
    const reported: number[] = [];
    for (const [name, part] of Object.entries(kinds)) {
      receive(joined([...Array.from({ length: 20 }, part), request(`["after ${name}"]`, soon)]));
      reported.push(errors.splice(0).length);
    }
    assertEquals(ran, Object.keys(kinds).map((name) => `after ${name}`));
    assertEquals(reported, [0, 0, 0, 0, 20, 20]);
    await bus.close();
  });
});

describe("a message that is not reported, because there were too many", () => {
  const late = () => writeRequest("fn", "", { json: "[]" }, { id: crypto.randomUUID(), inbox: "inbox", deadline: 0 });
  const readable = Object.entries(HOSTILE).filter(([, part]) => part !== "{" && !part.includes(TYPED));
  for (
    const [what, part] of [
      ...readable.map(([what, part]) => [what, () => part] as const),
      ["a late request", late] as const,
    ]
  ) {
    it(`does not create an error: ${what}`, async () => {
      const { bus, errors, receive } = await receiving();
      for (let i = 0; i < 200; i++) receive(part());
      assertEquals(errors.length, 100);
      const created: unknown[] = [];
      const end = spy(Set.prototype, "has", created); // each error of tsmq looks up whether its code can be retried
      for (let i = 0; i < 1_000; i++) receive(part());
      end();
      assertEquals(created.filter((code) => code === "invalid" || code === "timeout").length, 0);
      await bus.close();
    });
  }
});
