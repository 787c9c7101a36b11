/** The in-memory broker, whose first acknowledgement fails. */
import { ProviderError } from "../../../src/errors.ts";
import { serve } from "../../../src/port/host.ts";
import { openReceiver } from "../../../src/providers/memory/receiver.ts";
import type { Receiver } from "../../../src/provider/provider.ts";

serve(async (context): Promise<Receiver> => {
  const receiver = await openReceiver(context);
  let heard = false;
  const settle: Receiver["settle"] = (queue, receipts, outcome, delay) => {
    if (heard || outcome !== "ack") return before(queue, receipts, outcome, delay);
    heard = true;
    return Promise.reject(new ProviderError("unavailable", "Cannot acknowledge: on purpose"));
  };
  const before = receiver.settle.bind(receiver);
  return Object.assign(receiver, { settle });
});
