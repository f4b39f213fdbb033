-- A ticket ends, and says whom and what it admitted. KEYS[1]: its name. (GETDEL would be Redis 6.2.)
local value = redis.call('GET', KEYS[1])
if value then redis.call('DEL', KEYS[1]) end
return value
