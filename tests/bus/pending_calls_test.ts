// run: waiting
import { assert, assertEquals, assertFalse } from "@std/assert";
import { describe, it } from "@std/testing/bdd";
import { FakeTime } from "@std/testing/time";
import { BusError, ClosedError, TimeoutError } from "../../src/errors.ts";
import type { Core } from "../../src/core.ts";
import type { Link } from "../../src/port/link.ts";
import type { RegisteredServer, Sender, ServersOptions } from "../../src/provider/provider.ts";
import { Codec } from "../../src/codec/codec.ts";
import { UNSIGNED } from "../../src/codec/envelope.ts";
import { Call } from "../../src/rpc/call.ts";
import { Caller } from "../../src/rpc/caller.ts";
import { Directory } from "../../src/rpc/directory.ts";
import { TextMap } from "../../src/internal/text_map.ts";
import { PendingCalls } from "../../src/rpc/pending_calls.ts";
import type { Server } from "../../src/rpc/server.ts";
import { readRequest, writeCancel } from "../../src/rpc/wire.ts";
import { pause, until } from "../support/until.ts";

/** The pending calls of a bus whose transport answers with this `sender`. */
function pendingOf(sender: Partial<Record<keyof Sender, unknown>>, inbox = "inbox", recovering = () => false) {
  const link = { address: () => Promise.resolve(inbox) } as Link;
  const core = { sender, link, post: sender.post, recovering } as unknown as Core;
  return new PendingCalls(core, new Directory(sender as Sender));
}

describe("PendingCalls", () => {
  it("counts a server as gone after three checks, one each second, not after three answers at the same time", async () => {
    const asked: PromiseWithResolvers<string[]>[] = [];
    const sender = {
      servers: () => {
        const reply = Promise.withResolvers<string[]>();
        asked.push(reply);
        return reply.promise;
      },
      post: () => Promise.resolve(true),
    };
    const pending = pendingOf(sender);
    const lost: string[] = [];
    const call = new Call("fn", { json: "[]" }, 60_000, undefined);
    pending.add({
      call,
      channel: "",
      servers: new TextMap([["server", 0]]),
      answer: () => {},
      lost: (server) => lost.push(server),
    });
    await until("several checks", () => call.age > 5_500);
    for (const { resolve } of asked) resolve([]);
    await pause(10);
    assertEquals(lost, []);
    pending.close();
  });

  it("finds a dead server of a function while the servers of another one cannot be read", async () => {
    const sender = {
      servers: (fn: string) => fn === "filled" ? Promise.reject(new BusError("busy", "filled")) : Promise.resolve([]),
      post: () => Promise.resolve(true),
    };
    const pending = pendingOf(sender);
    const lost: string[] = [];
    const calls = ["filled", "other"].map((fn) => new Call(fn, { json: "[]" }, 60_000, undefined));
    for (const call of calls) {
      const servers = new TextMap([["server", 0]]);
      pending.add({ call, channel: "", servers, answer: () => {}, lost: () => lost.push(call.fn) });
    }
    await until("several checks", () => lost.length > 0 || calls[1]!.age > 8_000);
    assertEquals(lost, ["other"]);
    pending.close();
  });

  it("confirms a large answer that no call waits for, so that its server sends others, and posts nothing for a short one", () => {
    const posts: [string, string][] = [];
    const post = (...each: [string, string]) => Promise.resolve(void posts.push(each));
    const pending = new PendingCalls({ post } as unknown as Core, new Directory({} as Sender));
    const answer = (id: string, confirm: boolean) => ["fn", "", "str", false, { id, server: "server", confirm }];
    assertFalse(pending.handleAnswer(answer("a", true), () => 2 ** 20));
    assertFalse(pending.handleAnswer(answer("b", true), () => 1_000));
    assertFalse(pending.handleAnswer(answer("c", false), () => 2 ** 20));
    assertEquals(posts, [["server", writeCancel("a")]]);
  });

  it("does not take a signed answer that was sent again for a sign of life of its server", () => {
    const pending = new PendingCalls({ post: () => Promise.resolve() } as unknown as Core, new Directory({} as Sender));
    const call = new Call("fn", { json: "[]" }, 60_000, undefined);
    const servers = new TextMap([["server", 0], ["other", 0]]);
    pending.add({ call, channel: "", servers, answer: () => {}, lost: () => {} });
    const misses = (server: string, time?: number) => {
      servers.set(server, 2);
      const answer = ["fn", null, "NoneType", true, { id: call.id, server, refused: "running" }];
      const signed = time === undefined ? undefined : { key: "a", time, nonce: "n", encrypted: false };
      assertEquals(pending.handleAnswer(answer, () => 100, undefined, signed), true);
      return servers.get(server);
    };
    assertEquals([misses("server", 5), misses("server", 5), misses("server", 4), misses("server", 6)], [0, 2, 2, 0]);
    assertEquals([misses("other", 5), misses("other", 5)], [0, 2]);
    assertEquals([misses("server"), misses("server")], [0, 0]);
    pending.close();
  });

  it("asks again at the next check, and not after twice the time, if the inbox has dropped messages", async () => {
    const ages: number[] = [];
    const sender = {
      servers: () => Promise.resolve([{ inbox: "server" }]),
      post: (_: string, text: string) => {
        ages.push(readRequest(JSON.parse(text).__obj)!.call!.age!);
        return Promise.resolve(true);
      },
    };
    const pending = pendingOf(sender);
    const call = new Call("fn", { json: "[]" }, 60_000, undefined);
    call.request("inbox", "");
    pending.add({ call, channel: "", servers: new TextMap([["server", 0]]), answer: () => {}, lost: () => {} });
    await until("it asks again", () => ages.length > 0);
    pending.dropped();
    await until("it asks at the next check", () => ages.length > 1);
    assert(ages[1]! < 2 * ages[0]!, `it asked after ${ages} ms`);
    pending.close();
  });

  it("asks with the inbox for its answer, which the reply must not overtake, unless that inbox may be down", async () => {
    const inboxes: string[] = [];
    const sender = {
      servers: () => Promise.resolve([{ inbox: "server" }]),
      post: (_: string, text: string) => {
        inboxes.push(readRequest(JSON.parse(text).__obj)!.call!.inbox);
        return Promise.resolve(true);
      },
    };
    let down = false;
    const pending = pendingOf(sender, "receiver", () => down);
    const call = new Call("fn", { json: "[]" }, 60_000, undefined);
    call.answerInbox = "answers";
    pending.add({ call, channel: "", servers: new TextMap([["server", 0]]), answer: () => {}, lost: () => {} });
    await until("it asks again", () => inboxes.length > 0);
    down = true;
    await until("it asks once more", () => inboxes.length > 1);
    assertEquals(inboxes, ["answers", "receiver"]);
    pending.close();
  });
});

describe("Caller", () => {
  it("sends a request again only to a server that may have it: the call may move on to another server", async () => {
    const posts: { readonly server: string; readonly reply: PromiseWithResolvers<boolean> }[] = [];
    const sender = {
      servers: () => Promise.resolve([{ inbox: "first" }, { inbox: "second" }]),
      post: (server: string) => {
        const reply = Promise.withResolvers<boolean>();
        posts.push({ server, reply });
        return reply.promise;
      },
    } as unknown as Sender;
    const link = { address: () => Promise.resolve("inbox") } as Link;
    const core = {
      sender,
      link,
      envelopes: UNSIGNED,
      post: sender.post,
      codec: new Codec(),
      recovering: () => true,
    } as unknown as Core;
    const caller = new Caller(core, { exposing: () => undefined } as unknown as Server);
    const stop = new AbortController();
    const call = caller.single("fn", [], { timeout: 60_000, signal: stop.signal }).catch(() => {});
    await until("the request is posted", () => posts.length > 0);
    await pause(2_500); // two checks of the pending calls
    assertEquals(posts.length, 1, "the transport has not taken it yet");
    posts[0]!.reply.resolve(false);
    await until("the call moves on", () => posts.length === 2);
    assertEquals(new Set(posts.map(({ server }) => server)), new Set(["first", "second"]));
    posts[1]!.reply.resolve(true);
    await until("the server that has it is asked again", () => posts.length > 2);
    assertEquals(posts[2]!.server, posts[1]!.server);
    for (const { reply } of posts) reply.resolve(true);
    stop.abort();
    await call;
    caller.close(new ClosedError());
  });
});

describe("a check of pending calls that takes long", () => {
  it("does not ask a server again that has refused the call meanwhile: the call may be at another server", async () => {
    const posts: string[] = [];
    let id = "";
    const looks: PromiseWithResolvers<RegisteredServer[]>[] = [];
    const sender = {
      servers: (_fn: string, { listening }: ServersOptions) => {
        if (!listening) return Promise.resolve([{ inbox: "first" }, { inbox: "second" }]);
        const look = Promise.withResolvers<RegisteredServer[]>();
        looks.push(look);
        return look.promise;
      },
      post: (server: string, text: string) => {
        id = readRequest(JSON.parse(text).__obj)?.call?.id ?? id;
        posts.push(server);
        return Promise.resolve(true);
      },
    } as unknown as Sender;
    const link = { address: () => Promise.resolve("inbox") } as Link;
    const core = {
      sender,
      link,
      envelopes: UNSIGNED,
      post: sender.post,
      codec: new Codec(),
      recovering: () => false,
    } as unknown as Core;
    const caller = new Caller(core, { exposing: () => undefined } as unknown as Server);
    const call = caller.single("fn", [], { timeout: 60_000 }).catch(() => {});
    await until("the registry is read", () => looks.length > 0);
    const [server] = posts;
    caller.handleAnswer(["fn", null, "NoneType", true, { id, server, refused: "gone", attempt: 1 }], () => 100);
    await until("the call moves on", () => posts.length === 2);
    looks[0]!.resolve([{ inbox: posts[1]!, listening: true }]);
    await pause(50);
    assertEquals(posts.length, 2);
    caller.close(new ClosedError());
    await call;
  });
});

describe("the timeout of a call", () => {
  it("ends the call, neither sooner nor later", async () => {
    using time = new FakeTime();
    const sender = {
      servers: () => Promise.resolve([{ inbox: "server" }]),
      post: () => Promise.resolve(true),
    } as unknown as Sender;
    const link = { address: () => Promise.resolve("inbox") } as Link;
    const core = {
      sender,
      link,
      envelopes: UNSIGNED,
      post: sender.post,
      codec: new Codec(),
      recovering: () => false,
      outage: () => undefined,
    } as unknown as Core;
    const caller = new Caller(core, { exposing: () => undefined } as unknown as Server);
    let error: unknown;
    caller.single("fn", [], { timeout: 500 }).catch((reason) => error = reason);
    await time.tickAsync(499);
    assertEquals(error, undefined);
    await time.tickAsync(1);
    assert(error instanceof TimeoutError);
    caller.close(new ClosedError());
  });
});

describe("a call that is cancelled while its request is being sent", () => {
  it("is cancelled at the server, which has received the request", async () => {
    const posts: { readonly server: string; readonly text: string }[] = [];
    const sent = Promise.withResolvers<boolean>();
    const sender = {
      servers: () => Promise.resolve([{ inbox: "server" }]),
      post: (server: string, text: string) => {
        posts.push({ server, text });
        return sent.promise;
      },
    } as unknown as Sender;
    const link = { address: () => Promise.resolve("inbox") } as Link;
    const core = {
      sender,
      link,
      envelopes: UNSIGNED,
      post: sender.post,
      codec: new Codec(),
      recovering: () => false,
    } as unknown as Core;
    const caller = new Caller(core, { exposing: () => undefined } as unknown as Server);
    const stop = new AbortController();
    const call = caller.single("fn", [], { timeout: 60_000, signal: stop.signal }).catch((error) => error);
    await until("the request is posted", () => posts.length === 1);
    stop.abort("enough");
    assertEquals(await call, "enough");
    sent.resolve(true);
    await until("it is cancelled", () => posts.length === 2);
    const [id] = /[0-9a-f-]{36}/.exec(posts[0]!.text)!;
    assertEquals(posts[1], { server: "server", text: writeCancel(id) });
    caller.close(new ClosedError());
  });
});
