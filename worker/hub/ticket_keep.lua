-- A ticket comes into being. KEYS[1]: its name; ARGV[2]: whom and what it admits; ARGV[3]: milliseconds it lives.
return redis.call('SET', KEYS[1], ARGV[2], 'PX', ARGV[3])
