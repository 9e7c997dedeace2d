"""Who may send odd Message-IDs, or none: signers listed in [modules.mid] as domain = "pattern", "" for none at all.

Beside the shipped rules/headers.py. Who signed comes as a request header: this is about Message-IDs, not about signatures.
"""

import re

from filterd import Task, config, rule

KNOWN = config.module("mid")


def pattern_of(task: Task) -> str | None:
    signer = task.get_request_header("Signed-By")
    return None if signer is None else KNOWN.get(signer)


@rule("INVALID_MSGID_ALLOWED", after="INVALID_MSGID")
def invalid_allowed(task: Task) -> bool:
    pattern, written = pattern_of(task), task.message.message_id
    is_known = bool(pattern and written and re.fullmatch(pattern, written))
    return is_known and task.remove_result("INVALID_MSGID")


@rule("MISSING_MID_ALLOWED", after="MISSING_MID")
def missing_allowed(task: Task) -> bool:
    return pattern_of(task) == "" and task.remove_result("MISSING_MID")
