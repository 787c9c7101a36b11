/**
 * The Lua scripts that put an item for later, and that count or show the items of a queue. `scripts.ts` describes the keys.
 *
 * @module
 */
import { COUNT, ENOUGH, MARKS, NOW, STEP } from "./lua.ts";
import { type Script, script } from "./scripts.ts";

/**
 * Puts the body ARGV[1], due in ARGV[2] milliseconds. ARGV[3] is unique. The item is stored like one that was put back with a delay,
 * without attempts.
 */
export const PUT_LATER: Script = script(
  "put into queue",
  `
local due, items = KEYS[1], KEYS[2]
${NOW}
local stem = clock[1] .. string.format('%06d.%06d.', clock[2], 0) .. ARGV[3] .. '.'
redis.call('HSET', items, stem, ARGV[1])
return redis.call('ZADD', due, now + ARGV[2], stem .. '|0')
`,
);

/** Replies with the number of items that can be taken now: those of the list and those that are due. */
export const SIZE: Script = script(
  "count the items of queue",
  `
${NOW}
return redis.call('LLEN', KEYS[1]) + redis.call('ZCOUNT', KEYS[2], '-inf', now)
`,
);

/**
 * Replies with attempt and body of up to ARGV[2] items after the first ARGV[1] ones: first those that are due, then those of the list. It
 * ends when they have enough bytes. A text, which is not JSON, stands for an item of more than ARGV[3] bytes.
 */
export const PEEK: Script = script(
  "peek into queue",
  `
local list, due, items = KEYS[1], KEYS[2], KEYS[3]
local offset, limit, longest = tonumber(ARGV[1]), tonumber(ARGV[2]), tonumber(ARGV[3])
${NOW}${MARKS}${COUNT}
local out, size, before = {}, 0, redis.call('ZCOUNT', due, '-inf', now)
local function show(count, body)
  if size >= ${ENOUGH} then return end
  size = size + #body
  out[#out + 1] = count + 1
  out[#out + 1] = #body > longest and 'an item of ' .. #body .. ' bytes, which is too long to be shown' or body
end
for _, member in ipairs(redis.call('ZRANGEBYSCORE', due, '-inf', now, 'LIMIT', offset, limit)) do
  local stem, count = string.match(member, '^(.*)[:|](%d+)$')
  local body = stem and size < ${ENOUGH} and redis.call('HGET', items, stem)
  if body then show(limited(count), body) end
end
local first, left, step = math.max(0, offset - before), limit - math.max(0, math.min(before - offset, limit)), 1
while left > 0 and size < ${ENOUGH} do
  step = math.min(step, left)
  local texts = redis.call('LRANGE', list, -first - step, -first - 1)
  for i = #texts, 1, -1 do
    local body, count = unmark(texts[i])
    show(count, body)
  end
  first, left = first + step, #texts < step and 0 or left - step
  step = size < ${ENOUGH / STEP} and ${STEP} or 1
end
return out
`,
);

/** The number of members of a `due` set that a script has at once. */
const PAGE = 1_024;

/** Replies with the numbers of waiting, leased and delayed items. Only their names say which items are delayed: they are read in pages. */
export const STATS: Script = script(
  "count the items of queue",
  `
local list, due = KEYS[1], KEYS[2]
${NOW}
local leased, delayed = 0, 0
local ready, all = redis.call('ZCOUNT', due, '-inf', now), redis.call('ZCOUNT', due, '-inf', '+inf')
for first = ready, all - 1, ${PAGE} do
  for _, member in ipairs(redis.call('ZRANGE', due, first, first + ${PAGE - 1})) do
    if string.match(member, '%.[:|]%d+$') then delayed = delayed + 1 else leased = leased + 1 end
  end
end
return {redis.call('LLEN', list) + ready, leased, delayed}
`,
);
