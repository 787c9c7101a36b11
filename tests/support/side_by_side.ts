/** Tests of one file that run side by side, because they mostly wait: for leases, polls and deadlines. */
import { it } from "@std/testing/bdd";

/** Returns an `it` whose tests run up to `lanes` at a time, in the order of their registration; the first one starts them all. */
export function sideBySide(lanes: number): (name: string, run: () => unknown) => void {
  const waiting: (() => Promise<void>)[] = [];
  let started = false;
  const lane = async () => {
    for (let next; (next = waiting.shift());) await next();
  };
  return (name, run) => {
    const end = Promise.withResolvers<void>();
    waiting.push(async () => {
      end.resolve((async () => void await run())());
      await end.promise.catch(() => {}); // its own test reports it
    });
    it(name, async () => {
      if (!started) { for (let i = 0; i < lanes; i++) void lane(); }
      started = true;
      await end.promise;
    });
  };
}
