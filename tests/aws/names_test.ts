// run: on bun
import { assert, assertEquals, assertFalse, assertMatch, assertNotEquals } from "@std/assert";
import { describe, it } from "@std/testing/bdd";
import { mergePolicies, policyOf } from "../../src/providers/aws/bus_queue.ts";
import { escapeName, Names, unescapeName } from "../../src/providers/aws/names.ts";

const global = new Names("global");

describe("names", () => {
  it("topic() escapes as PyMQ 0.5 does", () => {
    assertEquals(global.topic("shop.events.OrderPlaced"), "shop_DOT_events_DOT_OrderPlaced");
    assertEquals(global.topic("a/b:c<d>*"), "a_FWS_b_COL_c_LT_d_GT__WCD_");
    assertEquals(global.topic("plain-name_1"), "plain-name_1");
  });

  it("topic() writes any Unicode", () => {
    assertEquals(global.topic("é😀 "), "_UE9__U1F600__U20_");
    assertEquals(unescapeName("_UE9__U1F600__U20_"), "é😀 ");
  });

  it("no two names have the same encoding, even with markers in them", () => {
    const pieces = [".", "_", "_DOT_", "DOT_", "_DOT", "a", "_U2E_", "U2E", "_NS_", "_RPC_", "_ALL_", "é", "/"];
    const seen = new Map<string, string>();
    const check = (name: string) => {
      const written = escapeName(name);
      assertMatch(written, /^[A-Za-z0-9_-]+$/);
      assertEquals(unescapeName(written), name);
      assertEquals(seen.get(written) ?? name, name, `${written} is written for two names`);
      seen.set(written, name);
    };
    for (const a of pieces) {
      for (const b of pieces) for (const c of pieces) for (const d of ["", ...pieces]) check(a + b + c + d);
    }
    // different pieces can form the same name, so there are fewer names than attempts
    assertEquals(new Set(seen.values()).size, seen.size);
  });

  it("names of other namespaces, registry topics and the topic of all events never equal a name of this namespace", () => {
    const shop = new Names("shop");
    const written = new Set<string>();
    const names = ["x", "_NS_shop_NS_x", "shop_NS_x", "x_RPC_", "_ALL_", "_NS_shop_NS__ALL_", "NS_x", "_NS_x"];
    for (const space of [global, shop, new Names("shop_NS"), new Names("shop_NS_x"), new Names("a.b")]) {
      for (const name of [...names.flatMap((name) => [space.topic(name), space.registry(name)]), space.all]) {
        assertEquals(written.has(name), false, `${name} is written twice`);
        written.add(name);
      }
    }
  });

  it("long names end in a hash, within 256 and 80 characters", () => {
    const long = "é".repeat(300);
    for (const space of [global, new Names("n".repeat(500)), new Names("ü".repeat(50))]) {
      for (const name of [long, `${long}.fifo`, "q".repeat(79), "q".repeat(80), "q".repeat(81)]) {
        assertMatch(space.registry(name), /^[\w-]{1,256}$/);
        assertMatch(space.queue(name), /^[\w-]{1,80}$|^(?=.{1,80}$)[\w-]+\.fifo$/);
      }
      assertNotEquals(space.topic(long), space.topic(`${long}x`));
      assertNotEquals(space.queue(long), space.queue(`${long}x`));
      assertMatch(space.bus(), /^tsmq-[\w-]{1,42}-?[0-9a-f]{32}$/);
      assertEquals(space.bus().length <= 80, true);
    }
    assertNotEquals(new Names("n".repeat(500)).topic("x"), new Names("n".repeat(501)).topic("x"));
  });

  it("no bus of a namespace that looks like the hash of a long one belongs to it", () => {
    for (const long of ["n".repeat(41), "ü".repeat(50)]) {
      const { busPrefix } = new Names(long);
      const other = new Names(busPrefix.slice("tsmq-".length, -1));
      assertNotEquals(other.busPrefix, busPrefix);
      assertFalse(other.ownsBus(new Names(long).bus()));
      assertMatch(other.bus(), /^tsmq-[0-9a-f]{40}-[0-9a-f]{32}$/);
    }
    const near = ["0".repeat(39), "A".repeat(40), "g".repeat(40)];
    for (const name of near) assertEquals(new Names(name).busPrefix, `tsmq-${name}-`);
  });

  it("a name that looks like a hash is not read as one", () => {
    const hashed = global.topic("y".repeat(400));
    assertEquals(unescapeName(hashed), undefined);
    assertNotEquals(global.topic(hashed), hashed);
    assertEquals(unescapeName(global.topic(hashed.slice(-80))), hashed.slice(-80));
  });

  it("a name that another client has made of half a character is not read", () => {
    assertEquals(global.queueOf("_UD83D__UDE00_"), undefined);
    assertEquals(global.queueOf("_U1F600_"), "\u{1f600}");
  });

  it("queue() keeps the bare name as PyMQ does, and .fifo", () => {
    assertEquals(global.queue("jobs"), "jobs");
    assertEquals(global.queue("jobs.fifo"), "jobs.fifo");
    assertEquals(global.queue("a/b.fifo"), "a_FWS_b.fifo");
    assertEquals(global.queue(".fifo"), "_DOT_fifo");
    assertEquals(new Names("shop").queue("jobs"), "_NS_shop_NS_jobs");
  });

  it("no name of `global` begins as those of the other namespaces do, and its policies refuse these", () => {
    for (const name of ["_NS_", "_NS_shop_NS_jobs", "_", "_NS_" + "x".repeat(300)]) {
      assert(!global.topic(name).startsWith("_NS_"), global.topic(name));
      assert(!global.queue(name).startsWith("_NS_"), global.queue(name));
    }
    const arn = "arn:aws:sns:eu-central-1:123456789012:";
    const topics = (names: Names) => Array.from({ length: 200 }, (_, i) => arn + names.topic(`orders/created/${i}`));
    const conditions = (names: Names) =>
      JSON.parse(policyOf("queue", topics(names), arn, names.prefix)).Statement.map((each: { Condition: unknown }) =>
        each.Condition
      );
    assertEquals(conditions(global), [{
      ArnLike: { "aws:SourceArn": `${arn}*` },
      ArnNotLike: { "aws:SourceArn": `${arn}_NS_*` },
    }]);
    assertEquals(conditions(new Names("shop")), [{ ArnLike: { "aws:SourceArn": `${arn}_NS_shop_NS_*` } }]);
  });

  it("a policy of tsmq leaves the statements of others, and takes the place of its earlier one", () => {
    const ours = (topic: string) => policyOf("queue", [topic], "arn:", "");
    const [first] = JSON.parse(ours("a")).Statement;
    const [second] = JSON.parse(ours("b")).Statement;
    const theirs = { Sid: "theirs", Effect: "Allow", Action: "sqs:SendMessage", Principal: "*", Resource: "queue" };
    for (const none of [undefined, "", "{", "null"]) assertEquals(mergePolicies(none, ours("a")), ours("a"));
    assertEquals(mergePolicies(ours("a"), ours("b")), ours("b"));
    const merged = mergePolicies(JSON.stringify({ Version: "2008-10-17", Id: "mine", Statement: theirs }), ours("a"));
    assertEquals(JSON.parse(merged), { Version: "2008-10-17", Id: "mine", Statement: [first, theirs] });
    assertEquals(JSON.parse(mergePolicies(merged, ours("b"))).Statement, [second, theirs]);
  });

  it("queue() never gives a queue the name of a bus's own", () => {
    const own = global.bus();
    assertNotEquals(global.queue(own), own);
    assertEquals(global.queue("tsmq-x").startsWith("tsmq-"), false);
    assertNotEquals(global.queue("tsmq-x"), global.queue("_U74_smq-x"));
  });
});
