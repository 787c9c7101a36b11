/** A long-lived signal does not keep ended subscriptions and consumers in memory. */
import { assertEquals } from "@std/assert";
import { describe, it } from "@std/testing/bdd";
import { Bus, memory } from "../../mod.ts";

/** Counts the listeners on signals that have not aborted, which a signal keeps. */
async function listenersLeft(act: () => Promise<void>): Promise<number> {
  const { addEventListener, removeEventListener } = AbortSignal.prototype;
  const listeners = new Map<AbortSignal, Set<unknown>>();
  AbortSignal.prototype.addEventListener = function (this: AbortSignal, ...args: unknown[]) {
    listeners.set(this, (listeners.get(this) ?? new Set()).add(args[1]));
    return addEventListener.apply(this, args as Parameters<typeof addEventListener>);
  };
  AbortSignal.prototype.removeEventListener = function (this: AbortSignal, ...args: unknown[]) {
    listeners.get(this)?.delete(args[1]);
    return removeEventListener.apply(this, args as Parameters<typeof removeEventListener>);
  };
  try {
    await act();
  } finally {
    Object.assign(AbortSignal.prototype, { addEventListener, removeEventListener });
  }
  return [...listeners].reduce((sum, [signal, all]) => signal.aborted ? sum : sum + all.size, 0);
}

describe("a signal that is shared", () => {
  const provider = { ...memory(), worker: new URL("../support/workers/refusing.ts", import.meta.url) };
  const { signal } = new AbortController();
  const ways: Record<string, (bus: Bus) => Promise<unknown>> = {
    "subscriptions that were ended": async (bus) => {
      const subscription = bus.subscribe("topic", () => {}, { signal });
      await subscription.ready;
      await subscription.unsubscribe();
    },
    "subscriptions that the transport refused": (bus) => bus.subscribe("secret", () => {}, { signal }).closed,
    "consumers that were closed": (bus) => bus.queue("queue").consume(() => {}, { signal }).close(),
    "consumers that ended by an error": (bus) => bus.queue("odd").consume(() => {}, { signal }).closed,
    "consumers whose queue handle was closed": async (bus) => {
      const queue = bus.queue("queue");
      const { closed } = queue.consume(() => {}, { signal });
      queue.close();
      await closed;
    },
    "gets that found nothing": (bus) => bus.queue("queue").get({ timeout: 1, signal }).catch(() => {}),
  };
  for (const [what, make] of Object.entries(ways)) {
    it(`keeps none of many ${what}`, async () => {
      await using bus = await Bus.open(provider);
      bus.addEventListener("error", () => {});
      const left = await listenersLeft(async () => {
        for (let i = 0; i < 20; i++) await make(bus);
      });
      assertEquals(left, 0);
      assertEquals(bus.health().subscriptions, 0);
      assertEquals(bus.health().pending, { calls: 0, handlers: 0 });
    });
  }
});
