
-- Keeps leases from ending by themselves; what this server has lost is reserved again.
--
-- ARGV[3] and on: leases, as they are in the sorted set

for at = 3, #ARGV do
  local member = ARGV[at]
  if redis.call('ZSCORE', leases_key, member) then
    remember(member)
  elseif not redis.call('ZSCORE', leases_key, 'd:' .. string.match(member, '^(%x+):')) then
    local tokens, spend = string.match(member, '^%x+:(%d+):(%d+)$')
    hold(tonumber(tokens), tonumber(spend), 1)
    remember(member)
  end
end
save()
return { digits(reserved[1]) }
