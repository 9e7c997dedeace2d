"""Bulk mail: counts in Redis how often the same text arrives. Off until it is switched on and a Redis is configured:

[modules.bulk]
enabled = true
limit   = 20            # so many equal messages …
window  = 3600          # … within so many seconds are bulk

[redis]                 # or [redis.bulk]
servers = "127.0.0.1:6379"
"""

import hashlib

from filterd import Registry, Task, config, redis

SETTINGS = config.module("bulk")
LIMIT: int = SETTINGS.get("limit", 20)
WINDOW: int = SETTINGS.get("window", 3600)
SERVERS = redis.parse_server("bulk")

# One round trip, and a counter never stays behind without its end.
COUNT = """
local seen = redis.call('INCR', KEYS[1])
if seen == 1 then redis.call('EXPIRE', KEYS[1], ARGV[1]) end
return seen
"""


def register(registry: Registry) -> None:
    if SETTINGS.get("enabled"):
        registry.rule("BULK_BODY", group="bulk", description="The same text arrived many times")(bulk_body)


def bulk_body(task: Task) -> tuple[bool, str] | None:
    text = " ".join(word for part in task.message.text_parts for word in part.content.split())
    if not text:
        return None
    key = "filterd:bulk:" + hashlib.sha256(text.encode(errors="replace")).hexdigest()[:32]
    connection = redis.connect(SERVERS, key=key).unwrap()
    connection.add_cmd("EVAL", [COUNT, 1, key, WINDOW]).unwrap()
    seen = connection.exec().unwrap()
    return (True, f"{seen} times") if seen > LIMIT else None
