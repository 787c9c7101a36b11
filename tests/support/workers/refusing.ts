/**
 * The in-memory broker, which rejects subscriptions to "secret", and receives from "secret" and "odd". Those from "taken" and "taken@g" are
 * rejected three times, as those of a queue whose name another user has for a while.
 */
import { ProviderError, UnsupportedError } from "../../../src/errors.ts";
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
  const refused = new Map([["taken", 3], ["taken@g", 3], ["secret", Infinity]]);
  const receive: Receiver["receive"] = (queue, options) => {
    const left = refused.get(queue) ?? 0;
    refused.set(queue, left - 1);
    if (left > 0) return Promise.reject(new ProviderError("denied", "Cannot receive: on purpose"));
    if (queue === "odd") return Promise.reject(new UnsupportedError("Cannot receive: on purpose"));
    return take(queue, options);
  };
  return Object.assign(receiver, { subscribe, receive });
});
