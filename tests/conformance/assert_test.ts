/** The messages of the assertions of the kit. */
import { assert, assertMatch } from "@std/assert";
import { describe, it } from "@std/testing/bdd";
import { each, equal } from "../../src/conformance/assert.ts";
import { RemoteInvocationError } from "../../src/errors.ts";

describe("the assertions of the kit", () => {
  it("escape what a peer has sent", async () => {
    const text = "\x9b31m\u202e\x1b[2J";
    const failures = [
      () => equal<unknown>([text], ["x"]),
      () => equal<unknown>({ [text]: 1 }, { [text]: 2 }),
      () => equal<unknown>(new RemoteInvocationError("f", text, [text]), 1),
      () => each({ one: 1 }, () => Promise.reject(new RemoteInvocationError("f", text, [text]))),
    ];
    for (const failure of failures) {
      let message = "";
      try {
        await failure();
      } catch (error) {
        message = (error as Error).message;
      }
      assertMatch(message, /\\u202e/);
      assert(!/[\p{Cc}\p{Bidi_Control}]/u.test(message), JSON.stringify(message));
    }
  });
});
