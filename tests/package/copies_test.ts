/** Two copies of the package in one program: procedures, errors and events are recognised, a topic is refused with the reason. */
// run: on deno
import { assert, assertEquals, assertInstanceOf, assertMatch, assertRejects, assertThrows } from "@std/assert";
import { afterAll, beforeAll, describe, it } from "@std/testing/bdd";
import { cpSync, symlinkSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath, pathToFileURL } from "node:url";
import * as here from "../../mod.ts";
import { makeDir, removeDir } from "../support/child.ts";

const ROOT = fileURLToPath(new URL("../../", import.meta.url));

describe("two copies of the package", () => {
  let dir: string;
  let there: typeof here;
  beforeAll(async () => {
    dir = makeDir("copy");
    for (const part of ["mod.ts", "src", "workers", "package.json", "deno.json"]) {
      cpSync(join(ROOT, part), join(dir, part), { recursive: true });
    }
    symlinkSync(join(ROOT, "node_modules"), join(dir, "node_modules"));
    there = await import(pathToFileURL(join(dir, "mod.ts")).href);
    assert(there.BusError as unknown !== here.BusError, "it is another copy");
  });
  afterAll(() => removeDir(dir));

  it("recognise each other's procedures, in expose and stub", async () => {
    const add = there.procedure<(a: number, b: number) => number>("add");
    await using bus = await here.Bus.open(here.memory());
    await bus.expose(add as never, (a: number, b: number) => a + b);
    assertEquals(await bus.stub(add as unknown as here.Procedure<(a: number, b: number) => number>)(1, 2), 3);
  });

  it("recognise each other's errors and events by their classes", async () => {
    const error = await assertRejects(() => there.publish(1, "x"));
    assertInstanceOf(error, here.NotInitializedError);
    assertInstanceOf(error, here.BusError);
    assert(!(error instanceof here.TimeoutError), "the class counts");
    class Mine extends here.BusError {}
    assert(!(error instanceof Mine), "a class of a user is only itself");
    assertInstanceOf(new Mine("busy", "x"), here.BusError);
    assertInstanceOf(new there.BusErrorEvent(error, "x"), here.BusErrorEvent);
    for (const value of [undefined, null, "text", {}, new Error("x")]) assert(!(value instanceof here.BusError));
  });

  it("refuse each other's topics with the reason", async () => {
    const topic = there.topic("news") as unknown as here.Topic;
    await using bus = await here.Bus.open(here.memory());
    const uses: (() => unknown)[] = [
      () => bus.subscribe(topic, () => {}),
      () => bus.publish(1, topic),
      () => bus.publish({ a: 1 }, topic),
    ];
    for (const use of uses) {
      const error = await assertRejects(async () => void await use(), here.ValidationError);
      assertMatch(error.message, /^Cannot use a topic that another copy of tsmq created/);
    }
    assertThrows(() => here.subscribe(topic, () => {}), here.ValidationError, "another copy");
  });
});
