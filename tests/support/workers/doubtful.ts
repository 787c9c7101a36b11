/**
 * The in-memory broker, where each item's last holder died without a recorded start. The first start of an item "lost" finds its lease
 * over, and that of an item "away" the transport unreachable.
 */
import { ProviderError } from "../../../src/errors.ts";
import { serve } from "../../../src/port/host.ts";
import { openReceiver } from "../../../src/providers/memory/receiver.ts";
import type { Receiver } from "../../../src/provider/provider.ts";

serve(async (context): Promise<Receiver> => {
  const receiver = await openReceiver(context);
  const { receive, start, settle } = receiver;
  const bodies = new Map<string, string>();
  const seen = new Set<string>();
  return Object.assign(
    receiver,
    {
      receive: async (...args) => {
        const deliveries = await receive.apply(receiver, args);
        return deliveries.map((delivery) => {
          bodies.set(delivery.receipt, delivery.body);
          return { ...delivery, unconfirmed: true };
        });
      },
      start: async (queue, receipts) => {
        const body = bodies.get(receipts[0]!)!;
        const first = !seen.has(body);
        seen.add(body);
        if (first && body === '"away"') throw new ProviderError("unavailable", "Cannot record a start: on purpose");
        if (first && body === '"lost"') await settle.call(receiver, queue, receipts, "untried", 0);
        return await start.call(receiver, queue, receipts);
      },
    } satisfies Partial<Receiver>,
  );
});
