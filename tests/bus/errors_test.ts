import { assertEquals, assertMatch } from "@std/assert";
import { describe, it } from "@std/testing/bdd";
import { Bus, memory } from "../../mod.ts";
import { until } from "../support/until.ts";

/** Returns the texts of the errors that the console receives while `work` runs. */
async function told(work: () => Promise<void>): Promise<string[]> {
  const original = console.error;
  const said: string[] = [];
  console.error = (...args: unknown[]) => said.push(String(args.at(-1)));
  try {
    await work();
  } finally {
    console.error = original;
  }
  return said;
}

describe("an error of a bus", () => {
  const listener = () => {};
  const nobody: Record<string, (bus: Bus) => void> = {
    "never listened": () => {},
    "listened once": (bus) => {
      bus.addEventListener("error", listener, { once: true });
      bus.dispatchEvent(new Event("error"));
    },
    "listens no more": (bus) => {
      bus.addEventListener("error", listener);
      bus.removeEventListener("error", listener);
    },
    "listened until a signal": (bus) => {
      const abort = new AbortController();
      bus.addEventListener("error", listener, { signal: abort.signal });
      abort.abort();
      bus.addEventListener("error", listener, { signal: abort.signal });
    },
    "listens for something else": (bus) => bus.addEventListener("gap", listener),
  };
  for (const [who, act] of Object.entries(nobody)) {
    it(`goes to the console if a listener ${who}`, async () => {
      const failure = new Error("on purpose");
      const said = await told(async () => {
        await using bus = await Bus.open(memory());
        act(bus);
        await bus.subscribe("topic", () => {
          throw failure;
        }).ready;
        await bus.publish("x", "topic");
        await until("it is reported", () => bus.health().lastError === failure);
      });
      assertEquals(said.map((text) => text.split("\n")[0]), ["Error: on purpose"]);
      assertMatch(said[0]!, /errors_test\.ts/, "the stack of the error");
    });
  }

  it("goes to the listeners, and not to the console", async () => {
    const heard: unknown[] = [];
    const said = await told(async () => {
      await using bus = await Bus.open(memory());
      bus.addEventListener("error", listener, { once: true });
      bus.addEventListener("error", (event) => heard.push(event.error));
      await bus.subscribe<string>("topic", (text) => {
        throw text;
      }).ready;
      for (const text of ["a", "b"]) await bus.publish(text, "topic");
      await until("both are heard", () => heard.length === 2);
    });
    assertEquals([said, heard], [[], ["a", "b"]]);
  });

  const revoked = () => {
    const { proxy, revoke } = Proxy.revocable({}, {});
    revoke();
    return proxy;
  };

  it("goes to the console even if the console cannot format it", async () => {
    const said = await told(async () => {
      await using bus = await Bus.open(memory());
      await bus.subscribe<string>("topic", () => {
        throw revoked();
      }).ready;
      for (let i = 1; i <= 2; i++) {
        await bus.publish(i, "topic");
        await until("its handler has ended", () => bus.health().pending.handlers === 0);
      }
    });
    assertEquals(said.length, 2);
  });

  for (const [what, thrown] of Object.entries({ "an error": () => new Error("mine"), "a revoked proxy": revoked })) {
    it(`does not stop the bus if listeners and the log function throw ${what}, immediately or later`, async () => {
      const fail = () => {
        throw thrown();
      };
      const heard: unknown[] = [];
      const said = await told(async () => {
        await using bus = await Bus.open(memory(), { log: ({ event }) => event === "error" ? fail() : undefined });
        for (const type of ["error", "state"]) {
          bus.addEventListener(type, fail);
          bus.addEventListener(type, { handleEvent: () => Promise.reject(thrown()) as never });
          bus.addEventListener(type, (event) => heard.push(event.type));
        }
        await bus.subscribe("topic", fail).ready;
        for (const text of ["a", "b"]) await bus.publish(text, "topic");
        await until("both are heard", () => heard.length === 2);
        bus.removeEventListener("error", fail);
      });
      assertEquals(heard, ["error", "error", "state", "state"]);
      assertEquals(said.length, 2 * 3 + 2 * 2); // of each error the log and two listeners, of each state two listeners
    });
  }
});
