local tcp = require "rspamd_tcp"
local expected = string.rep("x", 99)
for number = 0, bench.talk - 1 do
  local symbol = "TALK_" .. number
  rspamd_config:register_symbol{
    name = symbol, score = 0.1,
    callback = function(task)
      local function read(err, data, conn)
        if not err and tostring(data) == expected then task:insert_result(symbol, 1.0) end
        conn:close()
      end
      local function announced(err, data, conn)
        if not err and tostring(data) == "100" then conn:add_read(read, "\n") end
      end
      tcp.request{
        task = task, host = "127.0.0.1", port = bench.tcp, data = {"ask\n"}, stop_pattern = "\n", timeout = 5.0,
        callback = announced,
      }
    end,
  }
end
