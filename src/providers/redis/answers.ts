/**
 * Answers to PyMQ's calls, each in a list of its own. A request names the list, so the number of lists is limited.
 *
 * @module
 */
import { BusError } from "../../errors.ts";
import { TextMap } from "../../internal/text_map.ts";
import type { Client } from "./client.ts";
import { count } from "./replies.ts";
import { run, type Script, script } from "./scripts.ts";

/** Seconds after which an answer expires, as with PyMQ. */
const LIFE = 300;
/** The largest number of lists with answers that may be unread. When there are more, the oldest ones are removed. */
const MAX_UNREAD = 16_384;
/** The largest number of characters of these answers. One answer may be larger. */
const MAX_UNREAD_SIZE = 256 * 1024 * 1024;
/** The share of both limits that is left when the oldest lists are removed. */
const LEFT = 15 / 16;
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
  /** List → the time of its last answer, and the number of characters of its answers. The oldest list is first. */
  #lists = new TextMap<{ readonly at: number; readonly size: number }>();
  #size = 0;

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
    if (this.#holds(1)) this.#removeOldest();
    const size = (this.#lists.get(list)?.size ?? 0) + body.length;
    this.#forget(list);
    this.#lists.set(list, { at: performance.now(), size });
    this.#size += size;
    await run(this.#client, count, ANSWER, [list], [body, LIFE]);
  }

  #forget(list: string): void {
    this.#size -= this.#lists.get(list)?.size ?? 0;
    this.#lists.delete(list);
  }

  /** Returns whether this share of a limit is reached. */
  #holds(share: number): boolean {
    return this.#lists.size >= MAX_UNREAD * share || this.#size >= MAX_UNREAD_SIZE * share;
  }

  #removeOldest(): void {
    const kept = performance.now() - KEPT;
    for (const [list, { at }] of this.#lists) {
      if (at > kept || !this.#holds(LEFT)) break;
      this.#forget(list);
      this.#client.call(count, "unlink", list).catch(() => {}); // it expires by itself
    }
    if (!this.#holds(1)) return;
    throw new BusError("busy", `Cannot answer a call of PyMQ: too many others were put within ${KEPT} ms`);
  }
}
