/** The memory of proofs is limited, because every peer can register servers. */
import { assertEquals } from "@std/assert";
import { describe, it } from "@std/testing/bdd";
import type { Core } from "../../src/core.ts";
import { Proofs } from "../../src/rpc/proofs.ts";
import { until } from "../support/until.ts";

describe("Proofs", () => {
  it("forgets servers that have not proved their key, and their questions", async () => {
    const questions: string[] = [];
    const core = {
      link: { address: () => Promise.resolve("inbox") },
      post: (_: string, text: string) => Promise.resolve(questions.push(/"id":"([^"]*)/.exec(text)![1]!) > 0),
    } as unknown as Core;
    const proofs = new Proofs(core);
    const { now } = performance;
    const ask = (server: string) => proofs.all("fn", [server]);
    const answer = (id: string) => proofs.handleAnswer(["fn", null, "NoneType", true, { id, server: "server" }]);
    try {
      const waiting = ["first", "second"].map(ask);
      await until("both are asked", () => questions.length === 2);
      answer(questions[0]!);
      proofs.close();
      assertEquals(await Promise.all(waiting), [["first"], []]);
      performance.now = () => now.call(performance) + 100_000;
      const third = ask("third");
      await until("it is asked", () => questions.length === 3);
      assertEquals(questions.map(answer), [false, false, true]); // without the cleaning, the second one is remembered
      assertEquals(await third, ["third"]);
    } finally {
      performance.now = now;
    }
  });
});
