
-- Grants or refuses a request under all its limits at once.
--
-- ARGV[3]  the lease's ID, in hexadecimal digits
-- ARGV[4]  tokens, ARGV[5] nano-dollars to reserve
-- ARGV[6]  1 if one answer is asked for
-- then per limit: period (S, M, H, D, Y), kind (1 requests, 2 tokens, 3 nano-dollars), cap, 1 if it is strict
--
-- Answers 1 and what is left of each limit; 0, which limit leaves no room for longest, what is left of it, the milliseconds
-- until there is room or -1, 1 if there never is; or 2 if the lease has ended already.

local lease, is_single = ARGV[3], ARGV[6] == '1'
local estimate = { 1, tonumber(ARGV[4]), tonumber(ARGV[5]) }

if redis.call('ZSCORE', leases_key, 'd:' .. lease) then
  save()
  return { '2' }
end

local function limit_at(at)
  local kind = tonumber(ARGV[at + 1])
  return windows[ARGV[at]], kind, tonumber(ARGV[at + 2]), ARGV[at + 3] == '1'
end

-- Nothing if the limit has room, else what is to be said of it and how long it lasts.
local function check(at)
  local window, kind, cap, is_strict = limit_at(at)
  local used, requested = window.used[kind], estimate[kind]
  local never = requested > cap and (is_strict or not is_single)
  local taken = used + reserved[kind]
  local wanted = taken + math.min(requested, cap)
  if wanted <= cap and taken < cap and not never then return nil end
  local missing = math.max(wanted - cap, taken + 1 - cap, 1)
  local retry, lasts = -1, 1
  if cap > 0 and used >= missing and not never then
    retry = until_free(window, kind, missing)
    lasts = 0
  elseif never or cap == 0 then
    lasts = 2
  end
  local index = (at - 7) / 4
  local answer = { '0', digits(index), digits(math.max(cap - taken, 0)), digits(retry), never and '1' or '0' }
  return { answer = answer, lasts = lasts, retry = math.max(retry, 0) }
end

local refused
for at = 7, #ARGV, 4 do
  local found = check(at)
  if found and (not refused or found.lasts > refused.lasts
    or (found.lasts == refused.lasts and found.retry > refused.retry)) then
    refused = found
  end
end
if refused then
  save()
  return refused.answer
end

hold(estimate[2], estimate[3], 1)
remember(lease .. ':' .. ARGV[4] .. ':' .. ARGV[5])
local answer = { '1' }
for at = 7, #ARGV, 4 do
  local window, kind, cap = limit_at(at)
  answer[#answer + 1] = digits(math.max(cap - window.used[kind] - reserved[kind], 0))
end
save()
return answer
