-- What the scripts share: one message with an order for the rule file of tests/support/orders.py, up to its end.

function check(condition, text)
  if not condition then error(text, 2) end
end

function connected(version, actions, steps)
  local conn = mt.connect("inet:" .. port .. "@127.0.0.1", 40, 0.05)
  check(conn ~= nil, "cannot connect")
  if version ~= nil then
    check(mt.negotiate(conn, version, actions, steps) == nil, "negotiation failed")
  end
  check(mt.conninfo(conn, "client.example.org", "192.0.2.1") == nil, "conninfo failed")
  return conn
end

function send(conn, order, id)
  check(mt.helo(conn, "helo.example.org") == nil, "helo failed")
  mt.macro(conn, SMFIC_MAIL, "i", id, "{auth_authen}", "ann")
  check(mt.mailfrom(conn, "<ann@example.org>", "SIZE=100") == nil, "mailfrom failed")
  check(mt.rcptto(conn, "<bob@example.net>") == nil, "rcptto failed")
  check(mt.header(conn, "From", "Ann <ann@example.org>") == nil, "header failed")
  check(mt.header(conn, "Subject", "hello") == nil, "header failed")
  check(mt.header(conn, "X-Spam", "No") == nil, "header failed")
  check(mt.header(conn, "X-Order", order) == nil, "header failed")
  check(mt.eoh(conn) == nil, "eoh failed")
  check(mt.bodystring(conn, "Hi\r\n") == nil, "body failed")
  check(mt.eom(conn) == nil, "eom failed")
end

function accepted(conn, order, id)
  send(conn, order, id)
  check(mt.getreply(conn) == SMFIR_ACCEPT, order .. " is not accepted")
end

function refused(conn, order, id, code, status, text)
  send(conn, order, id)
  check(mt.getreply(conn) == SMFIR_REPLYCODE, order .. " is not refused")
  check(mt.eom_check(conn, MT_SMTPREPLY, code, status, text), order .. " is refused in other words")
end
