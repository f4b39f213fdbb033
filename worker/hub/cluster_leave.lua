-- A worker leaves the register, or is struck off by one that knows of its death. KEYS as in cluster_renew; ARGV: prefix, serverId.
redis.call('ZREM', KEYS[1], ARGV[2])
redis.call('HDEL', KEYS[2], ARGV[2])
return ''
