"""What systemd is told of a service of Type=notify: sd_notify(3), without the library.

Promises: without NOTIFY_SOCKET nothing is sent, and what cannot be sent is no reason to stop.
"""

import os
from collections.abc import MutableMapping
from logging import getLogger
from time import CLOCK_MONOTONIC, clock_gettime_ns

from filterd.net.plain import send_datagram

__all__ = ["Notice"]

log = getLogger("filterd.supervisor")


class Notice:
    """Takes its variables out of the environment: the workers, and what rules start, are none of systemd's business."""

    def __init__(self, environment: MutableMapping[str, str] = os.environ) -> None:
        self.address = environment.pop("NOTIFY_SOCKET", "")
        microseconds = environment.pop("WATCHDOG_USEC", "")
        pid = environment.pop("WATCHDOG_PID", "")
        for_us = self.address and microseconds.isdecimal() and pid in ("", str(os.getpid()))
        self.watchdog = int(microseconds) / 1e6 if for_us else 0.0
        """Seconds in which a sign of life is expected; 0 means that nobody waits for one."""

    def ready(self, status: str) -> None:
        self._send("READY=1", f"STATUS={status}", f"MAINPID={os.getpid()}")

    def reloading(self) -> None:
        self._send("RELOADING=1", f"MONOTONIC_USEC={clock_gettime_ns(CLOCK_MONOTONIC) // 1000}", "STATUS=reloading")

    def stopping(self) -> None:
        self._send("STOPPING=1", "STATUS=ending")

    def status(self, text: str) -> None:
        self._send(f"STATUS={text}")

    def alive(self) -> None:
        self._send("WATCHDOG=1")

    def _send(self, *lines: str) -> None:
        if not self.address:
            return
        try:
            send_datagram(self.address, "\n".join(lines).encode())
        except OSError as error:
            log.warning("cannot tell systemd %s: %s", lines[0], error.strerror or error)
