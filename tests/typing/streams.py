"""Actions as people write them. Never run: mypy --strict and pyright read it; see rules.py."""

from typing import Any, assert_type

from filterd import Channel, PhaseError, Txn, action, extractor, process_vars, service


@action("typed", stages={"tcp.request", "tcp.response"}, timeout=2.5)
def typed(txn: Txn) -> None:
    assert_type(txn.ip, str | None)
    assert_type(txn.port, int | None)
    assert_type(txn.req, Channel)
    assert_type(txn.req.get_line(), bytes | None)
    assert_type(txn.req.peek(3, timeout=1.0), bytes | None)
    assert_type(txn.req.forward(), int)
    assert_type(txn.res.send("text"), int)
    assert_type(txn.res_channel().in_len, int)
    assert_type(txn.spawn(len, "x").get(), int)
    assert_type(txn.vars["x"], Any)
    txn.res.send(b"bytes")
    txn.res.send(7)  # type: ignore[arg-type] # pyright: ignore[reportArgumentType]
    txn.rek  # type: ignore[attr-defined] # pyright: ignore[reportAttributeAccessIssue]
    try:
        txn.res.dup()
    except PhaseError:
        txn.reject("554 no")
    process_vars["count"] = 1


@action("never_returns")
def never_returns(txn: Txn) -> None:
    # After a verdict nothing comes, and the checkers know it.
    if txn.ip is None:
        txn.drop()
    txn.res.send(txn.ip.upper())


@service("typed_service")
def typed_service(txn: Txn) -> None:
    while (line := txn.req.readline(limit=1000)) is not None:
        txn.res.send(line.upper())


@extractor("typed_word", returns=str, stage="tcp")
def typed_word(txn: Txn) -> str:
    return str(txn.destination)
