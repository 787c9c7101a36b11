/** The in-memory broker, which delays acknowledgements of "jobs" until an item is taken from "confirm". */
import { serve } from "../../../src/port/host.ts";
import { openReceiver } from "../../../src/providers/memory/receiver.ts";
import type { Receiver } from "../../../src/provider/provider.ts";

serve(async (context): Promise<Receiver> => {
  const receiver = await openReceiver(context);
  const { receive, settle } = receiver;
  const { promise: confirmed, resolve: confirm } = Promise.withResolvers<void>();
  return Object.assign(
    receiver,
    {
      receive: (queue, options) => {
        if (queue === "confirm") confirm();
        return receive.call(receiver, queue, options);
      },
      settle: async (queue, receipts, outcome, delay) => {
        if (queue === "jobs" && outcome === "ack") await confirmed;
        return await settle.call(receiver, queue, receipts, outcome, delay);
      },
    } satisfies Partial<Receiver>,
  );
});
