/**
 * Answers to PyMQ's calls, each in a list of its own. A request names the list, so the number of lists is limited.
 *
 * @module
 */
import { BusError } from "../../errors.ts";
import type { Client } from "./client.ts";
import { count } from "./replies.ts";
import { run, type Script, script } from "./scripts.ts";

/** Seconds after which an answer expires, as with PyMQ. */
const LIFE = 300;
/** The largest number of lists with answers that may be unread. When there are more, the oldest ones are removed. */
const MAX_UNREAD = 16_384;
/** The number of lists that are removed at once. */
const AT_ONCE = 1_024;
/** Milliseconds for which no answer is removed. A live caller reads its answer immediately. */
const KEPT = 1_000;

/** Puts an answer, which expires in ARGV[2] seconds. */
export const ANSWER: Script = script(
  "put into queue",
  `
redis.call('LPUSH', KEYS[1], ARGV[1])
return redis.call('EXPIRE', KEYS[1], ARGV[2])
`,
);

/** The answers of one bus. */
export class Answers {
  #client: Client;
  /** List → the time of its last answer, oldest first. */
  #lists = new Map<string, number>();

  /** Creates the answers of a bus, which has put none. */
  constructor(client: Client) {
    this.#client = client;
  }

  /**
   * Puts an answer into a list.
   *
   * @throws {BusError} "busy" when as many answers as the limit allows were put within a second
   */
  async put(list: string, body: string): Promise<void> {
    if (!this.#lists.delete(list) && this.#lists.size >= MAX_UNREAD) this.#removeOldest();
    this.#lists.set(list, performance.now());
    await run(this.#client, count, ANSWER, [list], [body, LIFE]);
  }

  #removeOldest(): void {
    const kept = performance.now() - KEPT;
    for (const [list, at] of this.#lists) {
      if (at > kept || this.#lists.size <= MAX_UNREAD - AT_ONCE) break;
      this.#lists.delete(list);
      this.#client.call(count, "unlink", list).catch(() => {}); // it expires by itself
    }
    if (this.#lists.size < MAX_UNREAD) return;
    throw new BusError("busy", `Cannot answer a call of PyMQ: there were ${MAX_UNREAD} others within ${KEPT} ms`);
  }
}
