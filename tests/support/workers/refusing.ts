/** The in-memory broker, which rejects subscriptions to "secret". */
import { ProviderError } from "../../../src/errors.ts";
import { serve } from "../../../src/port/host.ts";
import { openReceiver } from "../../../src/providers/memory/receiver.ts";
import type { Receiver } from "../../../src/provider/provider.ts";

serve(async (context): Promise<Receiver> => {
  const receiver = await openReceiver(context);
  const before = receiver.subscribe.bind(receiver);
  const subscribe: Receiver["subscribe"] = (filter, emit) =>
    filter.topic === "secret"
      ? Promise.reject(new ProviderError("denied", "Cannot subscribe: on purpose"))
      : before(filter, emit);
  const take = receiver.receive.bind(receiver);
  const receive: Receiver["receive"] = (queue, options) =>
    queue === "secret"
      ? Promise.reject(new ProviderError("denied", "Cannot receive: on purpose"))
      : take(queue, options);
  return Object.assign(receiver, { subscribe, receive });
});
