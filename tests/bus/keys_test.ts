/** Keys: what a peer without them can do to a bus that has them. */
// run: on deno
import { assert, assertEquals, assertRejects } from "@std/assert";
import {
  Bus,
  type BusError,
  type BusOptions,
  type CallToAuthorize,
  type DeadLetter,
  memory,
  RpcError,
  TimeoutError,
  ValidationError,
} from "../../mod.ts";
import { unwrap, wrap } from "../../src/codec/envelope.ts";
import { RawClient } from "../../src/conformance/raw_client.ts";
import { writeRequest } from "../../src/rpc/wire.ts";
import { spy } from "../support/spy.ts";
import { until } from "../support/until.ts";
import { key, KEYS, scene, type Sent } from "./attacked.ts";
import { beside, fresh, onEach } from "./grounds.ts";

onEach("a bus with keys", (ground) => {
  const it = beside(ground);
  for (const encrypt of [false, true]) {
    const how = encrypt ? "encrypted" : "signed";

    it(`exchanges ${how} events, items and calls, with their types and headers`, async () => {
      await using all = await scene(ground, { encrypt });
      const { bus, caller, tapped } = all;
      const seen: unknown[] = [];
      await bus.subscribe("t", (event, { headers }) => seen.push([event, { ...headers }])).ready;
      await bus.subscribe("t*", (event) => seen.push(event), { pattern: true }).ready;
      await caller.publish(new Date(5), "t", { headers: { tenant: "acme-tenant", "1": "}" } });
      await until("both have seen it", () => seen.length === 2);
      assertEquals(seen.filter(Array.isArray), [[new Date(5), { tenant: "acme-tenant", "1": "}" }]]);
      const queue = caller.queue<unknown>("q");
      await queue.put(new Map([[1, "secret-item"]]), { headers: { tenant: "acme-tenant" } });
      const [peeked] = await queue.peek();
      assertEquals(peeked?.item, new Map([[1, "secret-item"]]));
      const lease = await bus.queue("q").receive();
      assertEquals([lease.item, { ...lease.headers }], [new Map([[1, "secret-item"]]), { tenant: "acme-tenant" }]);
      await lease.ack();
      await bus.expose("f", (text: string) => `${text} secret-answer`);
      assertEquals(await caller.stub("f")("secret-argument"), "secret-argument secret-answer");
      const all2 = await caller.stub("f", { multi: true })("secret-argument");
      assertEquals(all2, [{ status: "fulfilled", value: "secret-argument secret-answer" }]);
      const text = JSON.stringify([tapped.published, tapped.posted, tapped.put]);
      assertEquals(/secret|acme/.test(text), !encrypt);
      assertEquals([bus.health().refused, bus.health().repeated, all.errors], [0, 0, []]);
    });

    it(`refuses forged, moved and altered ${how} events, counts them, and reports them`, async () => {
      await using all = await scene(ground, { encrypt });
      const { bus, caller, tapped, attacker, refused } = all;
      const seen: unknown[] = [];
      await bus.subscribe("t", (event) => seen.push(event)).ready;
      await bus.subscribe("other", (event) => seen.push(event)).ready;
      await caller.publish({ pay: 1 }, "t", { headers: { to: "ada" } });
      await until("it has arrived", () => seen.length === 1);
      const [, text] = tapped.published[0]!;
      const { body, headers } = unwrap(text)!;
      const signature = headers["tsmq-signature"]!;
      const forged = [
        '{"pay":2}', // never signed
        body, // the signature is removed
        wrap('{"pay":2}', headers),
        wrap(body, { ...headers, "tsmq-signature": signature.replace(" a ", " b ") }), // an unknown key
        wrap(body, { ...headers, "tsmq-signature": `${signature.slice(0, -4)}AAAA` }),
        wrap(body, { ...headers, "tsmq-signature": signature.replace(/^1e?/, encrypt ? "1" : "1e") }),
        wrap(body, { ...headers, "tsmq-signature": signature.slice(0, -1) }),
        wrap(body, { ...headers, "tsmq-signature": `${signature} x` }),
        wrap(body, { ...headers, "tsmq-signature": "1" }),
        wrap(body, { ...headers, "tsmq-encryption": "a s 1" }),
        ...encrypt ? [] : [
          wrap(body, { ...headers, to: "eve" }),
          wrap(body, { "tsmq-signature": signature }),
          wrap(wrap(body, { to: "ada" }), { "tsmq-signature": signature }),
        ],
      ];
      for (const each of forged) await attacker.publish("t", each);
      await attacker.publish("other", text);
      await refused(forged.length + 1);
      await caller.publish("last", "t");
      await until("the next one arrives", () => seen.length > 1);
      assertEquals(seen, [{ pay: 1 }, "last"]);
      assertEquals(all.errors.length, forged.length + 1);
      assert(all.errors[0] instanceof ValidationError);
      assertEquals(all.errors[0].message, 'Cannot accept an event on "t": it is not signed');
    });

    it(`parses nothing that an attacker adds to ${how} events, items, requests and answers`, async () => {
      await using all = await scene(ground, { encrypt });
      const { bus, caller, tapped, attacker } = all;
      const seen: unknown[] = [];
      const last = (value: unknown) => until("the last one arrives", () => seen.includes(value));
      await bus.subscribe("t", (event) => seen.push(event)).ready;
      await bus.expose("f", (n: number) => n * 2);
      await caller.publish("event", "t", { headers: { to: "ada" } });
      await caller.queue("q").put("item", { headers: { to: "ada" } });
      assertEquals(await caller.stub("f")(2), 4);
      assertEquals(await caller.stub("f", { multi: true })(2), [{ status: "fulfilled", value: 4 }]);
      await last("event");
      const chosen = "x-chosen-by-a-peer";
      const topic = `"tsmq-topic":"${chosen}"`;
      const altered = (text: string) =>
        [topic, `${topic},${topic}`, `"${chosen}":""`].map((more) => text.replace('"__tsmq":{', `"__tsmq":{${more},`));
      const [published, put, posted] = [tapped.published, tapped.put, tapped.posted].map((sent) =>
        sent.flatMap(([name, text]) => altered(text).map((other) => [name, other] as const))
      ) as [Sent[], Sent[], Sent[]];
      assert(published.length >= 6 && put.length >= 3 && posted.length >= 9);
      const uses: unknown[] = [];
      const end = spy(JSON, "parse", uses);
      try {
        for (const [name, text] of published) await attacker.publish(name, text);
        for (const [name, text] of put) await attacker.put(name, text);
        for (const [name, text] of posted) await attacker.sender.post(name, text);
        await caller.publish("last event", "t");
        await last("last event");
        const consumer = bus.queue("q").consume((item) => void seen.push(item));
        await caller.queue("q").put("last item");
        await last("last item");
        await consumer.close();
        assertEquals(await caller.stub("f")(3), 6);
      } finally {
        end();
      }
      assertEquals(uses.filter((use) => String(use).includes(chosen)), []);
      assertEquals([await bus.queue("q").dead.size(), seen.filter((each) => each === "event")], [2, ["event"]]);
    });

    it(`drops ${how} events that arrive again, and does not report them`, async () => {
      await using all = await scene(ground, { encrypt });
      const { bus, caller, tapped, attacker } = all;
      const seen: unknown[] = [];
      await bus.subscribe("t", (event) => seen.push(event)).ready;
      for (let i = 0; i < 3; i++) await caller.publish(i, "t");
      for (const [, text] of tapped.published.slice()) await attacker.publish("t", text);
      await until("they are counted", () => bus.health().repeated === 3);
      assertEquals([seen, all.errors, bus.health().refused], [[0, 1, 2], [], 0]);
    });

    it(`moves ${how} items that were forged or moved to the dead letters, for each way to take them`, async () => {
      await using all = await scene(ground, { encrypt });
      const { bus, caller, tapped, attacker, refused } = all;
      const queue = bus.queue<unknown>("q");
      const dead = async (count: number) => {
        await until("they are dead letters", async () => await queue.dead.size() === count);
      };
      await caller.queue("source").put({ pay: 1 }, { headers: { to: "ada" } });
      const [, text] = tapped.put[0]!;
      const forge = async () => {
        await attacker.put("q", '{"pay":2}');
        await attacker.put("q", text); // of another queue
        await caller.queue("q").put("good");
      };
      await forge();
      assertEquals((await queue.peek()).map(({ item, error }) => error ? error.name : item), [
        "ValidationError",
        "ValidationError",
        "good",
      ]);
      assertEquals(await queue.get(), "good");
      await dead(2);
      await forge();
      await using lease = await queue.receive();
      assertEquals([lease.item, lease.attempt], ["good", 1]);
      await lease.ack();
      await dead(4);
      await forge();
      const taken: unknown[] = [];
      for await (const item of queue) {
        taken.push(item);
        break;
      }
      await dead(6);
      await forge();
      const consumer = queue.consume((item) => void taken.push(item));
      await until("the good one is handled", () => taken.length === 2);
      await dead(8);
      await consumer.close();
      assertEquals(taken, ["good", "good"]);
      await refused(8);
      assertEquals(all.errors.length, 8);
      // a retry does not make them good
      const [letter] = await queue.dead.peek({ limit: 1 });
      assertEquals(letter?.item?.unreadable, true);
      assertEquals(await queue.dead.retry(), 8);
      const stop = new AbortController();
      const got = assertRejects(() => queue.get({ signal: stop.signal }));
      await dead(8);
      stop.abort();
      await got;
      await refused(16);
    });

    it(`keeps the first signature of an item in its dead letters, and when they are retried: ${how}`, async () => {
      await using all = await scene(ground, { encrypt });
      const { bus, caller, tapped } = all;
      const stamp = (text: string) => /"tsmq-signature":"([^"]*)"/.exec(text)![1];
      await caller.queue("q").put({ pay: 1 }, { headers: { to: "ada" } });
      const queue = bus.queue<unknown>("q");
      const first = stamp(tapped.put[0]![1]);
      for (let round = 0; round < 2; round++) {
        const consumer = queue.consume(() => {
          throw new Error("no");
        }, { maxAttempts: 1 });
        await until("it is a dead letter", async () => await queue.dead.size() === 1);
        await consumer.close();
        const [letter] = await queue.dead.peek();
        assertEquals([letter?.item?.item, { ...letter?.headers }], [{ pay: 1 }, { to: "ada" }]);
        // a dead letter of a dead letter
        const letters = bus.queue<DeadLetter>("q.dead");
        const failing = letters.consume(() => {
          throw new Error("no");
        }, { maxAttempts: 1 });
        await until("the letter is a dead letter", async () => await letters.dead.size() === 1);
        await failing.close();
        assertEquals(await letters.dead.retry(), 1);
        assertEquals(await queue.dead.retry(), 1);
        assertEquals(stamp(tapped.put.at(-1)![1]), first);
      }
      const lease = await queue.receive();
      assertEquals([lease.item, { ...lease.headers }], [{ pay: 1 }, { to: "ada" }]);
      await lease.ack();
      assertEquals(bus.health().refused, 0);
    });

    it(`runs no call of an attacker, and does not run a call twice that arrives again: ${how}`, async () => {
      await using all = await scene(ground, { encrypt });
      const { bus, caller, tapped, attacker, refused } = all;
      const runs: string[] = [];
      await bus.expose("f", (text: string) => void runs.push(`f ${text}`));
      await bus.expose("g", (text: string) => void runs.push(`g ${text}`));
      const other = await all.open();
      await other.expose("g", (text: string) => void runs.push(`other ${text}`));
      await caller.stub("f")("1");
      const [server, request] = tapped.posted.filter(([, text]) => !text.includes('"offer":true')).at(-2)!;
      const [inbox] = tapped.posted.at(-1)!;
      assert(server !== inbox);
      assertEquals(runs, ["f 1"]);
      // the same request again: it does not run, and gets no answer
      const answers = () => tapped.posted.filter(([to]) => to === inbox).length;
      const before = answers();
      await attacker.sender.post(server, request);
      // to another server, to the topics of functions, and as an event
      const own = (await attacker.sender.servers("g")).map(({ inbox }) => inbox).find((inbox) => inbox !== server)!;
      await attacker.sender.post(own, request);
      await until("the other server refuses it", () => other.health().refused === 1);
      await attacker.publish("f", request);
      await attacker.publish("g", request);
      await until("no server takes it from a topic", () => other.health().refused === 2);
      await refused(2);
      // another function, other headers, no signature
      const { body, headers } = unwrap(request)!;
      if (!encrypt) await attacker.sender.post(server, wrap(body.replace('["f"', '["g"'), headers));
      else await attacker.sender.post(server, wrap(body.replace(/.{4}"$/, 'AAA="'), headers));
      const call = { id: crypto.randomUUID(), inbox, deadline: Date.now() + 60_000 };
      const forged = writeRequest("f", "", { json: '["2"]' }, call);
      await attacker.sender.post(server, forged);
      await attacker.sender.post(server, wrap(forged, headers));
      await attacker.publish("f", forged);
      await attacker.publish("f", writeRequest("f", "__rpc_x", { json: '["2"]' }, undefined)); // as PyMQ
      await refused(7);
      assertEquals([runs, answers()], [["f 1"], before]);
      await caller.stub("f")("3");
      assertEquals(runs, ["f 1", "f 3"]);
    });

    it(`does not run a multi-call again, and refuses it at an inbox: ${how}`, async () => {
      await using all = await scene(ground, { encrypt });
      const { bus, caller, tapped, attacker } = all;
      let runs = 0;
      await bus.expose("f", () => ++runs);
      assertEquals(await caller.stub("f", { multi: true })(), [{ status: "fulfilled", value: 1 }]);
      const [, request] = tapped.published.at(-1)!;
      await attacker.publish("f", request);
      const [server] = await attacker.sender.servers("f");
      await attacker.sender.post(server!.inbox, request);
      await until("the inbox refuses it", () => bus.health().refused === 1);
      assertEquals(await caller.stub("f")(), 2);
    });

    it(`takes no answer, refusal or cancellation of an attacker: ${how}`, async () => {
      await using all = await scene(ground, { encrypt });
      const { bus, caller, tapped, attacker, refused } = all;
      const gate = Promise.withResolvers<string>();
      let aborted = false;
      const started = Promise.withResolvers<void>();
      await bus.expose("slow", () => {
        started.resolve();
        return gate.promise;
      });
      await bus.expose("f", (n: number) => n);
      await caller.stub("f")(1);
      const [inbox, answer] = tapped.posted.at(-1)!;
      const call = caller.stub("slow")();
      call.catch(() => aborted = true);
      await started.promise;
      const [server, request] = tapped.posted.at(-1)!;
      const id = encrypt ? crypto.randomUUID() : /[0-9a-f-]{36}(?=\\?","inbox)/.exec(request)![0];
      const forge = (rest: object) =>
        `{"__obj":["slow","forged","str",false,${
          JSON.stringify({ id, server, ...rest })
        }],"__type":"pymq.core.RpcResponse"}`;
      const texts = [forge({}), forge({ refused: "forgotten" }), forge({ refused: "gone", attempt: 1 })];
      const { headers } = unwrap(answer)!;
      for (const text of texts) {
        await attacker.sender.post(inbox, text);
        await attacker.sender.post(inbox, wrap(text, headers));
      }
      await attacker.sender.post(inbox, answer); // of another call: nobody waits for it
      const cancel = `{"__obj":["${id}"],"__type":"tsmq:cancel"}`;
      await attacker.sender.post(server, cancel);
      await attacker.sender.post(server, wrap(cancel, headers));
      await attacker.sender.post(server, answer); // the answer at another inbox
      await refused(9);
      gate.resolve("right");
      assertEquals(await call, "right");
      assertEquals(aborted, false);
    });
  }

  it("calls only registered servers that have a key", async () => {
    await using all = await scene(ground);
    const { bus, caller, namespace, tapped } = all;
    const stranger = await Bus.open(tapped.provider, { namespace });
    try {
      stranger.addEventListener("error", () => {});
      await stranger.expose("f", () => "forged");
      await stranger.expose("only", () => "forged");
      await bus.expose("f", () => "right");
      for (let i = 0; i < 4; i++) assertEquals(await caller.stub("f")(), "right");
      assertEquals(await caller.stub("f", { multi: true })(), [{ status: "fulfilled", value: "right" }]);
      await assertRejects(() => caller.stub("only", { timeout: 1_000 })(), TimeoutError);
      assert(!tapped.posted.some(([, text]) => /\["only".*RpcRequest/.test(text) && !text.includes('"offer":true')));
    } finally {
      await stranger.close();
    }
  });

  it("finds a server that is not registered any more", async () => {
    await using all = await scene(ground);
    const { bus, caller, tapped } = all;
    const { open } = tapped.provider;
    await bus.expose("f", () => "right");
    const blind = await Bus.open({
      ...tapped.provider,
      open: async (context) => {
        const sender = await open(context);
        let reads = 0;
        return new Proxy(sender, {
          get: (target, member) =>
            member === "servers" && reads++ === 0 ? () => Promise.resolve([]) : Reflect.get(target, member, target),
        });
      },
    }, { namespace: all.namespace, keys: KEYS, timeout: 10_000 });
    try {
      if (tapped.provider.name === "redis") assertEquals(await blind.stub("f")(), "right");
      assertEquals(await caller.stub("f")(), "right");
    } finally {
      await blind.close();
    }
  });

  it("with another key or in another namespace receives nothing, and its calls find no server", async () => {
    await using all = await scene(ground);
    const { bus, attacker, tapped } = all;
    const other = await all.open({ keys: [key("a", "b")] });
    const seen: unknown[] = [];
    await other.subscribe("t", (event) => seen.push(event)).ready;
    await bus.publish("x", "t");
    await until("it is refused", () => other.health().refused === 1);
    await bus.expose("f", () => "x");
    await assertRejects(() => other.stub("f", { timeout: 500 })(), TimeoutError);
    const namespace = fresh();
    const elsewhere = await all.open({ namespace });
    await elsewhere.subscribe("t", (event) => seen.push(event)).ready;
    const away = await RawClient.open(tapped.provider, namespace);
    await away.publish("t", tapped.published.find(([name]) => name === "t")![1]);
    await until("it is refused there", () => elsewhere.health().refused === 1);
    await away.close();
    assertEquals(seen, []);
    assert(attacker);
  });

  it("rotates keys: each verifies, the first signs", async () => {
    await using all = await scene(ground, { keys: [key("a"), key("b")] });
    const seen: unknown[] = [];
    await all.bus.subscribe("t", (event) => seen.push(event)).ready;
    const newer = await all.open({ keys: [key("b"), key("a")] });
    const last = await all.open({ keys: [key("b")] });
    await all.caller.publish("a", "t");
    await newer.publish("b", "t");
    await last.publish("c", "t");
    await until("all have arrived", () => seen.length === 3);
    assertEquals(seen, ["a", "b", "c"]);
    await last.expose("f", () => "x");
    assertEquals(await newer.stub("f")(), "x");
    assertEquals(all.bus.health().refused, 0);
  });

  it("that encrypts refuses messages that are only signed; a bus with the keys reads both", async () => {
    await using all = await scene(ground, { encrypt: true });
    const { bus, caller, refused, tapped, attacker } = all;
    const seen: unknown[] = [];
    const reader = await all.open({ encrypt: false });
    await bus.subscribe("t", (event) => seen.push(["bus", event])).ready;
    await reader.subscribe("t", (event) => seen.push(["reader", event])).ready;
    await caller.publish("x", "t");
    await until("both read it", () => seen.length === 2);
    await reader.publish("clear", "t");
    await refused(1);
    await until("the reader reads it", () => seen.length === 3);
    // the attacker knows the text: the signature is for an encrypted message
    const { headers } = unwrap(tapped.published[0]![1])!;
    await attacker.publish("t", wrap('"x"', { "tsmq-signature": headers["tsmq-signature"]! }));
    await until("nobody takes it", () => reader.health().refused === 1);
    await refused(2);
    assertEquals(seen[2], ["reader", "clear"]);
  });

  it("that does not encrypt encrypts the dead letter of an encrypted item, and that of this letter", async () => {
    await using all = await scene(ground, { encrypt: true });
    const { caller, tapped } = all;
    const reader = await all.open({ encrypt: false });
    await caller.queue("q").put("secret", { headers: { card: "secret-card" } });
    for (const name of ["q", "q.dead"]) {
      const queue = reader.queue(name);
      const consumer = queue.consume(() => {
        throw new Error("no secret");
      }, { maxAttempts: 1 });
      await until("it is a dead letter", async () => await queue.dead.size() === 1);
      await consumer.close();
    }
    assertEquals(tapped.put.map(([, text]) => text.includes("secret")), [false, false, false]);
    const [letter] = await caller.queue<DeadLetter>("q.dead").dead.peek(); // it accepts only encrypted items
    assertEquals((letter?.item?.item as DeadLetter).item, "secret");
    await reader.queue("q").put("clear");
    assertEquals(tapped.put.at(-1)![1].includes("clear"), true);
  });

  it("passes the id of a call's key to `authorize`", async () => {
    const calls: CallToAuthorize[] = [];
    const authorize = (call: CallToAuthorize) => {
      calls.push(call);
      return call.key === "b";
    };
    await using all = await scene(ground, { keys: [key("a"), key("b")], authorize });
    await all.bus.expose("f", () => "x");
    const other = await all.open({ keys: [key("b"), key("a")] });
    await assertRejects(() => all.caller.stub("f")(), RpcError, "allow");
    assertEquals(await other.stub("f", { headers: { h: "1" } })(), "x");
    assertEquals(calls.map(({ fn, headers, key }) => ({ fn, headers: { ...headers }, key })), [
      { fn: "f", headers: {}, key: "a" },
      { fn: "f", headers: { h: "1" }, key: "b" },
    ]);
  });

  it("without keys reads signed messages as before, refuses encrypted ones, and has no count of refusals", async () => {
    await using all = await scene(ground);
    const { caller, namespace, tapped } = all;
    const plain = await Bus.open(tapped.provider, { namespace });
    const heard: unknown[] = [];
    plain.addEventListener("error", (event) => heard.push((event.error as BusError).message));
    const seen: unknown[] = [];
    try {
      await plain.subscribe("t", (event, { headers }) => seen.push(event, { ...headers })).ready;
      await caller.publish({ a: 1 }, "t", { headers: { h: "1" } });
      await until("it arrives", () => seen.length === 2);
      assertEquals(seen, [{ a: 1 }, { h: "1" }]);
      const encrypting = await all.open({ encrypt: true });
      await encrypting.publish("x", "t");
      await until("it is refused", () => heard.length === 1);
      assertEquals(heard, ["Cannot read a message: it is encrypted, and this bus has no keys"]);
      assertEquals("refused" in plain.health(), false);
      // a tool without keys can retry dead letters
      const queue = all.bus.queue("q");
      await caller.queue("q").put("item");
      const consumer = queue.consume(() => {
        throw new Error("no");
      }, { maxAttempts: 1 });
      await until("it is a dead letter", async () => await queue.dead.size() === 1);
      await consumer.close();
      assertEquals(await plain.queue("q").dead.retry(), 1);
      assertEquals(await queue.get(), "item");
    } finally {
      await plain.close();
    }
  });

  // the last test, because it changes the clock of all others
  ground.it("does not run a request whose deadline has passed a minute ago", async () => {
    await using all = await scene(ground);
    const { bus, caller, attacker, tapped } = all;
    let runs = 0;
    await bus.expose("f", () => ++runs);
    await caller.stub("f")();
    const now = Date.now;
    tapped.drop = (text) => text.includes("RpcRequest") && !text.includes('"offer"');
    const call = caller.stub("f", { timeout: 300 })();
    await assertRejects(() => call, TimeoutError);
    tapped.drop = () => false;
    const stale = tapped.posted.filter(([, text]) => text.includes("RpcRequest")).at(-1)!;
    try {
      Date.now = () => now() + 70_000;
      await attacker.sender.post(...stale);
      await until("it is late", () => all.errors.some((error) => error instanceof TimeoutError));
    } finally {
      Date.now = now;
    }
    assertEquals(await caller.stub("f")(), 2);
  });
});

const SHORT = "canary-short";
const BAD: Readonly<Record<string, [options: unknown, fault: string]>> = {
  "no list": [{ keys: SHORT }, "keys must be a list of keys, not a string"],
  "no key": [{ keys: [] }, "keys has no key"],
  "a short secret": [{ keys: [{ id: "a", secret: SHORT }] }, "keys.0.secret has fewer than 32 bytes"],
  "short bytes": [{ keys: [{ id: "a", secret: new Uint8Array(31) }] }, "keys.0.secret has fewer than 32 bytes"],
  "a number": [{ keys: [{ id: "a", secret: 7 }] }, "keys.0.secret must be a string or a Uint8Array, not a number"],
  "no secret": [{ keys: [{ id: "a" }] }, "keys.0.secret is missing"],
  "an id with a space": [
    { keys: [{ id: `a ${SHORT}`, secret: "x".repeat(32) }] },
    'keys.0.id must be 1 to 64 letters, digits, ".", "_" and "-"',
  ],
  "a further field": [
    { keys: [{ ...key("a"), [SHORT]: 1 }] },
    `keys.0.${SHORT} is not an option (the options: id, secret)`,
  ],
  "two keys with the same id": [{ keys: [key("a"), key("a", "b")] }, "keys contains two keys with the same id"],
  "encrypt without keys": [{ encrypt: true }, "encrypt needs keys"],
  "a number for encrypt": [{ keys: KEYS, encrypt: 1 }, "encrypt must be true or false, not a number"],
};

onEach("options of keys", ({ name, it }) => {
  if (name !== "memory") return;
  for (const [what, [options, fault]] of Object.entries(BAD)) {
    it(`${what}: a ValidationError that does not quote it`, async () => {
      const error = await assertRejects(() => Bus.open(memory(), options as BusOptions), ValidationError);
      assertEquals(error.message, `Cannot open a bus: ${fault}`);
      if (!what.includes("field")) assert(!error.message.includes(SHORT));
    });
  }
});
