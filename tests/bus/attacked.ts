/** Buses with keys, and an attacker who reads and writes everything on their transport. */
import { assert } from "@std/assert";
import { Bus, type BusError, type BusKey, type BusOptions, type Provider } from "../../mod.ts";
import { RawClient } from "../../src/conformance/raw_client.ts";
import type { Sender } from "../../src/provider/provider.ts";
import { until } from "../support/until.ts";
import { fresh, type Ground } from "./grounds.ts";

/** Returns a key with this id, whose secret repeats the letter. */
export const key = (id: string, letter = id): BusKey => ({ id, secret: letter.repeat(32).slice(0, 32) });
/** The keys of the buses. */
export const KEYS = [key("a")];

/** A message that an attacker has seen: the name of its destination, and its text. */
export type Sent = readonly [name: string, text: string];

/** A provider that passes all messages of its buses to an attacker. With `drop`, messages to inboxes are lost. */
export class Tapped {
  readonly provider: Provider;
  readonly published: Sent[] = [];
  readonly posted: Sent[] = [];
  readonly put: Sent[] = [];
  drop = (_text: string): boolean => false;

  constructor(provider: Provider) {
    const tap = (sender: Sender): Sender =>
      new Proxy(sender, {
        get: (target, member) => {
          const value = Reflect.get(target, member, target);
          if (typeof value !== "function") return value;
          return (name: string, text: string, ...rest: unknown[]) => {
            if (member === "publish") this.published.push([name, text]);
            if (member === "send") this.put.push([name, text]);
            if (member === "post") {
              this.posted.push([name, text]);
              if (this.drop(text)) return Promise.resolve(true);
            }
            return value.call(target, name, text, ...rest);
          };
        },
      });
    this.provider = { ...provider, open: async (context) => tap(await provider.open(context)) };
  }
}

/** Two buses with one tapped provider, and an attacker. */
export async function scene(ground: Ground, options: BusOptions = {}) {
  const namespace = fresh();
  const tapped = new Tapped(ground.provider());
  const errors: BusError[] = [];
  const open = async (own: BusOptions = {}) => {
    const bus = await Bus.open(tapped.provider, { namespace, timeout: 10_000, keys: KEYS, ...options, ...own });
    bus.addEventListener("error", (event) => errors.push(event.error as BusError));
    return bus;
  };
  const [bus, caller] = await Promise.all([open(), open()]) as [Bus, Bus];
  const attacker = await RawClient.open(tapped.provider, namespace);
  const refused = (count: number) =>
    until(`${count} messages are refused`, () => {
      const sum = bus.health().refused! + caller.health().refused!;
      assert(sum <= count, `${sum} are refused`);
      return sum === count;
    });
  const opened = [bus, caller];
  return {
    namespace,
    tapped,
    bus,
    caller,
    attacker,
    errors,
    refused,
    open: async (own: BusOptions = {}) => {
      const more = await open(own);
      opened.push(more);
      return more;
    },
    [Symbol.asyncDispose]: async () => {
      await Promise.all([...opened.map((bus) => bus.close()), attacker.close()]);
    },
  };
}
