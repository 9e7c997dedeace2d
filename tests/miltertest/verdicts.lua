-- Every kind of verdict, each on a connection of its own.
dofile(folder .. "/mail.lua")

local conn = connected()
check(mt.test_option(conn, SMFIP_NR_HDR) and mt.test_option(conn, SMFIP_NR_BODY), "what needs no reply was not negotiated")
check(mt.test_action(conn, SMFIF_ADDHDRS) and mt.test_action(conn, SMFIF_QUARANTINE), "actions were not asked for")
accepted(conn, "nothing", "1")
check(not mt.eom_check(conn, MT_HDRADD), "a header was added to a good mail")
mt.disconnect(conn)

conn = connected()
refused(conn, "reject without a word", "2", "554", "5.7.1", "Spam message rejected")
mt.disconnect(conn)

conn = connected()
refused(conn, "soft reject", "3", "451", "4.7.1", "please wait")
mt.disconnect(conn)

conn = connected()
accepted(conn, "add header", "4")
check(mt.eom_check(conn, MT_HDRDELETE, "X-Spam"), "the sender's mark was left")
check(mt.getheader(conn, "X-Spam", 0) ~= nil, "no mark")
mt.disconnect(conn)

conn = connected()
accepted(conn, "rewrite subject", "5")
check(mt.eom_check(conn, MT_HDRCHANGE, "Subject"), "the subject is as it was")
mt.disconnect(conn)

conn = connected()
send(conn, "discard", "6")
check(mt.getreply(conn) == SMFIR_DISCARD, "it is not discarded")
mt.disconnect(conn)

conn = connected()
accepted(conn, "quarantine", "7")
check(mt.eom_check(conn, MT_QUARANTINE, "Spam message quarantined"), "it is not held")
mt.disconnect(conn)

conn = connected()
accepted(conn, "envelope", "8")
check(mt.eom_check(conn, MT_RCPTADD, "<added@example.net>"), "no recipient was added")
check(mt.eom_check(conn, MT_RCPTDELETE, "<bob@example.net>"), "no recipient was deleted")
mt.disconnect(conn)

conn = connected()
accepted(conn, "headers", "9")
check(mt.eom_check(conn, MT_HDRINSERT, "X-Top"), "no header at the top")
check(mt.eom_check(conn, MT_HDRADD, "X-Folded"), "no header at the end")
mt.disconnect(conn)

-- A short body: the miltertest of Debian 12 itself crashes on a long one.
conn = connected()
accepted(conn, "short body", "10")
check(mt.eom_check(conn, MT_BODYCHANGE, "new\r\n"), "the body is as it was")
mt.disconnect(conn)
