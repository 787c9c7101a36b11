/** The reader of messages of SQS, beside what `JSON.parse` makes of them. */
// run: on bun
import { assertEquals } from "@std/assert";
import { describe, it } from "@std/testing/bdd";
import { stringIn } from "../../src/internal/json.ts";
import { asUntried, type Content, type Label, read, readItem, write } from "../../src/providers/aws/message.ts";
import { Names } from "../../src/providers/aws/names.ts";
import { Subscriptions } from "../../src/providers/aws/subscriptions.ts";
import type { ReceiverContext } from "../../src/provider/provider.ts";
import { colliding } from "../support/colliding.ts";
import { Random, SEED } from "../support/random.ts";
import { kept } from "../support/spy.ts";

const ARN = "arn:aws:sns:eu-central-1:123456789012:orders";

const attribute = (StringValue: string) => ({ tsmq: { DataType: "String", StringValue } });

/** Reads a message with JSON.parse. */
function parsed(body: string, value?: string): Content {
  if (value !== undefined) {
    const label: Label = JSON.parse(value);
    return { label, body: label.json ? JSON.parse(body) : body };
  }
  const { TopicArn, Message, MessageAttributes: { tsmq } = {} } = JSON.parse(body);
  const { label: { inbox: _, attempts: _attempts, ...label }, body: text } = parsed(Message, tsmq?.Value ?? "{}");
  return { label, body: text, topicArn: TopicArn };
}

describe("a message of SQS", () => {
  const random = new Random(SEED);
  const PIECES = ['"', "\\", "/", "\n", "\0", "\u007f", "é", "\u{1f600}", "\ud800", "{", "}", "[", ",", ":", " ", "a"];
  const text = () => Array.from({ length: random.int(0, 12) }, () => random.pick(PIECES)).join("");
  const shuffled = (value: object) => Object.fromEntries(Object.entries(value).sort(() => random.next() - 0.5));
  const ascii = (json: string) =>
    json.replace(/[\x7f-\uffff]/g, (unit) => `\\u${unit.charCodeAt(0).toString(16).padStart(4, "0")}`);
  const json = (value: unknown) => {
    const written = JSON.stringify(value, undefined, random.pick([undefined, 2, "\t"]));
    return random.chance(0.5) ? ascii(written) : written;
  };
  const label = () =>
    shuffled({
      ...random.chance(0.5) && { topic: text() },
      ...random.chance(0.3) && { all: true },
      ...random.chance(0.3) && { inbox: true },
      ...random.chance(0.5) && { attempts: random.int(0, 1e9) },
      ...random.chance(0.5) && { json: true },
    }) as Label;
  const others = (): object => ({
    [text()]: random.pick([null, -1.5e3, false, text(), [text(), { Type: text() }], {}]),
  });

  it("is read as JSON.parse reads it, by itself and in an envelope of SNS", () => {
    for (let i = 0; i < 5_000; i++) {
      const given = label();
      const [value, body] = [json(given), given.json ? JSON.stringify(text()) : text()];
      assertEquals(
        read({ Body: body, MessageAttributes: attribute(value) }, random.chance(0.5)),
        parsed(body, value),
        value,
      );
      const attributes = random.pick([
        undefined,
        {},
        shuffled({ tsmq: shuffled({ Type: "String", Value: value }), n: { Type: "Number", Value: "1" }, ...others() }),
      ]);
      const envelope = json(shuffled({
        ...others(),
        Type: "Notification",
        TopicArn: ARN + i,
        Message: body,
        ...attributes && { MessageAttributes: attributes },
      }));
      assertEquals(read({ Body: envelope }, true), parsed(envelope), envelope);
      assertEquals(read({ Body: envelope }, false), { label: {}, body: envelope });
    }
  });

  it("is read with a member of a later version in its label, and without what no version writes", () => {
    const of = (value: string, Body = "1") => read({ Body, MessageAttributes: attribute(value) }, true);
    assertEquals(of('{"new":{"inbox":[true]},"topic":"t","other":null}'), { label: { topic: "t" }, body: "1" });
    for (
      const wrong of ["", "1", "null", "[]", '"topic"', "{", '{"topic":"t"', '{"topic":"t"}}', '{"topic":"t"}1', "{]x"]
    ) {
      assertEquals(of(wrong), { label: {}, body: "1" }, wrong);
    }
    for (const wrong of ['{"topic":1}', '{"topic":null}', '{"topic":"\\x"}', '{"attempts":-1}', '{"inbox":"true"}']) {
      assertEquals(of(wrong), { label: {}, body: "1" }, wrong);
    }
    for (const body of ["", "1", "[]", '"', '"a', 'a"', '"a"b"', '"\n"', '"\\"', '"\\u12"', '"a""']) {
      assertEquals(of('{"json":true}', body), { label: {}, body }, body);
    }
    const notification = `"Type":"Notification","TopicArn":"${ARN}"`;
    for (const body of [`{${notification}}`, `{${notification},"Message":1}`, `{${notification},"Message":"a" "b"}`]) {
      assertEquals(read({ Body: body }, true), { label: {}, body });
    }
  });

  it("strings are decoded as JSON.parse does", () => {
    const broken = ["\\u", "\\u00e", "\\x", "\\u00E9", "\\ud83d\\ude00", "\\/", "\\b\\f\\n\\r\\t", '\\"', "\\\\", '"'];
    for (let i = 0; i < 5_000; i++) {
      const pieces = Array.from({ length: random.int(0, 6) }, () => random.pick([...broken, ...PIECES]));
      const written = `"${pieces.join("")}"`;
      let expected: unknown;
      try {
        expected = JSON.parse(written);
      } catch {
        // no JSON
      }
      assertEquals(stringIn(written), expected, written);
    }
  });

  it("that no handler has started keeps its label, and counts its attempts", () => {
    const { body, attributes } = write("\0", { topic: "t", all: true }, "publish");
    const message = { Body: body, MessageAttributes: attributes!, Attributes: { ApproximateReceiveCount: "3" } };
    const again = asUntried(message);
    assertEquals(readItem({ Body: again.body, MessageAttributes: again.attributes }), {
      body: "\0",
      attempt: 3,
      topic: "t",
    });
    assertEquals(JSON.parse(again.attributes!.tsmq!.StringValue!), { topic: "t", all: true, json: true, attempts: 2 });
  });

  it("leaves none of its texts in the tables of the engine", () => {
    const [name, ...names] = colliding(20);
    const object = JSON.stringify(Object.fromEntries(names.map((name) => [name, name])));
    const envelope = (value: object) => JSON.stringify({ Type: "Notification", TopicArn: ARN, ...value });
    const bodies = [
      object,
      JSON.stringify(name),
      envelope(JSON.parse(object)),
      envelope({ Message: object, MessageAttributes: JSON.parse(object) }),
      envelope({ Message: name, MessageAttributes: { tsmq: { Value: `{"topic":"${name}","json":true}` } } }),
      envelope({ Message: "1", TopicArn: `${ARN}${name}` }),
    ];
    const subscriptions = new Subscriptions(new Names("n"), {} as ReceiverContext, new AbortController().signal);
    subscriptions.add({ topic: "t", pattern: false, serves: false }, () => {});
    const labels = [
      undefined,
      object,
      '{"json":true}',
      `{"topic":"${name}"}`,
      `{"json":true,"topic":"${name}","x":"${name}"}`,
    ];
    for (const Body of bodies) {
      for (const value of labels) {
        const message = { Body, ...value !== undefined && { MessageAttributes: attribute(value) } };
        const uses = kept(() => {
          const content = read(message, true);
          if (content.topicArn && content.label.topic === undefined) subscriptions.emit(content);
          readItem(message);
          asUntried(message);
        });
        assertEquals(uses, [], `${Body} ${value}`);
      }
    }
  });
});
