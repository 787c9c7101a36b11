/** Keys: an attacker cannot use streams, deadlines and sizes to make a bus with keys work or remember without a limit. */
// run: on bun
import { assert, assertEquals, assertMatch, assertRejects } from "@std/assert";
import { Bus, currentCall, type Provider, RemoteInvocationError, TimeoutError } from "../../mod.ts";
import { unwrap, wrap } from "../../src/codec/envelope.ts";
import { RawClient } from "../../src/conformance/raw_client.ts";
import { LONGEST } from "../../src/internal/arguments.ts";
import { SignedEnvelopes } from "../../src/keys/signed_envelopes.ts";
import { CREDIT, VALUES, writeCredit, writeValues } from "../../src/rpc/stream_messages.ts";
import { ANSWER, writeCancel, writeRequest } from "../../src/rpc/wire.ts";
import { until } from "../support/until.ts";
import { KEYS, scene } from "./attacked.ts";
import { fresh, onEach } from "./grounds.ts";

const HOUR = 3_600_000;

onEach("a bus with keys", (ground) => {
  const { it } = ground;

  it("that does not encrypt encrypts its answers to a bus that does: results, errors and streams", async () => {
    await using all = await scene(ground, { encrypt: true });
    const { caller, tapped } = all;
    const server = await all.open({ encrypt: false });
    await server.expose("double", (text: string) => text + text);
    await server.expose("fail", () => Promise.reject(new Error("secret")));
    await server.expose("numbers", async function* () {
      yield await Promise.resolve("secret");
    });
    assertEquals(await caller.stub("double")("secret"), "secretsecret");
    assertEquals(await caller.stub("double", { multi: true })("secret"), [{
      status: "fulfilled",
      value: "secretsecret",
    }]);
    await assertRejects(() => caller.stub("fail")(), RemoteInvocationError, "secret");
    const values: string[] = [];
    for await (const value of caller.stream<() => AsyncIterable<string>>("numbers")()) values.push(value);
    assertEquals(values, ["secret"]);
    const readable = tapped.posted.filter(([, text]) => !text.includes("tsmq-encryption"));
    assertEquals(readable, []);
    assertEquals([caller.health().refused, server.health().refused], [0, 0]);
    // a bus that does not encrypt still gets answers that are only signed
    const plain = await all.open({ encrypt: false });
    assertEquals(await plain.stub("double")("clear"), "clearclear");
    assertEquals(tapped.posted.at(-1)![1].includes("clearclear"), true);
  });

  for (const encrypt of [false, true]) {
    it(`reads a stream, and takes no message of an attacker: ${encrypt ? "encrypted" : "signed"}`, async () => {
      await using all = await scene(ground, { encrypt });
      const { bus, caller, attacker, tapped, refused } = all;
      const gate = Promise.withResolvers<void>();
      let ended = false;
      await bus.expose("numbers", async function* () {
        try {
          yield "secret-1";
          await gate.promise;
          yield "secret-2";
        } finally {
          ended = true;
        }
      });
      const numbers = caller.stream<() => AsyncIterable<string>>("numbers")()[Symbol.asyncIterator]();
      assertEquals(await numbers.next(), { done: false, value: "secret-1" });
      assertEquals(tapped.posted.some(([, text]) => text.includes("secret")), !encrypt);
      const [inbox, text] = tapped.posted.at(-1)!;
      const { headers } = unwrap(text)!;
      const [server] = await attacker.sender.servers("numbers");
      const id = /[0-9a-f-]{36}(?=",)/.exec(text)?.[0] ?? crypto.randomUUID();
      const forged = [
        writeValues(id, 1, [{ json: '"forged"' }]),
        writeValues(id, 1, [], "{}"),
        writeValues(id, 1, [], '{"lost":true}'),
      ];
      for (const each of forged) {
        await attacker.sender.post(inbox, each);
        await attacker.sender.post(inbox, wrap(each, headers));
      }
      for (const each of [writeCancel(id), writeCredit({ id, taken: 1, received: 0 })]) {
        await attacker.sender.post(server!.inbox, each);
        await attacker.sender.post(server!.inbox, wrap(each, headers));
      }
      await attacker.sender.post(server!.inbox, text); // at another inbox
      await attacker.sender.post(inbox, text); // again: the value has arrived
      await refused(11);
      assertEquals(ended, false);
      gate.resolve();
      assertEquals(await numbers.next(), { done: false, value: "secret-2" });
      assertEquals(await numbers.next(), { done: true, value: undefined });
    });
  }

  it("does not keep a stream open for old messages that arrive again", async () => {
    await using all = await scene(ground);
    const { bus, caller, attacker, tapped } = all;
    await bus.expose("numbers", async function* () {
      for (let i = 0;; i++) yield i;
    });
    let seen = 0;
    const now = Date.now;
    try {
      for await (const _ of caller.stream("numbers")()) {
        if (++seen < 600) continue; // there was credit
        const sent = (type: string) => tapped.posted.filter(([, text]) => text.includes(type)).at(-1)!;
        const messages = [sent(VALUES), sent(CREDIT)];
        let refused = 0;
        for (const later of [70_000, -70_000]) {
          Date.now = () => now() + later;
          for (const message of messages) {
            await attacker.sender.post(...message);
            refused++;
            await until("it is refused", () => bus.health().refused! + caller.health().refused! >= refused);
          }
        }
        await attacker.sender.post(...sent(ANSWER)); // its call has ended, so nobody waits for it
        break;
      }
    } finally {
      Date.now = now;
    }
    assert(all.errors.every(({ message }) => message.startsWith("Cannot accept a message of a stream")));
  });

  it("refuses a request with an absurd deadline, and does not answer an old offer", async () => {
    await using all = await scene(ground);
    const { bus, caller, attacker, errors, namespace } = all;
    let runs = 0;
    await bus.expose("f", () => ++runs);
    const member = new SignedEnvelopes(namespace, KEYS, false);
    const [server] = await attacker.sender.servers("f");
    const send = (deadline: number, offer?: true) => {
      const call = { id: crypto.randomUUID(), inbox: attacker.address, deadline, attempt: 1, offer };
      const text = member.seal("inbox", server!.inbox, writeRequest("f", "", { json: "[]" }, call));
      return attacker.sender.post(server!.inbox, text);
    };
    for (const deadline of [9e99, Number.MAX_VALUE, Date.now() + LONGEST + HOUR]) await send(deadline);
    await until("they are refused", () => errors.length === 3);
    assertEquals(errors.map(({ message }) => message), Array(3).fill("Cannot serve a request: it is malformed"));
    await send(-9e99);
    await until("it is late", () => errors.length === 4);
    const now = Date.now;
    Date.now = () => now() + HOUR;
    const future = [send(now() + 2 * HOUR), send(now() + 2 * HOUR, true)];
    Date.now = now;
    await Promise.all(future);
    await until("one that was signed in the future is refused", () => errors.length === 5);
    assertMatch(errors[4]!.message, /by this machine's clock it will be signed in \d+ ms/);
    const answered = (refused: string) => attacker.inbox.some((text) => text.includes(`"refused":"${refused}"`));
    await until("its caller knows, and had found the server", () => answered("late") && answered("here"));
    const answers = attacker.inbox.length;
    await send(Date.now() - HOUR, true);
    await send(Date.now() + LONGEST);
    await until("it has run", () => runs === 1);
    assertEquals(await caller.stub("f")(), 2);
    assert(attacker.inbox.slice(answers).every((text) => !text.includes("here")));
  });

  if (ground.name === "redis") {
    it("finds its server among many registrations of inboxes that do not exist", async () => {
      await using all = await scene(ground);
      const { bus, attacker } = all;
      const id = attacker.address.slice(-32);
      const register = (i: number) => {
        const inbox = attacker.address.replace(id, i.toString(16).padStart(32, "0"));
        return attacker.sender.replies!.register("f", inbox);
      };
      await Promise.all(Array.from({ length: 1_000 }, (_, i) => register(i)));
      await bus.expose("f", () => "right");
      for (let i = 0; i < 3; i++) {
        const caller = await all.open();
        const calls = Array.from({ length: 5 }, () => caller.stub("f")());
        assertEquals(new Set(await Promise.all(calls)), new Set(["right"]));
        assertEquals(await caller.stub("f", { multi: true })(), [{ status: "fulfilled", value: "right" }]);
      }
    });
  }

  it("calls a server that does not prove its key again for half a minute more, because it may be busy", async () => {
    await using all = await scene(ground);
    const { bus, caller, tapped } = all;
    await bus.expose("f", () => "right");
    const call = (timeout: number) => caller.stub("f", { multi: true, timeout })();
    const right = [{ status: "fulfilled" as const, value: "right" }];
    assertEquals(await call(10_000), right);
    let questions = 0;
    tapped.drop = (text) => text.includes("offer") && ++questions > 0;
    const { now } = performance;
    const after = (seconds: number) => performance.now = () => now.call(performance) + seconds * 1_000;
    try {
      after(65);
      for (let i = 0; i < 3; i++) assertEquals(await call(4_000), right); // less than the wait for a proof
      assertEquals(questions, 1);
      after(95);
      await assertRejects(() => call(500), TimeoutError);
      assertEquals(questions, 2);
    } finally {
      performance.now = now;
    }
  });

  it("refuses a text that is larger than maxReceive before it is verified", async () => {
    await using all = await scene(ground, { maxReceive: 10_000 });
    const { bus, caller, attacker, errors } = all;
    const seen: unknown[] = [];
    await bus.subscribe("t", (event) => seen.push(event)).ready;
    await attacker.publish("t", wrap(`"${"x".repeat(300_000)}"`, { "tsmq-signature": "1 a 0 0 0" }));
    await until("it is refused", () => errors.length === 1);
    assertEquals(errors[0]!.message, 'Cannot accept an event on "t": it is larger than maxReceive');
    await caller.publish("x".repeat(9_000), "t");
    await until("the next one arrives", () => seen.length === 1);
  });
});

onEach("a bus without keys", ({ it, provider }) => {
  it("serves a request with an absurd deadline, but does not wait until then", async () => {
    const namespace = fresh();
    const own: Provider = provider();
    await using bus = await Bus.open(own, { namespace });
    const attacker = await RawClient.open(own, namespace);
    try {
      const deadlines: number[] = [];
      await bus.expose("f", () => void deadlines.push(currentCall()!.deadline));
      const [server] = await attacker.sender.servers("f");
      for (const deadline of [9e99, Number.MAX_VALUE]) {
        const call = { id: crypto.randomUUID(), inbox: attacker.address, deadline };
        await attacker.sender.post(server!.inbox, writeRequest("f", "", { json: "[]" }, call));
      }
      await until("both have run", () => deadlines.length === 2);
      for (const deadline of deadlines) assert(deadline < Date.now() + LONGEST + HOUR, `${deadline}`);
    } finally {
      await attacker.close();
    }
  });
});
