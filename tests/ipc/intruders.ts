/** A member of a group in a process of its own, who misuses the namespaces that it shares with the user of the test. */
import { assertEquals } from "@std/assert";
import type { Peer } from "../support/peer.ts";
import { noOtherUser, startAs } from "./ground.ts";

const INTRUDER = new URL("intruder.ts", import.meta.url);

/** The reason why there can be no intruder here, or undefined if there can be one. */
export const noIntruder: string | undefined = noOtherUser(INTRUDER);

/** A process that starts with the first act, and lives until the end of the tests. */
export class Intruder {
  /** The group that the user of this test shares with a user of this run alone, of the same id. */
  readonly group: number = 40_000 + Math.floor(Math.random() * 20_000);
  #peer: Peer<"done"> | undefined;

  /** Does something in a namespace (see `intruder.ts`). */
  async act(namespace: string, what: string, ...args: (string | number)[]): Promise<void> {
    this.#peer ??= startAs(this.group, INTRUDER, String(this.group));
    assertEquals(await this.#peer.ask([namespace, what, ...args.map(String)], 170_000), "done");
  }

  /** Ends the process. */
  async end(): Promise<void> {
    await this.#peer?.kill();
    this.#peer = undefined;
  }
}
