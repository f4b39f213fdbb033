-- Does Redis still remember? KEYS[1] holds the word of whoever asked first since it does; ARGV[2]: a word.
redis.call('SET', KEYS[1], ARGV[2], 'NX')
return redis.call('GET', KEYS[1])
