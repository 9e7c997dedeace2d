"""How often somebody has given a wrong password, and when that is enough.

Promises: the table never grows beyond its bound, whoever fills it; a success is forgotten guesses; time is told, not read.
"""

from collections import OrderedDict
from ipaddress import IPv6Address

__all__ = ["Attempts"]


class Attempts:
    """`allowed` wrong passwords from one address within `window` seconds; more are not looked at.

    An IPv6 address stands for its /64, which is what one customer has. Of more than `remembered` addresses those are forgotten
    that have not failed for longest.
    """

    def __init__(self, *, allowed: int = 10, window: float = 60.0, remembered: int = 10_000) -> None:
        self.allowed = allowed
        self.window = window
        self.remembered = remembered
        self._failed: OrderedDict[str, tuple[float, int]] = OrderedDict()

    def wait(self, address: str, now: float) -> float:
        """Seconds until this address may try again, 0.0 for now."""
        since, count = self._failed.get(_network(address), (now, 0))
        return max(since + self.window - now, 0.0) if count >= self.allowed else 0.0

    def failed(self, address: str, now: float) -> int:
        """Count a wrong password; how many there were within the window, which begins with the first."""
        key = _network(address)
        since, count = self._failed.pop(key, (now, 0))
        if now - since >= self.window:
            since, count = now, 0
        self._failed[key] = since, count + 1
        while len(self._failed) > self.remembered:
            self._failed.popitem(last=False)
        return count + 1

    def succeeded(self, address: str) -> None:
        """Forget what failed before."""
        self._failed.pop(_network(address), None)

    def __len__(self) -> int:
        return len(self._failed)


def _network(address: str) -> str:
    try:
        return IPv6Address(address).exploded[:19]
    except ValueError:  # an IPv4 address, or the name of a unix socket's listener
        return address
