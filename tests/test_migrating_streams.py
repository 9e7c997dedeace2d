"""The rows of docs/migrating.md about HAProxy's streams: each line of code works where the page says it stands."""

import re
from pathlib import Path
from typing import Any

import pytest

import filterd
from filterd.engine.hooks import collect_hooks
from filterd.task.txn import Ended
from tests.support.migrating import Row
from tests.support.migrating_streams import STREAM_PROOFS
from tests.support.streams import backend, gate, load
from tests.test_migrating import prove, rows_of

RULE = """
from filterd import action

run = []

@action("row", stages={"tcp.request"})
def row(txn):
    txn.req.peek(14)
    run[0](txn)
"""


def only(section: str, key: str) -> Row:
    (row,) = rows_of(section, key)
    return row


@pytest.mark.parametrize("key", STREAM_PROOFS["Contexts"])
def test_the_line_works_at_the_top_of_a_rule_file(tmp_path: Path, key: str) -> None:
    row = only("Contexts", key)
    rules = "from filterd import *\n" + row.code + '\n@action("other")\ndef other(txn): ...\n'
    assembly = load(tmp_path, rules, 'request = "other"\n')
    try:
        compiler = assembly.streams.loaded.compiler
        prove(
            STREAM_PROOFS["Contexts"][key],
            {
                "actions": assembly.streams.loaded.actions,
                "hooks": [hook.title for hook in collect_hooks(assembly.rules.modules)],
                "get": lambda text: compiler.get(text, None),
            },
        )
    finally:
        assembly.close()


@pytest.mark.parametrize(
    ("section", "key"), [(section, key) for section in ("In an action", "Channel") for key in STREAM_PROOFS[section]]
)
def test_the_line_works_in_an_action(tmp_path: Path, caplog: pytest.LogCaptureFixture, section: str, key: str) -> None:
    row, proof = only(section, key), STREAM_PROOFS[section][key]
    names: dict[str, Any] = {name: getattr(filterd, name) for name in filterd.__all__}
    caplog.set_level("INFO", "filterd.rule")

    def run(txn: filterd.Txn) -> None:
        names["txn"] = txn
        try:
            exec(row.code, names)
        except Ended:
            names["decided"] = True
            raise

    with backend() as server, gate(tmp_path, RULE, 'request = "row"\n' + server.toml) as one:
        vars(one.assembly.rules.modules[0])["run"].append(run)
        try:
            reply = one.ask(b"one\n", b"two\nthree\n")
        except ConnectionError:
            reply = b""  # dropped with a byte unread
        one.wait_idle()
        assert one.failures == []
        known = {"reply": reply, "port": one.listener.address[1], "counts": one.counts, "logged": caplog.text}
        prove(proof, names | known)
    assert names.get("decided", False) is bool(re.search(r"txn\.(?:done|stop|drop)\(\)", row.code))
