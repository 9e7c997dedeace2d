"""A rule file that does with a message what its header `X-Order` says, and mails with such orders: for tests with MTAs."""

__all__ = ["ACTIONS", "ORDERS", "ordered"]

ACTIONS = """
[custom_actions.drop]
milter = "discard"
[custom_actions.hold]
milter = "quarantine"
"""

ORDERS = """
from filterd import Task, rule, sleep

REPLIES = {
    "headers": {
        "add_headers": {
            "X-Top": {"value": "0", "order": 0},
            "X-Second": {"value": "1", "order": 1},
            "X-Before-Last": {"value": "-2", "order": -2},
            "X-Folded": "one\\n two",
            "X-Several": ["first", {"value": "second", "order": -1}],
        },
        "remove_headers": {"X-Old": [1, -1], "X-Gone": 0, "X-Order": 1, "X-Never": 2},
    },
    "envelope": {
        "change_from": "<changed@example.org>",
        "add_rcpt": ["<added@example.net>"],
        "del_rcpt": ["<bob@example.net>"],
    },
    "discard rejected": {"reject": "discard"},
    "quarantine rejected": {"reject": "quarantine"},
    "unchanged": {"no_action": True},
    "other mark": {"spam_header": {"X-Mark": "seen"}},
}
DECISIONS = {
    "reject": ("reject", "100% refused\\nsee https://example.org/%s"),
    "reject without a word": ("reject", None),
    "soft reject": ("soft reject", "please wait"),
    "greylist": ("greylist", None),
    "add header": ("add header", None),
    "other mark": ("add header", None),
    "rewrite subject": ("rewrite subject", None),
    "discard": ("drop", None),
    "quarantine": ("hold", None),
    "discard rejected": ("reject", None),
    "quarantine rejected": ("reject", None),
    "unchanged": ("reject", None),
}


@rule("ORDERED", score=0.1)
def ordered(task: Task) -> bool:
    order = task.message.header("X-Order") or ""
    if order in REPLIES:
        task.set_milter_reply(REPLIES[order])
    if order in DECISIONS:
        action, text = DECISIONS[order]
        task.set_pre_result(action, text, "orders")
    if order == "body":
        task.replace_body("new\\n.\\nbody " + "x" * 70000 + "\\nend\\n")
    if order == "short body":
        task.replace_body("new\\n")
    if order == "wait":
        task.log.info("waiting")
        sleep(3.0)
    if order == "tell":
        request = task.request.envelope.headers
        told = {name: request[name] for name in sorted(request) if name not in ("user-agent", "mta-name")}
        task.add_header("X-Told", repr(told))
        task.add_header("X-Digest", task.message.digest)
        task.add_header("X-Queue-Id", task.queue_id or "none")
    return True
"""


def ordered(order: str = "", *headers: str, subject: str = "hello", body: str = "Hi\r\n") -> bytes:
    """A mail with an order, and further header lines."""
    lines = [
        "From: Ann <ann@example.org>",
        "To: bob@example.net",
        f"Subject: {subject}",
        "Date: Thu, 01 Jan 2026 10:00:00 +0000",
        "Message-ID: <1@example.org>",
        *headers,
        f"X-Order: {order}",
    ]
    return "\r\n".join([*lines, "", body]).encode()
