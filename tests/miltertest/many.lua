-- Many messages on one connection: aborted, unknown commands between, and each with its own verdict and queue id.
dofile(folder .. "/mail.lua")

local conn = connected()
for round = 1, 5 do
  accepted(conn, "tell", "Q" .. round)
  check(string.find(mt.getheader(conn, "X-Queue-Id", 0), "Q" .. round, 1, true), "the queue id of another message")
  refused(conn, "reject without a word", "R" .. round, "554", "5.7.1", "Spam message rejected")
  check(mt.mailfrom(conn, "<other@example.org>") == nil, "mailfrom failed")
  check(mt.rcptto(conn, "<other@example.net>") == nil, "rcptto failed")
  check(mt.abort(conn) == nil, "abort failed")
  accepted(conn, "unchanged", "U" .. round)
  check(mt.eom_check(conn, MT_HDRADD, "X-Rspamd-Action"), "no note of the action")
  refused(conn, "soft reject", "S" .. round, "451", "4.7.1", "please wait")
end
mt.disconnect(conn)
