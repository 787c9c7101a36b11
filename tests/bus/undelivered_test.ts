/** The answers that are on their way: their size is limited for all callers together, because requests can name any number of inboxes. */
import { assertEquals } from "@std/assert";
import { describe, it } from "@std/testing/bdd";
import type { Core } from "../../src/core.ts";
import { Undelivered } from "../../src/rpc/undelivered.ts";
import type { Request } from "../../src/rpc/wire.ts";

describe("Undelivered", () => {
  it("sends 1 Gi characters at once, whatever inboxes the requests name, and reports that it does not send more", () => {
    const posted: string[] = [];
    const reports: unknown[] = [];
    const core = {
      post: (inbox: string) => {
        posted.push(inbox);
        return new Promise(() => {}); // the transport is behind
      },
      report: (error: Error) => reports.push(error.message),
    } as unknown as Core;
    const undelivered = new Undelivered(core);
    const huge = "x".repeat(128 * 2 ** 20);
    for (let i = 0; i < 12; i++) {
      const call = { id: String(i), inbox: `inbox ${i}`, deadline: Infinity };
      const request: Request = { fn: "fn", channel: "", args: [], kwargs: {}, call };
      void undelivered.send(request, huge, false);
    }
    assertEquals(posted.length, 8);
    assertEquals(reports, ['Cannot answer calls of "fn": their caller does not read its answers']);
  });
});
