/** An object whose class extends a class of the platform serves none of its methods, whichever module that class comes from. */
import { assert, assertEquals } from "@std/assert";
import { describe, it } from "@std/testing/bdd";
import { createSecretKey, generateKeyPairSync } from "node:crypto";
import { once } from "node:events";
import { watch } from "node:fs";
import { open } from "node:fs/promises";
import { connect, createServer, type ServerHttp2Stream } from "node:http2";
import { builtinModules } from "node:module";
import type { AddressInfo } from "node:net";
import { authoredMethodsOf, isPlatform } from "../../src/rpc/methods.ts";

/** Two modules whose members are globals, or of the global `Bun`. Reading some of these opens a stream. */
const OPENING = ["process", "bun"];

/** A module of Bun that is not among its `builtinModules`. */
const UNLISTED = "Bun" in globalThis ? ["node-fetch"] : [];

/** Returns the members of a namespace, and of the plain objects and functions in it. */
function membersOf(path: string, space: object, levels = 2): [path: string, value: unknown][] {
  return Object.getOwnPropertyNames(space).flatMap((name) => {
    const inner = `${path}.${name}`;
    let value: unknown;
    try {
      value = (space as Record<string, unknown>)[name];
    } catch {
      return []; // it does not exist here, such as `Deno.jupyter`
    }
    const plain = typeof value === "object" && value && Object.getPrototypeOf(value) === Object.prototype;
    return [
      [inner, value],
      ...(plain || typeof value === "function") && levels > 1 ? membersOf(inner, value as object, levels - 1) : [],
    ];
  });
}

/** Returns the classes among these members that would be served, with their methods, and the number of all classes. */
function check(members: [path: string, value: unknown][]): { served: Record<string, string[]>; count: number } {
  const served: Record<string, string[]> = {};
  let count = 0;
  for (const [path, value] of members) {
    const { prototype } = value instanceof Function ? value as { prototype?: unknown } : {};
    // the prototype of a generator function has an object as its constructor
    if (typeof prototype !== "object" || typeof prototype?.constructor !== "function") continue;
    count++;
    const methods = authoredMethodsOf(Object.create(prototype, { own: { value: () => {} } }));
    const has = Object.values(Object.getOwnPropertyDescriptors(prototype)).filter(({ value }) => value).length > 1;
    if (methods.join() !== "own" || has && !isPlatform(prototype.constructor)) served[path] = methods;
  }
  return { served, count };
}

describe("expose(object) serves no method of the platform, and refuses an object of its class", () => {
  const listed = builtinModules.filter((name) => !name.startsWith("_") && !OPENING.includes(name));
  for (const name of [...listed, ...UNLISTED]) {
    it(`of ${name}`, async () => {
      const module = await import("Deno" in globalThis && !name.includes(":") ? `node:${name}` : name);
      assertEquals(check(membersOf(name, module as object)).served, {});
    });
  }

  it("of a class that no module exports", async () => {
    const handle = await open(new URL(import.meta.url));
    const watcher = watch(new URL(".", import.meta.url));
    const server = createServer();
    const serving = Promise.withResolvers<[stream: ServerHttp2Stream, session: unknown]>();
    server.on("stream", (stream) => {
      const { session } = stream;
      stream.respond();
      stream.end();
      serving.resolve([stream, session]);
    });
    await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
    const client = connect(`http://127.0.0.1:${(server.address() as AddressInfo).port}`);
    const request = client.request();
    const objects = [
      ...[handle, watcher, server, client, request, ...await serving.promise],
      ...[createSecretKey(new Uint8Array(1)), ...Object.values(generateKeyPairSync("ed25519"))],
    ] as object[];
    const served = objects.map((object) => [object.constructor.name, authoredMethodsOf(Object.getPrototypeOf(object))]);
    assertEquals(served.filter(([, methods]) => methods!.length > 0), []);
    assertEquals(objects.filter(({ constructor }) => !isPlatform(constructor)), []);
    request.resume();
    await once(request, "close");
    client.close();
    server.close();
    watcher.close();
    await handle.close();
  });

  it("except a user's class that only has the name of such a class", () => {
    class FileHandle {
      write() {}
    }
    assertEquals([authoredMethodsOf(FileHandle.prototype), isPlatform(FileHandle)], [["write"], false]);
  });

  it("of a global, or of the namespace of the runtime", () => {
    const { Deno, Bun } = globalThis as { Deno?: object; Bun?: object };
    const members = [...membersOf("globalThis", globalThis, 1), ...membersOf("runtime", Deno ?? Bun!)];
    const { served, count } = check([...members, ...membersOf("Intl", Intl), ...membersOf("WebAssembly", WebAssembly)]);
    assertEquals(served, {});
    assert(count > 100, `only ${count} classes were found`);
  });
});
