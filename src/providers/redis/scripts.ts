/**
 * The Lua scripts, which Redis executes atomically. They use the server's clock. Each script removes before it adds, so that a server
 * without free memory still hands out and settles items (Redis lets a script finish that has begun to write).
 *
 * A member of the `due` set is `<stem>:<starts>` while the item is leased and its start is not recorded. That is also its receipt. It is
 * `<stem>|<starts>` after a start was recorded, or when the item was put back with a delay. The `items` hash contains the body under the
 * stem. A stem begins with the time of the first delivery, so items that were put back keep their order. The rest of a stem is new with
 * each take, so a receipt identifies one lease. A stem ends with `.u` if the previous lease expired, with `.d` and the time from which the
 * item may be taken if it was put or put back with a delay, and with `.` if it was put back.
 *
 * Items that are put back without a delay go to the head of the list, where PyMQ sees them too, with the mark of `delivery_mark.ts`. Items
 * with a time go back to the `due` set: due items are taken first, so in the list they would be taken after items with a later time.
 *
 * @module
 */
import { createHash } from "node:crypto";
import { textOf } from "../../internal/thrown.ts";
import type { Client } from "./client.ts";
import { COUNT, ENOUGH, HELD, MANY, MARKS, NOW, RECORDED, STEP } from "./lua.ts";
import type { ReplyReader } from "./replies.ts";

/** A Lua script and its SHA-1 digest, by which EVALSHA finds it. */
export interface Script {
  /** The operation on its first key, for error messages: "get from queue". */
  readonly operation: string;
  readonly lua: string;
  readonly sha: string;
}

const SCRIPTS: Script[] = [];

/** Milliseconds for which the server keeps a record of taken items, so that a lost reply can be recovered. */
export const RECORD_LIFE = 60_000;

/** The longest wait in milliseconds that a take replies with. Another client may have written a member that is never due. */
export const MAX_WAIT = 60_000;

/**
 * Takes up to ARGV[2] items: first those that are due, then from the list. ARGV[3] is the lease in milliseconds, 0 for none. It records the
 * items in `record` under the number ARGV[1] of this take. With ARGV[4] `again`, it returns the items of that record, because their reply
 * was lost; without a record it takes new items. With `only`, it returns the items of the record or nothing. The reply contains ARGV[1], by
 * which the client recognises it, the milliseconds until the next item is due (-1: none, 0: take again), the sizes of the items that it has
 * put aside, then receipt, attempt and body of each item.
 *
 * It ends when the items have enough bytes. It moves an item of more than ARGV[7] bytes to the list `aside`, from which no client takes it. If Redis
 * refuses that, because another client has made the key another type, it puts the item back with a delay, and returns a negative size.
 *
 * A take that finds nothing waits for ARGV[6] milliseconds (0: not at all) for an item that is handed over (see `hand_over.ts`). The next
 * take has the same number and `again` or `only`, which ends the wait.
 *
 * It reads the list as a read-only command only when it returns nothing: that makes the server report the next change of the keys (CLIENT
 * TRACKING), which wakes the clients that wait for this queue.
 */
export const TAKE: Script = script(
  "get from queue",
  `
local list, due, items, record, receivers, aside = KEYS[1], KEYS[2], KEYS[3], KEYS[4], KEYS[5], KEYS[6]
local number, max, lease, mode = ARGV[1], tonumber(ARGV[2]), tonumber(ARGV[3]), ARGV[4]
local wait, longest, receiver = tonumber(ARGV[6]), tonumber(ARGV[7]), number .. ' ' .. ARGV[3]
${NOW}${MARKS}${MANY}${COUNT}${RECORDED}
local tooLong
if mode ~= '' then
  redis.pcall('ZREM', receivers, receiver)
  local kept = recorded(record, number)
  if kept then
    tooLong = kept[3]
    local out, taken = {number, -1, tooLong or 0}, kept[2]
    local function add(member, starts, body)
      out[#out + 1] = member
      out[#out + 1] = math.max(1, limited(starts) + 1)
      out[#out + 1] = body
    end
    if lease == 0 then
      for i = 4, #taken - 2, 3 do
        local starts, body = tonumber(taken[i + 1]), taken[i + 2]
        if starts and type(body) == 'string' then add('', starts - 1, body) end
      end
      return out
    end
    local size, seen = 0, {}
    for _, member in ipairs(taken) do
      if size >= ${ENOUGH} then break end
      local stem, starts = string.match(tostring(member), '^(.*):(%d+)$')
      local body = stem and not seen[stem] and redis.call('HGET', items, stem)
      if body and #body <= longest and redis.call('ZREM', due, member) == 1 then
        seen[stem] = true
        size = size + #body
        redis.call('ZADD', due, now + lease, member)
        add(member, starts, body)
      end
    end
    if #out > 3 then return out end
  end
  if mode == 'only' then return {number, -1, tooLong or 0} end
end
redis.call('HLEN', items) -- if another client has made it another type, this throws before anything is taken
local out, members, bodies, ends, size, removed = {number, -1, tooLong or 0}, {}, {}, {}, 0, false
local function give(before, count, body, unconfirmed, time)
  size = size + #body
  if #body > longest then
    tooLong = tooLong or {}
    local bytes = #body
    if type(redis.pcall('LPUSH', aside, body)) ~= 'number' then
      local stem = clock[1] .. string.format('%06d.%06d.', clock[2], #members) .. number .. '.' .. #tooLong .. '.aside.'
      redis.call('HSET', items, stem, body)
      redis.call('ZADD', due, now + ${MAX_WAIT}, stem .. '|' .. count)
      bytes = -bytes
    end
    tooLong[#tooLong + 1] = bytes
    out[3] = tooLong
    removed = true
    return
  end
  local member = ''
  if lease > 0 then
    local order = #before < 256 and string.match(before, '^%d+%.%d+%.') or clock[1] .. string.format('%06d.%06d.', clock[2], #members)
    local stem = order .. number .. '.' .. #members .. (unconfirmed and '.u' or time and '.d' .. time or '')
    member = stem .. ':' .. count
    members[#members + 1] = member
    bodies[#bodies + 1] = stem
    bodies[#bodies + 1] = body
    ends[#ends + 1] = now + lease
    ends[#ends + 1] = member
  end
  out[#out + 1] = member
  out[#out + 1] = count + 1
  out[#out + 1] = body
end
local first = redis.call('ZRANGE', due, 0, max - 1, 'WITHSCORES')
for i = 1, #first, 2 do
  if size >= ${ENOUGH} then break end
  local wait = tonumber(first[i + 1]) - now
  if wait > 0 then
    out[2] = math.min(wait, ${MAX_WAIT})
    break
  end
  local stem, state, count = string.match(first[i], '^(.*)([:|])(%d+)$')
  redis.call('ZREM', due, first[i])
  -- a member without a stem is not from tsmq: it is removed, so that it does not block the queue
  if stem then
    local body = redis.call('HGET', items, stem)
    redis.call('HDEL', items, stem)
    local expired = state == ':' or string.sub(stem, -1) ~= '.'
    if body then give(stem, limited(count), body, expired, string.match(first[i + 1], '^%d+$')) end
  end
  removed = true
end
local left, step = max - (#out - 3) / 3, 1
while left > 0 and size < ${ENOUGH} do
  local texts = redis.pcall('RPOP', list, math.min(left, step)) or {}
  if texts.err then
    if #out == 3 then return texts end
    break
  end
  for i = 1, #texts do
    if size >= ${ENOUGH} then
      for back = #texts, i, -1 do redis.call('RPUSH', list, texts[back]) end
      break
    end
    local body, count = unmark(texts[i])
    give('', count, body)
  end
  left = #texts < step and 0 or left - step
  step = size < ${ENOUGH / STEP} and ${STEP} or 1
end
local stored, fault = pcall(many, 'HSET', items, bodies)
if stored then stored, fault = pcall(many, 'ZADD', due, ends) end
if not stored then -- a rule of an ACL may forbid these commands only
  for i = #out - 2, 4, -3 do
    local starts, body = out[i + 1] - 1, out[i + 2]
    redis.call('RPUSH', list, starts > 0 and body .. mark(starts) or body)
  end
  error(fault)
end
if #out == 3 and removed then out[2] = 0 end -- items may be behind what was removed
if #out > 3 or tooLong then
  redis.call('SET', record, cmsgpack.pack({number, lease > 0 and members or out, tooLong}), 'PX', ARGV[5])
end
if #out == 3 then
  if wait > 0 and not tooLong then
    -- a server that refuses this still hands out items
    redis.pcall('ZADD', receivers, now + wait, receiver)
    redis.pcall('PEXPIRE', receivers, wait)
  end
  redis.call('LLEN', list)
end
return out
`,
);

/** Records the start of the handlers of the leases ARGV. Replies with 1 for each valid lease. */
export const START: Script = script(
  "record attempts in queue",
  `
local due = KEYS[1]
${NOW}${HELD}
local flags, leases = held(1)
local before, started = {}, {}
for _, lease in ipairs(leases) do
  before[#before + 1] = lease.member
  started[#started + 1] = lease.till
  started[#started + 1] = lease.stem .. '|' .. (lease.count + 1)
end
many('ZREM', due, before)
many('ZADD', due, started)
return flags
`,
);

/** Acknowledges the leases ARGV. Replies with 1 for each valid lease. */
export const ACK: Script = script(
  "acknowledge items of queue",
  `
local due, items = KEYS[1], KEYS[2]
${NOW}${HELD}
local flags, leases = held(1)
local members, stems = {}, {}
for i, lease in ipairs(leases) do members[i], stems[i] = lease.member, lease.stem end
many('ZREM', due, members)
many('HDEL', items, stems)
return flags
`,
);

/**
 * Puts the items of the leases ARGV[3…] back, due in ARGV[1] milliseconds. Replies with 1 for each valid lease. ARGV[2] "nack" counts an
 * attempt, "untried" counts none. Without a delay, the items go to the head of the queue, in their old order.
 */
export const NACK: Script = script(
  "give items back to queue",
  `
local due, items, list = KEYS[1], KEYS[2], KEYS[3]
${NOW}${MARKS}${HELD}
local delay, tried = tonumber(ARGV[1]), ARGV[2] == 'nack'
local flags, leases = held(3)
table.sort(leases, function(a, b) return ARGV[a.index + 2] > ARGV[b.index + 2] end)
for _, lease in ipairs(leases) do
  local stem, count = lease.stem, tried and lease.count + 1 or lease.count
  local body = redis.call('HGET', items, stem)
  redis.call('ZREM', due, lease.member)
  redis.call('HDEL', items, stem)
  if body then
    -- an item of the list cannot be unconfirmed, so such an item stays in due, like a lease that ran out
    local unconfirmed = not tried and string.sub(stem, -2) == '.u'
    local time = delay > 0 and now + delay or string.match(stem, '%.d(%d+)$')
    local pushed = not time and not unconfirmed and
      redis.pcall('RPUSH', list, count > 0 and body .. mark(count) or body)
    if type(pushed) ~= 'number' then
      stem = stem .. '.' -- this makes its receipt invalid, and says that no lease ran out
      redis.call('HSET', items, stem, body)
      redis.call('ZADD', due, time or 0, stem .. (unconfirmed and ':' or '|') .. count)
    end
  end
end
return flags
`,
);

/** Extends the leases ARGV[2…] to ARGV[1] milliseconds from now. Replies with 1 for each valid lease. */
export const EXTEND: Script = script(
  "extend leases of queue",
  `
local due = KEYS[1]
${NOW}${HELD}
local flags, leases = held(2)
local members, ends = {}, {}
for i, lease in ipairs(leases) do
  members[i] = lease.member
  ends[#ends + 1] = now + ARGV[1]
  ends[#ends + 1] = lease.member
end
many('ZREM', due, members)
many('ZADD', due, ends)
return flags
`,
);

/** Puts the bodies ARGV[2…] at the head of the list, the last one first. Repeating it with the same record has no effect. */
export const RESTORE: Script = script(
  "give items back to queue",
  `
local list, record = KEYS[1], KEYS[2]
if redis.call('EXISTS', record) == 1 then return 0 end
redis.call('UNLINK', record)
for i = 2, #ARGV do redis.call('RPUSH', list, ARGV[i]) end
redis.call('SET', record, '', 'PX', ARGV[1])
return 1
`,
);

/** Puts the items of the take with number ARGV[1], which had no lease, back to the head of the list in their order. Repeating it has no effect. */
export const GIVE_BACK: Script = script(
  "give items back to queue",
  `
local list, record = KEYS[1], KEYS[2]
${MARKS}${COUNT}${RECORDED}
local kept = recorded(record, ARGV[1])
if not kept then return 0 end
redis.call('UNLINK', record)
local out, back = kept[2], 0
for i = #out - 2, 4, -3 do
  local count, body = tonumber(out[i + 1]), out[i + 2]
  if count and type(body) == 'string' then
    redis.call('RPUSH', list, count > 1 and body .. mark(limited(count) - 1) or body)
    back = back + 1
  end
end
return back
`,
);

/**
 * Runs a script: by its digest, or by its text if the server does not have it. `sent` is called each time the script was sent: commands
 * that are sent later are executed later.
 */
export async function run<T>(
  client: Client,
  read: ReplyReader<T>,
  { lua, sha }: Script,
  keys: readonly string[],
  args: readonly (string | number)[],
  sent?: () => void,
): Promise<T> {
  const send = (name: string, script: string) => {
    const reply = client.call(read, name, script, String(keys.length), ...keys, ...args.map(String));
    sent?.();
    return reply;
  };
  try {
    return await send("evalsha", sha);
  } catch (error) {
    if (!(error instanceof Error) || !/^NOSCRIPT/.test(textOf(error.cause))) throw error;
    return await send("eval", lua);
  }
}

/** Returns what a script does, by its digest or its text; undefined for another script. */
export function operationOf(script: string): string | undefined {
  return SCRIPTS.find(({ lua, sha }) => script === sha || script === lua)?.operation;
}

/** Creates a script. */
export function script(operation: string, lua: string): Script {
  let sha: string | undefined;
  const made = {
    operation,
    lua,
    get sha() {
      return sha ??= createHash("sha1").update(lua).digest("hex");
    },
  };
  SCRIPTS.push(made);
  return made;
}
