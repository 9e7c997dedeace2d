"""The latest warnings and errors of the log, for /errors.

Promises: only so many are kept, each cut to a length; what stands in the log stands here, nothing more.
"""

import logging
import os
from collections import deque
from typing import Any

__all__ = ["RecentErrors"]

KEPT = 100
LONGEST = 1000


class RecentErrors(logging.Handler):
    """Hears what filterd logs from level warning on, while it is `listening`."""

    def __init__(self, kept: int = KEPT) -> None:
        super().__init__(logging.WARNING)
        self._errors: deque[dict[str, Any]] = deque(maxlen=kept)

    def listen(self) -> None:
        """Begin to hear."""
        logging.getLogger("filterd").addHandler(self)

    def close(self) -> None:
        """Hear no more; what was heard is kept."""
        logging.getLogger("filterd").removeHandler(self)
        super().close()

    def emit(self, record: logging.LogRecord) -> None:
        """Keep one, in the words of Rspamd's web interface."""
        try:
            text = record.getMessage()
        except Exception:  # noqa: BLE001 - the handler that writes the line tells of it
            return
        self._errors.append(
            {
                "ts": round(record.created, 3),
                "pid": os.getpid(),
                "type": record.levelname.lower(),
                "id": str(getattr(record, "task_id", "")),
                "module": record.name.removeprefix("filterd."),
                "message": text[:LONGEST].encode("utf-8", "replace").decode(),
            }
        )

    def latest(self) -> list[dict[str, Any]]:
        """What was kept, oldest first."""
        return list(self._errors)
