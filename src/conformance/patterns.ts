/**
 * Patterns and names: patterns are globs as Redis matches them, and a name is any text.
 *
 * @module
 */
import type { Bus } from "../bus.ts";
import { ValidationError } from "../errors.ts";
import type { Message } from "../pubsub/topic.ts";
import { equal, rejects } from "./assert.ts";
import type { Cases } from "./cases.ts";

/** Globs, each with topics that it matches and topics that it does not match. */
const GLOBS: readonly (readonly [glob: string, matched: readonly string[], unmatched: readonly string[]])[] = [
  ["*", ["a", "a/b", "a.b:c", "☃", " "], []],
  ["a*", ["a", "ab", "a/b/c", "a*"], ["b", "ba", "A"]],
  ["*c", ["c", "abc", "a/b/c"], ["cb"]],
  ["a*c", ["ac", "abc", "a/b/c"], ["a", "acb"]],
  ["a*b*c", ["abc", "a/b/c", "abbc"], ["acb"]],
  ["**", ["a", "a/b"], []],
  ["a?c", ["abc", "a/c", "a?c"], ["ac", "abbc"]],
  ["a??", ["abc", "a/c"], ["ab", "abcd"]],
  ["a/?/c", ["a/b/c"], ["a/bb/c", "a//c"]],
  ["[ab]", ["a", "b"], ["c", "ab", "[ab]"]],
  ["a[b/]c", ["abc", "a/c"], ["adc"]],
  ["[^a]", ["b", "^"], ["a", "bc"]],
  ["[!a]", ["!", "a"], ["b"]],
  ["[a-c]x", ["ax", "bx", "cx"], ["dx", "-x"]],
  ["[c-a]x", ["ax", "bx", "cx"], ["dx"]],
  ["[^a-c]x", ["dx", "-x"], ["ax"]],
  ["[0-9][0-9]", ["42"], ["4", "4a"]],
  ["[-a]", ["a", "-"], ["b"]],
  ["[a-]", ["a"], ["-", "b"]],
  ["[\\]]", ["]"], ["\\"]],
  ["a\\*", ["a*"], ["ab", "a\\*"]],
  ["a\\?c", ["a?c"], ["abc"]],
  ["\\[ab]", ["[ab]"], ["a"]],
  ["a\\b", ["ab"], ["a\\b"]],
  ["a\\\\b", ["a\\b"], ["ab"]],
  ["no glob at all", ["no glob at all"], ["no glob"]],
  ["a.c", ["a.c"], ["abc"]],
  ["(a|b)+$^{c}", ["(a|b)+$^{c}"], ["a"]],
  ["☃*", ["☃", "☃☃"], ["*"]],
  ["shop/*/order[0-9]*", ["shop/eu/order7", "shop/eu/de/order77/paid"], ["shop/order7", "shop/eu/orders"]],
];

/** Valid names of topics, queues and functions. */
export const NAMES: readonly string[] = [
  "plain",
  "with space",
  " ",
  "a/b/c",
  "/",
  "//",
  "..",
  "../..",
  ".",
  "a:b:c",
  "a.b.c",
  "*",
  "a*",
  "?",
  "[a]",
  "\\",
  "%2F",
  "%",
  "#$&+,;=@!'()~`^|<>",
  '"quoted"',
  "line\nbreak\ttab\rreturn",
  "\u0001\u007f",
  "ünïcödé",
  "日本語",
  "☃🧊👩‍👩‍👧",
  "\u{10ffff}",
  "UPPER",
  "upper",
  "-",
  "_",
  "--help",
  "0",
  "null",
  "constructor",
  "__proto__",
  "toString",
  "_WCD_",
  "__eventbus:global:x",
  "x".repeat(300),
  "/".repeat(300),
  "長い".repeat(500),
];

/** Cases about globs and names. */
export const patterns: Cases = {
  "a glob matches as in Redis": async (t) => {
    const [publisher, bus] = await t.buses(2) as [Bus, Bus];
    const topics = [...new Set(GLOBS.flatMap(([, matched, unmatched]) => [...matched, ...unmatched]))];
    const logs = await Promise.all(GLOBS.map(async ([glob]) => {
      const seen = t.collect<string>(`what "${glob}" matched`);
      await bus.subscribe(glob, (_, message) => seen.add(message.topic), { pattern: true }).ready;
      return seen;
    }));
    await Promise.all(topics.map((topic) => publisher.publish("x", topic)));
    for (const [i, [, matched]] of GLOBS.entries()) await logs[i]!.count(matched.length);
    await t.quiet();
    for (const [i, [glob, matched, unmatched]] of GLOBS.entries()) {
      const got = logs[i]!.values;
      equal(matched.filter((topic) => !got.includes(topic)), [], `what "${glob}" should match and did not`);
      equal(unmatched.filter((topic) => got.includes(topic)), [], `what "${glob}" matched and should not`);
      equal(got.length, new Set(got).size, `the number of events that "${glob}" matched`);
    }
  },

  "a glob matches byte by byte, as in Redis": async (t) => {
    const bus = await t.open();
    const seen = t.collect<string>();
    for (const glob of ["caf?", "caf??"]) {
      bus.subscribe(glob, (_, { topic }) => seen.add(`${glob} ${topic}`), { pattern: true });
    }
    await bus.publish("x", "café");
    await bus.publish("x", "cafe");
    equal(new Set(await seen.count(2)), new Set(["caf?? café", "caf? cafe"]));
    await t.quiet();
    equal(seen.values.length, 2);
  },

  "without pattern, a glob is a name like any other": async (t) => {
    const bus = await t.open();
    const seen = t.collect<string>();
    bus.subscribe("a*", (_, { topic }) => seen.add(topic));
    for (const topic of ["ab", "a*", "a"]) await bus.publish("x", topic);
    await seen.are(["a*"]);
    await t.quiet();
    equal(seen.values, ["a*"]);
  },

  "a handler of a pattern receives the concrete topic and the type": async (t) => {
    const bus = await t.open();
    class Order {
      static readonly topic = "shop/order";
    }
    const seen = t.collect<Omit<Message, "headers">>();
    bus.subscribe("shop/*", (_, { headers: _headers, ...message }) => seen.add(message), { pattern: true });
    await bus.publish("x", "shop/news");
    await seen.count(1);
    await bus.publish(new Order());
    await seen.are([{ topic: "shop/news" }, { topic: "shop/order", type: "shop/order" }]);
  },

  "subscriptions by name and by pattern each receive the event once": async (t) => {
    const bus = await t.open();
    const seen = t.collect<string>();
    const globs = ["shop/*", "*", "shop/order", "[s]hop/order"];
    for (const glob of globs) bus.subscribe(glob, () => seen.add(glob), { pattern: true });
    bus.subscribe("shop/order", () => seen.add("name"));
    await bus.publish("x", "shop/order");
    equal(new Set(await seen.count(5)), new Set([...globs, "name"]));
    await t.quiet();
    equal(seen.values.length, 5);
  },

  "a topic can be a pattern, which can be subscribed to but not published to": async (t) => {
    const bus = await t.open();
    const seen = t.collect<string>();
    const topic = bus.topic<string>("shop/*", { pattern: true });
    topic.subscribe((_, message) => seen.add(message.topic));
    bus.subscribe(topic, (_, message) => seen.add(message.topic));
    await bus.publish("x", "shop/eu");
    await seen.are(["shop/eu", "shop/eu"]);
    await rejects(() => topic.publish("x"), ValidationError, "invalid", "topic.publish()");
    await rejects(() => bus.publish("x", topic), ValidationError, "invalid", "publish()");
  },

  "unsubscribe() ends a pattern": async (t) => {
    const bus = await t.open();
    const seen = t.collect<string>();
    const handlers = ["text", "topic", "subscription"].map((how) => () => seen.add(how));
    const [byText, byTopic, bySubscription] = handlers as [() => void, () => void, () => void];
    bus.subscribe("a*", byText, { pattern: true });
    bus.subscribe("a*", byTopic, { pattern: true });
    const subscription = bus.subscribe("a*", bySubscription, { pattern: true });
    equal({ topic: subscription.topic, pattern: subscription.pattern }, { topic: "a*", pattern: true });
    await bus.publish("x", "ab");
    await seen.count(3);
    await bus.unsubscribe("a*", byText);
    await bus.unsubscribe(bus.topic("a*", { pattern: true }), byTopic);
    await subscription.unsubscribe();
    await bus.publish("x", "ab");
    await t.quiet();
    equal(seen.values.length, 3);
  },

  "any text can be a topic": async (t) => {
    const [publisher, bus] = await t.buses(2) as [Bus, Bus];
    const seen = t.collect<[string, string]>();
    await Promise.all(NAMES.map((name) => bus.subscribe(name, (_, { topic }) => seen.add([name, topic])).ready));
    await Promise.all(NAMES.map((name) => publisher.publish("x", name)));
    await seen.count(NAMES.length);
    await t.quiet();
    equal(seen.values.filter(([name, topic]) => name !== topic), [], "the topics that were mixed up");
    equal(new Set(seen.values.map(([name]) => name)), new Set(NAMES));
    equal(seen.values.length, NAMES.length);
  },
};
