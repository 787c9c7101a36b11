/** Answers of which a part is malformed. */
import { assertEquals } from "@std/assert";
import { describe, it } from "@std/testing/bdd";
import { Bus, memory } from "../../mod.ts";
import { overridden } from "../../src/conformance/runs.ts";
import { ValidationError } from "../../src/errors.ts";
import type { Sender } from "../../src/provider/provider.ts";
import { readAnswer } from "../../src/rpc/wire.ts";
import { fresh } from "./grounds.ts";

describe("an answer", () => {
  it("has a stack only if it is a string, also if its result cannot be read", () => {
    for (const unreadable of [undefined, new ValidationError("no")]) {
      const stackOf = (stack: unknown) => {
        const call = { id: "id", server: "inbox", stack };
        return readAnswer(["fn", 1, "int", true, call], unreadable)?.call?.stack;
      };
      assertEquals([stackOf("at a"), stackOf(1), stackOf({ a: 1 }), stackOf(undefined)], [
        "at a",
        undefined,
        undefined,
        undefined,
      ]);
    }
  });

  it("to a multi-call whose type does not fit does not hide the others", async () => {
    const provider = memory();
    const namespace = fresh();
    const open: typeof provider.open = async (context) => {
      const sender = await provider.open(context);
      const post: Sender["post"] = (inbox, body) =>
        sender.post(inbox, body.replace('"int",false', '"tsmq:Date",false'));
      return overridden(sender, { post });
    };
    await using one = await Bus.open(provider, { namespace });
    await using two = await Bus.open({ ...provider, open }, { namespace });
    for (const bus of [one, two]) await bus.expose("fn", () => 5);
    const fn = one.stub("fn", { multi: true });
    assertEquals((await fn()).map(({ status }) => status).sort(), ["fulfilled", "rejected"]);
    assertEquals((await fn.rpc()).map(({ result }) => result), [5]);
  });
});
