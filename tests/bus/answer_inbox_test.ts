/** The core's use of a transport's inbox for answers. */
import { assertEquals } from "@std/assert";
import { describe, it } from "@std/testing/bdd";
import type { Core } from "../../src/core.ts";
import { ProviderError } from "../../src/errors.ts";
import type { AnswerInbox as Part } from "../../src/provider/provider.ts";
import { AnswerInbox } from "../../src/rpc/answer_inbox.ts";
import { until } from "../support/until.ts";

/** A bus whose transport has this part, and what it was asked and has reported. */
function busWith(answerInbox: Part | undefined) {
  const state = { down: false, logged: 0, received: [] as string[][] };
  const core = {
    sender: { answerInbox },
    closing: new AbortController().signal,
    telemetry: { log: () => state.logged++ },
    recovering: () => state.down,
    receiveAnswer: (...message: string[]) => state.received.push(message),
  };
  return { inbox: new AnswerInbox(core as unknown as Core), state };
}

describe("the address for answers", () => {
  it("is the receiver's until the other inbox is open, and while the bus is down", async () => {
    const opening = Promise.withResolvers<string>();
    let receive: (body: string) => void = () => {};
    let opened = 0;
    const { inbox, state } = busWith({
      open: (given) => {
        opened++;
        receive = given;
        return opening.promise;
      },
    });
    state.down = true;
    assertEquals([inbox.address([]), opened], [undefined, 0]);
    state.down = false;
    assertEquals([inbox.address([]), inbox.address([]), opened], [undefined, undefined, 1]);
    receive("before anybody knows the address");
    opening.resolve("address");
    await until("it is open", () => inbox.address([]) === "address");
    receive("answer");
    state.down = true;
    assertEquals(inbox.address([]), undefined);
    state.down = false;
    assertEquals([inbox.address([]), opened, state.logged], ["address", 1, 0]);
    assertEquals(state.received, [["address", "answer"]]);
  });

  it("stays the receiver's if the other inbox cannot be opened, which is logged", async () => {
    let opened = 0;
    const { inbox, state } = busWith({
      open: () => {
        opened++;
        return Promise.reject(new ProviderError("denied", "no"));
      },
    });
    assertEquals(inbox.address([]), undefined);
    await until("it has failed", () => state.logged === 1);
    assertEquals([inbox.address([]), inbox.address([]), opened], [undefined, undefined, 1]);
    assertEquals(busWith(undefined).inbox.address([]), undefined);
  });

  it("is given to a limited number of calls at once, so that a busy thread can leave all their answers unread", async () => {
    const { inbox } = busWith({ open: () => Promise.resolve("address") });
    await until("it is open", () => inbox.address([]) === "address");
    const ends: (() => void)[] = [];
    while (inbox.address(ends) !== undefined);
    assertEquals(ends.length, 127);
    ends.pop()!();
    assertEquals([inbox.address(ends), inbox.address(ends)], ["address", undefined]);
  });
});
