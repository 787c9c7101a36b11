/**
 * The functions that the scripts of `scripts.ts` share, in Lua. Each text is put before the text of a script.
 *
 * @module
 */
import { largestText } from "../../provider/largest_text.ts";

/** The server's time in milliseconds, as `now`. */
export const NOW: string = `
local clock = redis.call('TIME')
local now = clock[1] * 1000 + math.floor(clock[2] / 1000)
`;

/** A function that returns the bytes of memory that a key with all its names takes, 0 if the server does not tell. */
export const MEMORY: string = `
local function memory(key)
  local bytes = redis.pcall('MEMORY', 'USAGE', key, 'SAMPLES', '0')
  return type(bytes) == 'number' and bytes or 0
end
`;

/** A function that returns the count at the end of a member of the `due` set, which may have any digits if another client wrote it. */
export const COUNT: string = `
local function limited(count) return math.min(tonumber(count), ${2 ** 31}) end
`;

/** The function `unmark` of `delivery_mark.ts`. */
export const UNMARK: string = `
local function unmark(text)
  local last = string.byte(text, -1)
  if last ~= 9 and last ~= 32 then return text, 0 end
  local body, digits = string.match(text, '^(.*)\\n([ \\t]+)$')
  if not body or #digits > 32 then return text, 0 end
  local count = 0
  for digit in string.gmatch(digits, '.') do count = 2 * count + (digit == '\\t' and 1 or 0) end
  return body, count
end
`;

/** Both functions of `delivery_mark.ts`. */
export const MARKS: string = `
local function mark(count)
  local digits = ''
  repeat
    digits = (count % 2 == 1 and '\\t' or ' ') .. digits
    count = math.floor(count / 2)
  until count == 0
  return '\\n' .. digits
end
${UNMARK}`;

/**
 * The number of bytes of items after which a reply contains no further item. The last item may exceed it. Without this limit, one reply
 * could contain gigabytes.
 */
export const ENOUGH: number = 16 * 1024 * 1024;
/**
 * The largest number of items that a script reads from the list at once, as long as the items so far are small. The next ones may be large,
 * and for many large ones Redis copies the whole reply once for each: 32 of 20 MiB stopped the server for 6 s, 4 for 0.3 s. Reading 64 small
 * items takes 16 µs longer by 4 than by 32, of 200 µs.
 */
export const STEP = 4;
/** The largest number of bytes of an item in a reply, because V8's longest string has 512 Mi characters. */
export const LONGEST: number = 256 * 1024 * 1024;

/** Returns the largest number of bytes of an item that a bus gets from Redis. */
export function longestItem(maxReceive: number): number {
  return Math.min(largestText(maxReceive), LONGEST);
}

/**
 * A function that returns the record of the take with this number: the number, the list of the items that it has taken, and the sizes of
 * the items that it has put aside, of which a take has far fewer than 1,000. Another client may have written anything else there, and then there
 * is no record.
 */
export const RECORDED: string = `
local function recorded(record, number)
  local read, kept = pcall(cmsgpack.unpack, redis.pcall('GET', record))
  if not read or type(kept) ~= 'table' or kept[1] ~= number or type(kept[2]) ~= 'table' then return nil end
  local sizes = {}
  for i, size in ipairs(type(kept[3]) == 'table' and kept[3] or {}) do
    if i > 1000 then break end
    if type(size) == 'number' then sizes[#sizes + 1] = size end
  end
  return {kept[1], kept[2], #sizes > 0 and sizes or nil}
end
`;

/** A function that runs a command with many arguments, in parts, because `unpack` has a limit. A part has whole pairs. */
export const MANY: string = `
local function many(command, key, args)
  local replies = {}
  for i = 1, #args, 1000 do
    replies[#replies + 1] = redis.call(command, key, unpack(args, i, math.min(i + 999, #args)))
  end
  return replies
end
`;

/**
 * A function that finds the leases of the receipts ARGV[first…]. It returns the flags to reply with, 1 for each valid lease, and the valid
 * leases: the index of the flag, the member of the `due` set, its stem, its starts at the take, and the end of the lease. A repeated receipt
 * is valid once.
 */
export const HELD: string = `${MANY}
local function held(first)
  local flags, leases, stems, members, seen = {}, {}, {}, {}, {}
  for i = first, #ARGV do
    local stem, count = string.match(ARGV[i], '^(.*):(%d+)$')
    flags[#flags + 1] = 0
    if stem and not seen[ARGV[i]] then
      seen[ARGV[i]] = true
      stems[#stems + 1] = {#flags, stem, tonumber(count)}
      members[#members + 1] = stem .. '|' .. (count + 1)
      members[#members + 1] = ARGV[i]
    end
  end
  local at = 0
  for _, ends in ipairs(many('ZMSCORE', due, members)) do
    for _, till in ipairs(ends) do
      at = at + 1
      local index, stem, count = unpack(stems[math.ceil(at / 2)])
      if till and tonumber(till) > now and flags[index] == 0 then
        flags[index] = 1
        leases[#leases + 1] = {index = index, member = members[at], stem = stem, count = count, till = till}
      end
    end
  end
  return flags, leases
end
`;
