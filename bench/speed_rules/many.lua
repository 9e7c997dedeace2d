for number = 0, bench.many - 1 do
  local word = number == 0 and "quarter" or "offer " .. number
  rspamd_config:register_symbol{
    name = "MANY_" .. number, score = 0.1,
    callback = function(task)
      return (task:get_header("Subject") or ""):find(word, 1, true) ~= nil
    end,
  }
end
