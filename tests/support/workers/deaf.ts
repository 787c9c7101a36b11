/**
 * The in-memory broker, whose first request to settle an item fails in each queue: it is not executed, or, in the queue "unanswered", its
 * answer is lost. In the queue "away" every request about a lease fails,
 * except the record of its start.
 */
import { ProviderError } from "../../../src/errors.ts";
import { serve } from "../../../src/port/host.ts";
import { openReceiver } from "../../../src/providers/memory/receiver.ts";
import type { Receiver } from "../../../src/provider/provider.ts";

serve(async (context): Promise<Receiver> => {
  const receiver = await openReceiver(context);
  const failed = new Set<string>();
  const started = new Set<string>();
  const { start, extend, settle } = receiver;
  const fail = () => Promise.reject(new ProviderError("unavailable", "Cannot acknowledge: on purpose"));
  return Object.assign(
    receiver,
    {
      start: (queue, receipts) => {
        if (queue === "away" && receipts.some((receipt) => started.has(receipt))) return fail();
        for (const receipt of receipts) started.add(receipt);
        return start.call(receiver, queue, receipts);
      },
      extend: (queue, receipts, lease) => queue === "away" ? fail() : extend.call(receiver, queue, receipts, lease),
      settle: async (queue, receipts, outcome, delay) => {
        if (queue !== "away" && (failed.has(queue) || outcome === "untried")) {
          return await settle.call(receiver, queue, receipts, outcome, delay);
        }
        failed.add(queue);
        if (queue === "unanswered") await settle.call(receiver, queue, receipts, outcome, delay);
        return await fail();
      },
    } satisfies Partial<Receiver>,
  );
});
