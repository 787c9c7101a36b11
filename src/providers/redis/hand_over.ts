/**
 * Hands items over from a sender directly to a receiver that waits for them, so that they need no second round trip.
 *
 * A take that finds nothing adds its receiver to the sorted set `receivers` of the queue. The script {@linkcode PUT} takes a receiver from
 * there, leases the item to it, and publishes the item to its channel. The script completes that take: it records the item under the number
 * of the take. If the message does not arrive, the next take fetches the item like that of a lost reply.
 *
 * @module
 */
import { ownText } from "../../internal/utf8.ts";
import { readTopic } from "../../provider/topic_mark.ts";
import type { Delivery } from "../../provider/provider.ts";
import type { Client } from "./client.ts";
import { NOW, UNMARK } from "./lua.ts";
import type { Names } from "./names.ts";
import { count } from "./replies.ts";
import { RECORD_LIFE, type Script, script } from "./scripts.ts";

/** The largest number of characters of an item that is handed over. A larger one would fill the output buffer of a subscriber. */
const LARGEST = 64 * 1024;

/** The largest number of receivers that a put tries, because receivers of killed processes may be registered. */
const TRIED = 16;

/**
 * Puts the body ARGV[1] into the queue. If the queue is empty and a receiver waits for it, leases the item to that receiver instead. A
 * receiver that has lost its connection is removed. Nothing is handed over while another client has made `items` or `receivers` another type. ARGV[2] and ARGV[3] are the prefixes of the records and of the inboxes, ARGV[4] is the
 * life of a record. Replies with 1 if a receiver has the item.
 */
export const PUT: Script = script(
  "put into queue",
  `
local list, due, items, receivers, body = KEYS[1], KEYS[2], KEYS[3], KEYS[4], ARGV[1]
local receiver = redis.pcall('ZRANGE', receivers, 0, 0, 'WITHSCORES')
if receiver[1] and redis.call('LLEN', list) == 0 and type(redis.pcall('HLEN', items)) == 'number' then
${NOW}${UNMARK}
local first = redis.call('ZRANGE', due, 0, 0, 'WITHSCORES')[2]
for _ = 1, ${TRIED} do
if not receiver[1] or first and tonumber(first) <= now then break end
redis.call('ZREM', receivers, receiver[1])
local number, taker, inbox, lease = string.match(receiver[1], '^(((%x+)%.%d+)%.%d+) (%d+)$')
if number and tonumber(receiver[2]) > now then
local text, starts = unmark(body)
local stem = clock[1] .. string.format('%06d.%06d.', clock[2], 0) .. number .. '.0'
local member = stem .. ':' .. starts
if redis.call('PUBLISH', ARGV[3] .. inbox .. ':items', number .. '\\n' .. member .. '\\n' .. text) > 0 then
redis.call('HSET', items, stem, text)
redis.call('ZADD', due, now + lease, member)
redis.call('SET', ARGV[2] .. taker, cmsgpack.pack({number, {member}}), 'PX', ARGV[4])
return 1
end
end
receiver = redis.call('ZRANGE', receivers, 0, 0, 'WITHSCORES')
end
end
redis.call('LPUSH', list, body)
return 0
`,
);

/** A handed over item, with the number of the take that waited for it. */
export interface HandedOver {
  readonly number: string;
  readonly delivery: Delivery;
}

/** Returns whether an item may be handed over. */
export function isSmall(body: string): boolean {
  return body.length <= LARGEST;
}

/**
 * Puts an item, or hands it over. It sends the text of the script each time: with a hash, a script that the server does not have would be
 * executed after later puts.
 */
export async function putOrHandOver(client: Client, names: Names, queue: string, body: string): Promise<void> {
  const { list, due, items, receivers, records } = names.queue(queue);
  const args = [body, records, names.inboxes, String(RECORD_LIFE)];
  await client.call(count, "eval", PUT.lua, "4", list, due, items, receivers, ...args);
}

/** Reads a message of {@linkcode PUT}. Returns undefined for any other message. */
export function readHandedOver(message: string): HandedOver | undefined {
  const end = message.indexOf("\n");
  const bodyAt = message.indexOf("\n", end + 1) + 1;
  if (end < 0 || bodyAt === 0) return undefined;
  const receipt = ownText(message.slice(end + 1, bodyAt - 1)); // the lease outlives the item's text
  const starts = /:(\d{1,10})$/.exec(receipt)?.[1];
  if (starts === undefined) return undefined;
  const delivery = { receipt, ...readTopic(message.slice(bodyAt)), attempt: Number(starts) + 1 };
  return { number: message.slice(0, end), delivery };
}
