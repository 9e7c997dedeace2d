local looks = {
  {"From", "ann@"}, {"To", "bob@"}, {"Subject", "quarter"}, {"Date", "2026"}, {"Message-ID", "example.org"},
  {"Received", "mx.example.net"}, {"MIME-Version", "1.0"}, {"Content-Type", "/"}, {"X-Bulk"}, {"List-Id"},
}
for _, look in ipairs(looks) do
  local name, word = look[1], look[2]
  rspamd_config:register_symbol{
    name = "HEADER_" .. name:gsub("-", "_"):upper(), score = 0.1,
    callback = function(task)
      local value = task:get_header(name)
      if word == nil then return value == nil end
      return value ~= nil and value:find(word, 1, true) ~= nil
    end,
  }
end
