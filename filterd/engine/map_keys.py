"""What of a message is looked up in a map: `key = "from('smtp')"` as a function.

Promises: a key that nobody knows is found when the configuration is read, with the keys there are.
"""

import re
from collections.abc import Callable, Mapping
from typing import Any

from filterd.task import Task

__all__ = ["key_of"]

_CALL = re.compile(r"""(?P<name>[a-z_]+)(?:\(\s*(?P<quote>['"]?)(?P<argument>[^'"()]*)(?P=quote)\s*\))?""")

_KEYS: Mapping[str, Callable[[Task], Any]] = {
    "from": lambda task: task.mail_from or None,
    "from_domain": lambda task: (task.mail_from and task.mail_from.domain) or None,
    "mime_from": lambda task: task.message.from_,
    "mime_from_domain": lambda task: [one.domain for one in task.message.from_],
    "rcpts": lambda task: task.rcpts,
    "rcpts_domain": lambda task: [one.domain for one in task.rcpts],
    "ip": lambda task: task.ip,
    "helo": lambda task: task.helo,
    "hostname": lambda task: task.hostname,
    "user": lambda task: task.user,
}
_SIDES = {("from", "smtp"): "from", ("from", "mime"): "mime_from", ("rcpts", "smtp"): "rcpts"}


def key_of(text: str) -> Callable[[Task], Any]:
    """What gives a message's key or list of keys, None where there is none. Raises ValueError."""
    match = _CALL.fullmatch(text.strip())
    name, argument = (match["name"], match["argument"]) if match else ("", None)
    if argument and name in ("header", "request_header"):
        header = argument.strip()
        if name == "header":
            return lambda task: [value.decoded for value in task.message.headers(header)]
        return lambda task: task.get_request_header(header)
    found = _KEYS.get(name if argument is None else _SIDES.get((name, argument.strip()), ""))
    if found is None:
        known = ", ".join([*_KEYS, "header('NAME')", "request_header('NAME')"])
        raise ValueError(f"{text!r} is no key of a message; there are: {known}")
    return found
