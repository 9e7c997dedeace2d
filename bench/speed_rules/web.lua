local http = require "rspamd_http"
for number = 0, bench.web - 1 do
  local symbol = "WEB_" .. number
  rspamd_config:register_symbol{
    name = symbol, score = 0.1,
    callback = function(task)
      http.request{
        task = task, url = bench.url, keepalive = bench.keepalive, timeout = 5.0,
        callback = function(err, code, body)
          if not err and code == 200 and tostring(body) == "fine" then task:insert_result(symbol, 1.0) end
        end,
      }
    end,
  }
end
