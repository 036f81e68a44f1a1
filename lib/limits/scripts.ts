import { scriptOf } from '../platform/platform.ts';

/**
 * The beginning of all scripts. `ARGV[1]`: the time in Unix milliseconds, 0 for Redis's own, which all instances share.
 * A window is a packed array of first time, latest time and count, oldest first, as in `WindowLog`. Slots and reserved
 * budgets are leases, sorted by their end, so that those of an instance that died come back. Numbers leave as text, since
 * Lua writes only 14 digits and Redis cuts fractions.
 */
const common = `
local now = tonumber(ARGV[1])
if now == 0 then
  local time = redis.call('TIME')
  now = time[1] * 1000 + math.floor(time[2] / 1000)
end
local function whole(number) return string.format('%.0f', number) end

local function load(key, window)
  local packed = redis.call('GET', key)
  local log, total = {}, 0
  if not packed then return log, total end
  local stored = cmsgpack.unpack(packed)
  local gone = 0
  while gone < #stored and stored[gone + 2] + window <= now do gone = gone + 3 end
  for at = gone + 1, #stored, 3 do
    local first, latest, count = stored[at], stored[at + 1], stored[at + 2]
    if latest > now then latest, first = now, math.min(first, now) end
    log[#log + 1], log[#log + 2], log[#log + 3] = first, latest, count
    total = total + count
  end
  return log, total
end
local function save(key, log, window)
  if #log == 0 then redis.call('DEL', key) else redis.call('SET', key, cmsgpack.pack(log), 'PX', whole(window + 1000)) end
end
local function add(log, amount, window)
  local first = log[#log - 2]
  if first and now - first < math.max(1, math.floor(window / 60)) then
    log[#log - 1], log[#log] = now, log[#log] + amount
    return first
  end
  log[#log + 1], log[#log + 2], log[#log + 3] = now, now, amount
  return now
end

local function release(key, held)
  for _, member in ipairs(redis.call('ZRANGEBYSCORE', held, '-inf', whole(now))) do
    if redis.call('DECRBY', key, string.match(member, '^%d+')) == 0 then redis.call('DEL', key) end
    redis.call('ZREM', held, member)
  end
end
local function keep(key, till) redis.call('PEXPIREAT', key, whole(math.max(till, now) + 86400000)) end
`;

/**
 * Checks every rule and counts for all or none. `KEYS`: a counter each. `ARGV`: time, id, lease in milliseconds, then kind
 * (`w`indow, `c`oncurrency, `b`udget), limit, window or end, amount, whether it only observes and the block to grant of a
 * window where that fits too, of each. Returns whether it counted, then used, fits, wait (-1: never), reset, place and what was
 * granted of each.
 */
export const takeScript = scriptOf(`${common}
local id, lease = ARGV[2], tonumber(ARGV[3])
local found, logs, ok = {}, {}, true
for i = 1, #KEYS do
  local at = 6 * i - 2
  local key, kind, limit, span, amount = KEYS[i], ARGV[at], tonumber(ARGV[at + 1]), tonumber(ARGV[at + 2]), tonumber(ARGV[at + 3])
  local used, fits, wait, reset = 0, true, 0, 0
  if kind == 'w' then
    local log, total = load(key, span)
    logs[i], used = log, total
    fits = used + amount <= limit
    reset = span
    if not fits then
      local left = 0
      wait = -1
      for entry = 1, #log, 3 do
        left = left + log[entry + 2]
        if left >= used + amount - limit then wait = log[entry + 1] + span - now break end
      end
      reset = #log == 0 and 0 or log[#log - 1] + span - now
    end
  elseif kind == 'c' then
    redis.call('ZREMRANGEBYSCORE', key, '-inf', whole(now))
    used = redis.call('ZCARD', key)
    fits = used + amount <= limit
    wait = fits and 0 or 1000
  else
    release(key, 'heimdall:held:' .. key)
    used = tonumber(redis.call('GET', key) or '0')
    fits = used + math.max(1, amount) <= limit
    reset = span - now
    wait = fits and 0 or reset
  end
  if not fits and ARGV[at + 4] == '0' then ok = false end
  local place = 6 * i - 4
  found[place], found[place + 1], found[place + 2], found[place + 3], found[place + 4], found[place + 5] = whole(used), fits and '1' or '0', whole(wait), whole(reset), '0', '0'
end
found[1] = ok and '1' or '0'
if not ok then return found end
for i = 1, #KEYS do
  local at = 6 * i - 2
  local key, kind, span, amount = KEYS[i], ARGV[at], tonumber(ARGV[at + 2]), tonumber(ARGV[at + 3])
  if kind == 'w' then
    local block = tonumber(ARGV[at + 5])
    if block > 0 and found[6 * i - 3] == '1' and tonumber(found[6 * i - 4]) + amount + block <= tonumber(ARGV[at + 1]) then
      amount = amount + block
      found[6 * i + 1] = ARGV[at + 5]
    end
    found[6 * i] = whole(add(logs[i], amount, span))
    save(key, logs[i], span)
  elseif kind == 'c' then
    redis.call('ZADD', key, whole(now + lease), id)
    redis.call('PEXPIRE', key, whole(2 * lease))
  else
    redis.call('INCRBY', key, ARGV[at + 3])
    redis.call('ZADD', 'heimdall:held:' .. key, whole(now + lease), ARGV[at + 3] .. ':' .. id)
    keep(key, span)
    keep('heimdall:held:' .. key, span)
  end
end
return found`);

/**
 * Corrects what was taken. `KEYS`: a counter each. `ARGV`: time, id, then kind, window or end, place, amount, actual,
 * whether a late correction still counts and, at the end of a block, how long ago it was last used (else -1), of each. A
 * budget's lease that has ended was given back already.
 */
export const settleScript = scriptOf(`${common}
local id = ARGV[2]
for i = 1, #KEYS do
  local at = 7 * i - 4
  local key, kind, span, place, amount, actual = KEYS[i], ARGV[at], tonumber(ARGV[at + 1]), tonumber(ARGV[at + 2]), tonumber(ARGV[at + 3]), tonumber(ARGV[at + 4])
  if kind == 'w' then
    local log = load(key, span)
    local known = false
    for entry = 1, #log, 3 do
      if log[entry] == place then
        known = true
        log[entry + 2] = math.max(0, log[entry + 2] + actual - amount)
        local age = tonumber(ARGV[at + 6])
        if age >= 0 then log[entry + 1] = math.max(now - age, log[entry + 1]) end
        break
      end
    end
    if not known and ARGV[at + 5] == '1' and actual > 0 then add(log, actual, span) end
    save(key, log, span)
  elseif kind == 'c' then
    redis.call('ZREM', key, id)
  else
    local back = redis.call('ZREM', 'heimdall:held:' .. key, ARGV[at + 3] .. ':' .. id) == 1 and amount or 0
    if redis.call('INCRBY', key, whole(actual - back)) == 0 then redis.call('DEL', key) else keep(key, span) end
  end
end
return 1`);

/**
 * Renews leases; one that has ended, while Redis could not be reached, is taken anew. `KEYS`: a counter each. `ARGV`: time,
 * lease, then kind, id, amount and end of each.
 */
export const renewScript = scriptOf(`${common}
local lease = tonumber(ARGV[2])
for i = 1, #KEYS do
  local at = 4 * i - 1
  local key, id, amount = KEYS[i], ARGV[at + 1], ARGV[at + 2]
  if ARGV[at] == 'c' then
    redis.call('ZADD', key, whole(now + lease), id)
    redis.call('PEXPIRE', key, whole(2 * lease))
  elseif redis.call('ZADD', 'heimdall:held:' .. key, whole(now + lease), amount .. ':' .. id) == 1 then
    redis.call('INCRBY', key, amount)
    keep(key, tonumber(ARGV[at + 3]))
    keep('heimdall:held:' .. key, tonumber(ARGV[at + 3]))
  end
end
return 1`);

/** Adds what an instance spent while it was alone. `KEYS`: a budget each. `ARGV`: time, then amount and end of each. */
export const spendScript = scriptOf(`${common}
for i = 1, #KEYS do
  redis.call('INCRBY', KEYS[i], ARGV[2 * i])
  keep(KEYS[i], tonumber(ARGV[2 * i + 1]))
end
return 1`);
