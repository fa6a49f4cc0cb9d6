-- What every script begins with: the time, a token's windows and what its requests in flight have reserved.
--
-- KEYS[1]  hash: a header per window, a field per slice of it, and R, what is reserved
-- KEYS[2]  sorted set by the time at which each ends: leases (ID:TOKENS:NANODOLLARS), and d:ID of those that have ended
-- ARGV[1]  milliseconds since 1970; empty for this server's clock
-- ARGV[2]  milliseconds after which a lease that nobody renews ends
--
-- Amounts are triples: requests, tokens, nano-dollars. The arithmetic is that of metering's Window and Account; numbers are
-- doubles, exact up to 2^53 and off by a few nano-dollars beyond nine million dollars.

local usage_key, leases_key = KEYS[1], KEYS[2]
local lease_ms = tonumber(ARGV[2])
local DAY = 86400000
-- At most so many leases end within one call, so that it takes a millisecond at most.
local BATCH = 1000

local function clock(text)
  if text ~= '' then return tonumber(text) end
  local time = redis.call('TIME')
  return tonumber(time[1]) * 1000 + math.floor(tonumber(time[2]) / 1000)
end

local now = clock(ARGV[1])

-- Lua writes large numbers with an exponent, which nobody reads back.
local function digits(number) return string.format('%.0f', number) end

-- Months since year 0, UTC.
local function month_of(ms)
  local days = math.floor(ms / DAY) + 719468
  local era = math.floor(days / 146097)
  local day = days - era * 146097
  local year = math.floor((day - math.floor(day / 1460) + math.floor(day / 36524) - math.floor(day / 146096)) / 365)
  local of_year = day - (365 * year + math.floor(year / 4) - math.floor(year / 100))
  local march = math.floor((5 * of_year + 2) / 153)
  year = year + era * 400
  if march < 10 then return year * 12 + march + 2 end
  return (year + 1) * 12 + march - 10
end

local function month_start(month)
  local year, of_year = math.floor(month / 12), month % 12
  local march = of_year - 2
  if of_year < 2 then year, march = year - 1, of_year + 10 end
  local era = math.floor(year / 400)
  local of_era = year - era * 400
  local day = of_era * 365 + math.floor(of_era / 4) - math.floor(of_era / 100) + math.floor((153 * march + 2) / 5)
  return (era * 146097 + day - 719468) * DAY
end

-- Sliding periods: length and slice in milliseconds.
local SLIDING = { S = { 1000, 16 }, M = { 60000, 1000 }, H = { 3600000, 60000 } }
local PERIODS = { 'S', 'M', 'H', 'D', 'Y' }

-- Of the current slice, or the current day or month.
local function index_of(period)
  if period == 'D' then return math.floor(now / DAY) end
  if period == 'Y' then return month_of(now) end
  return math.floor(now / SLIDING[period][2])
end

-- When a slice counts no more.
local function end_of(period, index)
  if period == 'D' then return (index + 1) * DAY end
  if period == 'Y' then return month_start(index + 1) end
  local length, slice = SLIDING[period][1], SLIDING[period][2]
  return index * slice + length + slice
end

local windows, reserved = {}, { 0, 0, 0 }
local sets, deletes = {}, {}

local function triple(text)
  local requests, tokens, spend = string.match(text, '^(%d+):(%d+):(%d+)$')
  return { tonumber(requests), tonumber(tokens), tonumber(spend) }
end

local function untriple(amounts)
  return digits(amounts[1]) .. ':' .. digits(amounts[2]) .. ':' .. digits(amounts[3])
end

local function set(field, value)
  sets[#sets + 1] = field
  sets[#sets + 1] = value
end

local function write_header(window)
  set(window.period, digits(window.oldest) .. '|' .. digits(window.newest) .. '|' .. untriple(window.used))
end

local function slices(window)
  local fields = {}
  for index = window.oldest, window.newest do fields[#fields + 1] = window.period .. digits(index) end
  return fields
end

local function restart(window, used)
  window.used, window.oldest, window.newest = used, window.current, window.current
  write_header(window)
end

-- A clock that was ahead by more than a period is not waited for: what it stamped counts from now on.
local function stamp_anew(window)
  if SLIDING[window.period] then
    for _, field in ipairs(slices(window)) do deletes[#deletes + 1] = field end
  end
  restart(window, window.used)
  if SLIDING[window.period] then
    redis.call('HDEL', usage_key, unpack(deletes))
    deletes = {}
    redis.call('HSET', usage_key, window.period .. digits(window.current), untriple(window.used))
  end
end

local function forget_sliding(window)
  local gone = {}
  while window.oldest <= window.newest and end_of(window.period, window.oldest) <= now do
    gone[#gone + 1] = window.period .. digits(window.oldest)
    window.oldest = window.oldest + 1
  end
  if #gone == 0 then return end
  if window.oldest > window.newest then
    restart(window, { 0, 0, 0 })
  else
    for _, text in ipairs(redis.call('HMGET', usage_key, unpack(gone))) do
      if text then
        local amounts = triple(text)
        for kind = 1, 3 do window.used[kind] = math.max(window.used[kind] - amounts[kind], 0) end
      end
    end
    write_header(window)
  end
  for _, field in ipairs(gone) do deletes[#deletes + 1] = field end
end

local function forget(window)
  local sliding = SLIDING[window.period]
  if sliding then
    if window.newest * sliding[2] > now + sliding[1] then return stamp_anew(window) end
    return forget_sliding(window)
  end
  if window.newest < window.current then return restart(window, { 0, 0, 0 }) end
  if window.newest > window.current + 1 then stamp_anew(window) end
end

local function read_window(period, text)
  local window = { period = period, current = index_of(period) }
  if text then
    local oldest, newest, used = string.match(text, '^(%d+)|(%d+)|(.+)$')
    window.oldest, window.newest, window.used = tonumber(oldest), tonumber(newest), triple(used)
    forget(window)
  else
    window.oldest, window.newest, window.used = window.current, window.current, { 0, 0, 0 }
  end
  windows[period] = window
end

local function add(window, amounts)
  -- Every request counts as one: there is no slice then.
  if window.used[1] == 0 then window.oldest, window.newest = window.current, window.current end
  -- After a clock jump back the newest slice takes it: it is forgotten later, never earlier, than it should be.
  window.newest = math.max(window.newest, window.current)
  for kind = 1, 3 do window.used[kind] = window.used[kind] + amounts[kind] end
  write_header(window)
  if SLIDING[window.period] then
    local field = window.period .. digits(window.newest)
    local slice = triple(redis.call('HGET', usage_key, field) or '0:0:0')
    for kind = 1, 3 do slice[kind] = slice[kind] + amounts[kind] end
    set(field, untriple(slice))
  else
    window.oldest = window.newest
  end
end

-- Milliseconds until at least so much of what is counted now has been forgotten.
local function until_free(window, kind, amount)
  local wait = 0
  if SLIDING[window.period] then
    local freed, index = 0, window.oldest
    for _, text in ipairs(redis.call('HMGET', usage_key, unpack(slices(window)))) do
      if freed >= amount then break end
      if text then
        freed = freed + triple(text)[kind]
        wait = end_of(window.period, index) - now
      end
      index = index + 1
    end
  else
    wait = end_of(window.period, window.newest) - now
  end
  return math.max(wait, 1)
end

local function hold(tokens, spend, sign)
  reserved[1] = math.max(reserved[1] + sign, 0)
  reserved[2] = math.max(reserved[2] + sign * tokens, 0)
  reserved[3] = math.max(reserved[3] + sign * spend, 0)
  if reserved[1] == 0 then reserved = { 0, 0, 0 } end
  set('R', untriple(reserved))
end

local function release(lease)
  local tokens, spend = string.match(lease, '^%x+:(%d+):(%d+)$')
  if tokens then hold(tonumber(tokens), tonumber(spend), -1) end
end

local function end_due_leases()
  -- Stamped by a clock that was ahead.
  local early = redis.call('ZRANGEBYSCORE', leases_key, '(' .. digits(now + 2 * lease_ms), '+inf', 'LIMIT', 0, BATCH)
  for _, member in ipairs(early) do redis.call('ZADD', leases_key, digits(now + lease_ms), member) end
  local due = redis.call('ZRANGEBYSCORE', leases_key, '-inf', digits(now), 'LIMIT', 0, BATCH)
  if #due > 0 then
    for _, member in ipairs(due) do release(member) end
    redis.call('ZREM', leases_key, unpack(due))
  end
  -- The set expires as a whole when nobody asks for long.
  if reserved[1] > 0 and redis.call('EXISTS', leases_key) == 0 then hold(0, 0, -reserved[1]) end
end

local function load()
  local found = redis.call('HMGET', usage_key, 'S', 'M', 'H', 'D', 'Y', 'R')
  if found[6] then reserved = triple(found[6]) end
  for at, period in ipairs(PERIODS) do read_window(period, found[at]) end
  end_due_leases()
end

local function remember(member)
  redis.call('ZADD', leases_key, digits(now + lease_ms), member)
  redis.call('PEXPIRE', leases_key, digits(2 * lease_ms))
end

local function save()
  -- Before what is set: a slice that is forgotten and begun in one call is begun.
  if #deletes > 0 then redis.call('HDEL', usage_key, unpack(deletes)) end
  if #sets > 0 then
    redis.call('HSET', usage_key, unpack(sets))
    redis.call('PEXPIRE', usage_key, digits(month_start(month_of(now) + 1) - now + DAY))
  end
end

load()
