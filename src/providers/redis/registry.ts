/**
 * The registry of servers. A registration expires unless it is renewed.
 *
 * @module
 */
import { BusError, isUnavailable } from "../../errors.ts";
import { utf8 } from "../../internal/utf8.ts";
import type { Client } from "./client.ts";
import { retryUnavailable } from "./errors.ts";
import { ENOUGH, MEMORY, NOW } from "./lua.ts";
import type { Names } from "./names.ts";
import { array, arrayOf, count, integer, pairs, texts } from "./replies.ts";
import { run, type Script, script } from "./scripts.ts";

/** Milliseconds until a registration expires. Callers may try a killed server for that long. */
export const LEASE = 15_000;
/** The longest time in milliseconds until a registration expires. A longer one is forged, or the server's clock was set back. */
const LONGEST = 2 * LEASE;
/** Milliseconds between renewals. Two of them may fail before a registration expires. */
export const RENEW = 5_000;

/**
 * Registers the inbox ARGV[1] as a server for ARGV[2] milliseconds. Removes expired registrations, and those that would last longer than
 * ARGV[3]: they are forged, or the server's clock was set back.
 */
const REGISTER: Script = script(
  "register",
  `
${NOW}
redis.call('ZREMRANGEBYSCORE', KEYS[1], '-inf', now)
redis.call('ZREMRANGEBYSCORE', KEYS[1], '(' .. now + ARGV[3], '+inf')
redis.call('ZADD', KEYS[1], now + ARGV[2], ARGV[1])
redis.call('PEXPIRE', KEYS[1], ARGV[2])
return 1
`,
);

/** The largest number of inboxes that come into Lua, where names that others choose can collide (see `hash_fields.ts`): those of a single call. */
const FEW = 64;
/** The largest number of registrations, expired ones included, that are more than {@linkcode FEW} and may be read. */
const MOST = 100_000;

/**
 * Replies with the registered inboxes, without those that would last longer than ARGV[3]. If there are more than ARGV[1], it replies with
 * that number of consecutive ones, from a position that ARGV[2] (0 to 1) chooses. They are in the order of their renewals, so each inbox
 * is returned from time to time. An empty text stands for a member of more than ARGV[4] bytes, which is no inbox. It reads them by their rank,
 * because Redis goes through all members before an offset into a range of scores: others may register a million.
 *
 * If those are more than a few, it replies with no inbox, but with the server's time, their number, the rank of the first one to read, and the
 * bytes of memory of all registrations: -1 if these are too many, and 0 if the server does not tell.
 */
const SERVERS: Script = script(
  "look up the servers of",
  `
${NOW}${MEMORY}
local live = redis.call('ZCOUNT', KEYS[1], '(' .. now, now + ARGV[3])
if live == 0 then return {{}, {}} end
local number = math.min(live, tonumber(ARGV[1]))
local first = redis.call('ZCOUNT', KEYS[1], '-inf', now) + math.floor(ARGV[2] * (live - number + 1))
if number > ${FEW} then
  local bytes = redis.call('ZCARD', KEYS[1]) > ${MOST} and -1 or memory(KEYS[1])
  return {{}, {now, live, first, bytes}}
end
local inboxes = redis.call('ZRANGE', KEYS[1], first, first + number - 1)
for i, inbox in ipairs(inboxes) do
  if #inbox > tonumber(ARGV[4]) then inboxes[i] = '' end
end
return {inboxes, {}}
`,
);

/** Registers an inbox as a server of the topic. */
export async function register(client: Client, names: Names, topic: string, inbox: string): Promise<void> {
  await run(client, count, REGISTER, [names.servers(topic)], [inbox, LEASE, LONGEST]);
}

/**
 * Returns the registered servers of the topic: all of them, or `max` consecutive ones from a random position.
 *
 * @throws {BusError} "busy" if more than {@linkcode FEW} are to be read, and the registrations are too many or too large
 */
export async function servers(client: Client, names: Names, topic: string, max: number): Promise<string[]> {
  const key = names.servers(topic);
  const start = performance.now();
  const [few, look] = await run(client, looked, SERVERS, [key], [max, Math.random(), LONGEST, names.inboxBytes]);
  if (look.length === 0) return few;
  const [now, live, first, bytes] = look as [number, number, number, number];
  if (bytes < 0 || bytes > ENOUGH) throw tooLarge(topic, key);
  const read = async (command: string, ...range: (string | number)[]) => {
    const found = await client.call(pairs, command, key, ...range.map(String));
    const latest = now + LONGEST + performance.now() - start; // servers have renewed their registrations since
    return found.flatMap(([inbox, end]) => {
      const time = Number(utf8(end));
      return time > now && time <= latest ? [inbox.length > names.inboxBytes ? "" : utf8(inbox)] : [];
    });
  };
  const part = live > max ? await read("zrange", first, first + max - 1, "withscores") : [];
  if (part.length >= max) return part;
  // a renewal moves a server to the end, so a range from the beginning that ends before its limit contains all
  return read("zrangebyscore", `(${now}`, "+inf", "withscores", "limit", 0, max);
}

/** Reads the reply to {@linkcode SERVERS}. */
function looked(reply: unknown): [few: string[], look: number[]] {
  const [few, look] = arrayOf(2, reply);
  return [texts(few), array(look).map(integer)];
}

function tooLarge(topic: string, key: string): BusError {
  return new BusError(
    "busy",
    `Cannot look up the servers of "${topic}": the sorted set "${key}" takes more than ${ENOUGH} bytes of memory or has more than ` +
      `${MOST} members. Remove it: the servers register again within ${RENEW / 1_000} seconds`,
  );
}

/** The registrations of one inbox. */
export class Registry {
  #client: Client;
  #names: Names;
  #inbox: string;
  #fault: (error: unknown) => void;
  #topics = new Set<string>();
  #timer: ReturnType<typeof setInterval> | undefined;

  /** Creates an empty registry. `fault` receives the error of a failed renewal, unless the connection is down. */
  constructor(client: Client, names: Names, inbox: string, fault: (error: unknown) => void) {
    this.#client = client;
    this.#names = names;
    this.#inbox = inbox;
    this.#fault = fault;
  }

  /** Registers the inbox as a server of the topic. */
  async add(topic: string): Promise<void> {
    this.#topics.add(topic);
    this.#timer ??= setInterval(() => this.renew().catch((error) => this.#failed(error)), RENEW);
    try {
      await this.#register(topic);
    } catch (error) {
      this.#forget(topic);
      throw error;
    }
  }

  /** Removes a registration. */
  async remove(topic: string): Promise<void> {
    if (this.#forget(topic)) await this.#unregister(topic);
  }

  /** Renews all registrations. */
  async renew(): Promise<void> {
    await Promise.all([...this.#topics].map((topic) => this.#register(topic)));
  }

  /** Removes all registrations, even if the connection breaks meanwhile. */
  async close(): Promise<void> {
    const topics = [...this.#topics];
    this.#topics.clear(); // a reconnect renews those that are still in the set
    await Promise.all(topics.map((topic) => retryUnavailable(() => this.#unregister(topic))));
  }

  /** Stops renewing. */
  stop(): void {
    clearInterval(this.#timer);
  }

  /** Reports the error of a renewal. The loss of a connection was reported already, and the next connection renews. */
  #failed(error: unknown): void {
    if (this.#client.up || !isUnavailable(error)) this.#fault(error);
  }

  #register(topic: string): Promise<void> {
    return register(this.#client, this.#names, topic, this.#inbox);
  }

  #unregister(topic: string): Promise<unknown> {
    return this.#client.call(count, "zrem", this.#names.servers(topic), this.#inbox);
  }

  #forget(topic: string): boolean {
    const known = this.#topics.delete(topic);
    if (this.#topics.size === 0) {
      clearInterval(this.#timer);
      this.#timer = undefined;
    }
    return known;
  }
}
