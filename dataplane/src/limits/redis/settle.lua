
-- Replaces a reservation by what was used. Again for the same lease, it does nothing.
--
-- ARGV[3]  the lease's ID
-- ARGV[4]  tokens, ARGV[5] nano-dollars that were reserved
-- ARGV[6]  1 if anything was used, ARGV[7] tokens, ARGV[8] nano-dollars of it
-- ARGV[9]  1 if there is a limit per second
--
-- A lease that is not there has ended by itself, or was never heard of, or this server has lost it: nothing is given back
-- then, and what was used counts.

local lease = ARGV[3]
local member = lease .. ':' .. ARGV[4] .. ':' .. ARGV[5]
if redis.call('ZREM', leases_key, member) == 1 then
  release(member)
elseif redis.call('ZSCORE', leases_key, 'd:' .. lease) then
  save()
  return { '0' }
end
remember('d:' .. lease)
if ARGV[6] == '1' then
  local amounts = { 1, tonumber(ARGV[7]), tonumber(ARGV[8]) }
  for _, period in ipairs(PERIODS) do
    if period ~= 'S' or ARGV[9] == '1' then add(windows[period], amounts) end
  end
end
save()
return { '1' }
