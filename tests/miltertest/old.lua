-- Version 2: a reply to every command, no flags, and less that can be done.
dofile(folder .. "/mail.lua")

local conn = connected(2, 0x3F, 0x7F)
check(mt.getreply(conn) == SMFIR_CONTINUE, "the connect was not answered")
check(mt.helo(conn, "helo.example.org") == nil and mt.getreply(conn) == SMFIR_CONTINUE, "the helo was not answered")
check(not mt.test_option(conn, SMFIP_NR_HDR), "more was negotiated than was offered")
accepted(conn, "add header", "1")
refused(conn, "soft reject", "2", "451", "4.7.1", "please wait")
-- The sender cannot be changed in version 2; the recipients can.
accepted(conn, "envelope", "3")
check(mt.eom_check(conn, MT_RCPTADD, "<added@example.net>"), "no recipient was added")
mt.disconnect(conn)
