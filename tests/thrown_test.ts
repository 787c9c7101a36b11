import { assert, assertEquals } from "@std/assert";
import { describe, it } from "@std/testing/bdd";
import { RemoteInvocationError } from "../mod.ts";
import { connectionFault, nameOf, textOf } from "../src/internal/thrown.ts";
import { toBusError } from "../src/providers/aws/errors.ts";
import { Errno } from "../src/providers/ipc/errno.ts";
import { systemError } from "../src/providers/ipc/errors.ts";
import { toProviderError } from "../src/providers/redis/errors.ts";
import { Names } from "../src/providers/redis/names.ts";
import { operation } from "../src/providers/redis/operations.ts";
import { ACK } from "../src/providers/redis/scripts.ts";

class OutOfStock extends Error {}
class Wrong extends TypeError {}
class Named extends Error {
  override get name(): string {
    return "shop.Named";
  }
}
class Heir extends Named {}

describe("a thrown value", () => {
  it("has the name of its class, unless it has a name of its own", () => {
    const named = Object.assign(new OutOfStock(), { name: "explicit" });
    const names: [unknown, string][] = [
      [new Error(), "Error"],
      [new TypeError(), "TypeError"],
      [new OutOfStock(), "OutOfStock"],
      [new Wrong(), "Wrong"],
      [new Named(), "shop.Named"],
      [new Heir(), "shop.Named"],
      [named, "explicit"],
      [new DOMException("", "AbortError"), "AbortError"],
      [Object.assign(new Error(), { name: 7 }), "Error"],
      [new (class extends RangeError {})(), "RangeError"],
      ["text", "Error"],
    ];
    for (const [thrown, name] of names) assertEquals(nameOf(thrown), name);
  });

  it("has its message as text, or the value itself as a text", () => {
    const texts: [unknown, string][] = [
      [new Error("message"), "message"],
      [Object.assign(new Error(), { message: { code: 7 } }), '{"code":7}'],
      ["text", "text"],
      [undefined, "undefined"],
      [{ code: 7, big: 1n }, '{"code":7,"big":"1"}'],
      [[{ a: 1 }, "b"], '[{"a":1},"b"]'],
      [new URL("http://host/"), "http://host/"],
      [Symbol("s"), "Symbol(s)"],
      [function name() {}, "function name"],
    ];
    for (const [thrown, text] of texts) assertEquals(textOf(thrown), text);
    assertEquals(textOf(["x".repeat(5_000)]).length, 1_001);
  });

  it("is quoted from its beginning, however deep, wide or long it is", () => {
    const rest = "…";
    assertEquals(textOf(JSON.parse("[".repeat(100_000) + "]".repeat(100_000))), "[".repeat(1_000) + rest);
    assertEquals(textOf(Array.from({ length: 10_000 }, () => 7)), `[${"7,".repeat(500)}`.slice(0, 1_000) + rest);
    assertEquals(textOf({ a: "b".repeat(10_000) }), `{"a":"${"b".repeat(994)}${rest}`);
  });

  it("takes no longer than what is quoted of it: a peer chooses the arguments of a remote error", () => {
    let read = 0;
    const unspeakable = {
      get toString() {
        read++;
        return 1;
      },
    };
    const error = new RemoteInvocationError("fn", "E", Array(100_000).fill(unspeakable));
    assert(read < 200, `${read} were read`);
    assertEquals(error.message.slice(0, 30), 'Cannot call "fn": E({"toString');
    assert(error.message.endsWith(", …)") && error.message.length < 1_100, error.message);

    read = 0;
    const part = {
      get toJSON() {
        return void read++;
      },
    };
    for (const value of [[Array(100_000).fill(part)], { a: Object.fromEntries(Array(100_000).fill(part).entries()) }]) {
      assertEquals(textOf(value).length, 1_001);
    }
    assert(read < 5_000, `${read} were read`);
    assertEquals(textOf([new Uint8Array(100_000)]).slice(0, 20), '[{"0":0,"1":0,"2":0,');
    assertEquals(textOf(new Uint8Array(100_000)), `${"0,".repeat(500)}…`);
    assertEquals(textOf([new DataView(new ArrayBuffer(8))]), "[{}]");
  });

  it("is readable in the message of a RemoteInvocationError", () => {
    const { message } = new RemoteInvocationError("fn", "shop.Full", [{ code: 7 }, "text", [1, null]]);
    assertEquals(message, 'Cannot call "fn": shop.Full({"code":7}, text, [1,null])');
    assertEquals(
      new RemoteInvocationError("fn", "E", [{ toString: 1 }]).message,
      'Cannot call "fn": E({"toString":1})',
    );
  });
});

describe("an error of a connection", () => {
  const refused = Object.assign(new Error("connect ECONNREFUSED"), {
    code: "ECONNREFUSED",
    address: "::1",
    port: 6379,
  });
  const reset = Object.assign(new Error("read ECONNRESET"), { code: "ECONNRESET" });

  it("has the address of the server and the code of its cause", () => {
    const table: [unknown, string | undefined, string | undefined][] = [
      [refused, "db:1", "Redis at ::1:6379 refused the connection (ECONNREFUSED)"],
      [reset, "db:1", "Redis at db:1 broke the connection (ECONNRESET)"],
      [reset, undefined, "Redis broke the connection (ECONNRESET)"],
      [
        Object.assign(new Error("getaddrinfo"), { code: "ENOTFOUND", hostname: "db" }),
        "db:1",
        "the host name db cannot be resolved (ENOTFOUND)",
      ],
      [
        Object.assign(new Error("connect"), { code: "ENOENT", address: "/run/redis" }),
        "/run/redis",
        "there is no socket /run/redis (ENOENT)",
      ],
      [
        new AggregateError([refused, reset]),
        "db:1",
        "Redis at ::1:6379 refused the connection (ECONNREFUSED), Redis at db:1 broke the connection (ECONNRESET)",
      ],
      [Object.assign(new Error("?"), { code: "ERR_OTHER" }), "db:1", undefined],
      ["ECONNREFUSED", "db:1", undefined],
    ];
    for (const [error, address, text] of table) assertEquals(connectionFault(error, "Redis", address), text);
  });

  it("follows the verb and the name of the user, on each transport", () => {
    const closed = new Error("Connection is closed.");
    const messages = [
      toProviderError('put into queue "a"', refused).message,
      toProviderError('put into queue "a"', closed, "db:1").message,
      toBusError('put into queue "a"', refused).message,
      systemError(-Errno.EACCES, 'Cannot put into queue "a"').message,
      systemError(-5, 'Cannot put into queue "a"').message,
    ];
    assertEquals(messages, [
      'Cannot put into queue "a": Redis at ::1:6379 refused the connection (ECONNREFUSED)',
      'Cannot put into queue "a": Redis at db:1 closed the connection',
      'Cannot put into queue "a": AWS at ::1:6379 refused the connection (ECONNREFUSED)',
      'Cannot put into queue "a": this user has no permission (EACCES)',
      'Cannot put into queue "a": the system call failed with errno 5',
    ]);
  });

  it("names a queue of Redis, and none of its keys", () => {
    for (const name of ["a", "{a}b", "a}b", "__tsmq:{a}due:__eventbus:x:b", "line\nbreak"]) {
      const { list, due, prefix } = new Names("shop").queue(name);
      assertEquals(operation("lpush", [list]), `put into queue "${name}"`);
      assertEquals(operation("evalsha", [ACK.sha, "1", due]), `acknowledge items of queue "${name}"`);
      assertEquals(operation("unlink", [`${prefix}record:id`]), "run UNLINK on Redis");
    }
    assertEquals(operation("zrem", [new Names("shop").servers("fn")]), 'unregister "fn"');
  });
});
