/** The in-memory broker, whose first acknowledgement in each queue fails. */
import { ProviderError } from "../../../src/errors.ts";
import { serve } from "../../../src/port/host.ts";
import { openReceiver } from "../../../src/providers/memory/receiver.ts";
import type { Receiver } from "../../../src/provider/provider.ts";

serve(async (context): Promise<Receiver> => {
  const receiver = await openReceiver(context);
  const failed = new Set<string>();
  const settle: Receiver["settle"] = (queue, receipts, outcome, delay) => {
    if (failed.has(queue) || outcome !== "ack") return before(queue, receipts, outcome, delay);
    failed.add(queue);
    return Promise.reject(new ProviderError("unavailable", "Cannot acknowledge: on purpose"));
  };
  const before = receiver.settle.bind(receiver);
  return Object.assign(receiver, { settle });
});
