"""A rewriter for a protocol of lines, in both directions and for as long as the connection lasts.

    [listen.rewriter]
    protocol = "tcp"
    bind = "127.0.0.1:10110"
    server = "127.0.0.1:110"
    request = "rewrite_commands"
    response = "rewrite_answers"

    [modules.line_rewriter]
    commands = { "XYZZY" = "NOOP" }           # the first word of a line, and what it becomes
    answers = { "+OK Dovecot ready." = "+OK ready" }

A line of more than 8192 bytes is a failure: it and what follows passes unchanged.
"""

from math import inf

from filterd import Txn, action, config

COMMANDS = config.module("line_rewriter").get("commands", {})
ANSWERS = config.module("line_rewriter").get("answers", {})


@action("rewrite_commands", stages={"tcp.request"}, timeout=inf)
def rewrite_commands(txn: Txn) -> None:
    txn.connect()  # the server speaks first
    while (line := txn.req.readline(limit=8192)) is not None:
        word, blank, rest = line.decode("latin-1").partition(" ")
        bare = word.rstrip("\r\n")
        txn.req.send((COMMANDS.get(bare, bare) + word[len(bare) :] + blank + rest).encode("latin-1"))


@action("rewrite_answers", stages={"tcp.response"}, timeout=inf)
def rewrite_answers(txn: Txn) -> None:
    while (line := txn.res.readline(limit=8192)) is not None:
        text = line.decode("latin-1")
        bare = text.rstrip("\r\n")
        txn.res.send((ANSWERS.get(bare, bare) + text[len(bare) :]).encode("latin-1"))
