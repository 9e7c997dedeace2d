local lua_redis = require "lua_redis"
local params = lua_redis.parse_redis_server("bench")
local script = "return redis.call('INCR', KEYS[1]) > 0 and ARGV[1]"
for number = 0, bench.store - 1 do
  local symbol = "STORE_" .. number
  rspamd_config:register_symbol{
    name = symbol, score = 0.1,
    callback = function(task)
      lua_redis.redis_make_request(task, params, "bench", true, function(err, data)
        if not err and data == "fine" then task:insert_result(symbol, 1.0) end
      end, "EVAL", {script, "1", "bench", "fine"})
    end,
  }
end
