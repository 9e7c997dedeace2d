"""The names of HAProxy's Lua for streams, and what the rows of docs/migrating.md that have code are proven by."""

__all__ = ["STREAM_NAMES", "STREAM_PROOFS", "STREAM_SECTIONS"]

STREAM_SECTIONS = ("HAProxy Lua", "Contexts", "In an action", "Channel")

STREAM_NAMES = {
    "HAProxy's contexts": (
        STREAM_SECTIONS,
        [
            *("lua-load", "listen", "tcp-request content lua", "register_init", "register_task", "register_action"),
            *("register_fetches", "register_converters"),
        ],
    ),
    "HAProxy's core class": (STREAM_SECTIONS, ["core.sleep", "core.msleep", "core.yield", "core.set_nice"]),
    "HAProxy's Channel class": (
        STREAM_SECTIONS,
        ["dup", "get", "get_line", "set", "append", "send", "get_in_length", "get_out_length", "forward"],
    ),
    "HAProxy's TXN class": (
        STREAM_SECTIONS,
        [
            *("txn.c", "txn.sc", "txn.f", "txn.sf", "txn.req", "txn.res", "get_priv", "set_priv", "get_headers", "txn:close"),
            *("txn.http.redirect", "txn.http.req.add_header", "set_method", "set_path", "set_query", "set_uri", "set_header"),
            *("del_header", "replace_header", "replace_value", "txn.http.res.set_header"),
        ],
    ),
}

_ALL = "one\\ntwo\\nthree\\n"

STREAM_PROOFS: dict[str, dict[str, str]] = {
    "HAProxy Lua": {},
    "Contexts": {
        '{"tcp-req"}': "actions['x'].stages == {'tcp.request'}",
        '{"tcp-res"}': "actions['x'].stages == {'tcp.response'}",
        "register_service": "actions['x'].kind == 'service'",
        "register_init": "hooks == ['on_load check']",
        "register_task": "hooks == ['background work']",
        "register_fetches": "get('hello') == 'hello'",
        "register_converters": "get('id(\"a\").twice') == 'aa'",
    },
    "In an action": {
        "core.sleep": f"reply == b'{_ALL}'",
        "core.msleep": f"reply == b'{_ALL}'",
        "core.yield": f"reply == b'{_ALL}'",
        "core.Info": "'seen 127.0.0.1' in logged",
        "txn.sf:src()": "value == '127.0.0.1'",
        "dst_port": "value == port",
        "req_ssl_sni": "value == ''",
        "req_payload": "value == b'one'",
        "txn.c:lower": "value == '127.0.0.1'",
        "req_channel": "same",
        "res_channel": "same",
        "set_priv": "txn.session.priv == {'any': 'thing'}",
        "get_priv": "data is None",
        '"txn.x", 1': "value == 1",
        '"sess.x"': "txn.session.session_vars == {'x': 1}",
        '"proc.x"': "made is False",
        "unset_var": "'x' not in txn.vars",
        "txn:close": "reply == b'' and counts.ended == 1",
        "act.STOP": f"reply == b'{_ALL}'",
        "act.DENY": "reply == b'' and counts.dropped == 1",
    },
    "Channel": {
        "dup": f"data == b'{_ALL}' and reply == data",
        "channel:get()": f"data == b'{_ALL}' and reply == b''",
        "get_line": "line == b'one\\n' and reply == b'two\\nthree\\n'",
        "channel:set": "count == 3 and reply == b'new'",
        "append": f"count == 6 and reply == b'{_ALL}behind'",
        "prepend": f"count == 6 and reply == b'before{_ALL}'",
        "insert": "count == 4 and reply == b'one\\nand two\\nthree\\n'",
        "remove": "count == 4 and reply == b'two\\nthree\\n'",
        "send": f"count == 6 and reply == b'answer{_ALL}'",
        "get_in_length": "count == 14",
        "get_out_length": f"count == 4 and reply == b'{_ALL}'",
        "channel:forward": f"count == 4 and reply == b'{_ALL}'",
        "is_full": "value is False",
        "may_recv": "value is True",
        "is_resp": "value is False",
    },
}
"""By section and a part of the left cell: what is true after the row's code has run. `reply` is what the client reads from a
server that echoes."""
