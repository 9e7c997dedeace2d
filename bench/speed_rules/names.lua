local lookups, first = 5, 0
for number = 0, bench.names - 1 do
  local symbol = "NAMES_" .. number
  rspamd_config:register_symbol{
    name = symbol, score = 0.1,
    callback = function(task)
      local left = lookups
      first = first + 1
      local function found(_, _, results, err)
        if not err and results and #results == 1 and tostring(results[1]) == "127.0.0.2" then
          left = left - 1
          if left == 0 then task:insert_result(symbol, 1.0) end
        end
      end
      for place = 1, lookups do
        task:get_resolver():resolve_a{task = task, name = "n" .. first .. "-" .. place .. ".bench.test", callback = found}
      end
    end,
  }
end
