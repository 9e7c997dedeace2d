"""What a front door was told about a message: the client, the sender and recipients, and its wishes.

An `Envelope` is a view of the headers of a scan request of the Rspamd protocol. Every front door can express itself in
them, and a rule can read any of them, known or not.

Promises:

* Making one costs next to nothing, and a property is computed when it is first read.
* Garbage never raises and never stops a scan: what cannot be understood is None and named in `broken`.
* Absent is None. A header that is there and empty is the empty string, or the null sender: clients mean something by it.
"""

from collections.abc import Iterable, Mapping
from itertools import islice

from filterd.mail.address import Address, parse_path, split_paths
from filterd.mail.ip import normalise_ip
from filterd.mail.lazy import lazy

__all__ = ["Envelope"]

_RECIPIENTS = 10_000  # MTAs stop at 1000 or fewer

# Headers that are flags in disguise: name -> (the value that counts, in lower case, or None for any; the flag).
_FLAG_HEADERS = {
    "pass": ("all", "pass_all"),
    "log": ("no", "no_log"),
    "url-format": ("extended", "ext_urls"),
    "milter": (None, "milter"),
    "profile": (None, "profile"),
    "tls-cipher": (None, "ssl"),
}


def _first(name: str, doc: str) -> "lazy[Envelope, str | None]":
    """An attribute: the text of the request header `name` as it came, or None."""

    def read(envelope: "Envelope") -> str | None:
        values = envelope.headers.get(name)
        return values[0] if values else None

    read.__name__, read.__doc__ = name.replace("-", "_"), doc
    return lazy(read)


class Envelope:
    """A view of `headers`: names in lower case, the values of each in the order they came."""

    def __init__(self, headers: Mapping[str, list[str]]) -> None:
        self.headers = headers

    @classmethod
    def of(
        cls,
        *,
        ip: str | None = None,
        mail_from: str | None = None,
        rcpts: Iterable[str] = (),
        helo: str | None = None,
        hostname: str | None = None,
        user: str | None = None,
        queue_id: str | None = None,
        headers: Iterable[tuple[str, str]] = (),
    ) -> "Envelope":
        """An envelope for a caller without request headers; None is absent. `headers` are further ones as name and value."""
        known = {"ip": ip, "from": mail_from, "helo": helo, "hostname": hostname, "user": user, "queue-id": queue_id}
        collected = {name: [value] for name, value in known.items() if value is not None}
        for name, value in [*(("rcpt", rcpt) for rcpt in rcpts), *headers]:
            collected.setdefault(name.lower(), []).append(value)
        return cls(collected)

    def get(self, name: str) -> str | None:
        """The first value of any request header, or None; the name is case-insensitive."""
        values = self.headers.get(name.lower())
        return values[0] if values else None

    def get_all(self, name: str) -> list[str]:
        """All values of any request header, in order."""
        return list(self.headers.get(name.lower(), ()))

    helo = _first("helo", "What the client called itself.")
    hostname = _first("hostname", "The client's name as the MTA resolved it from its address.")
    user = _first("user", "The authenticated user.")
    queue_id = _first("queue-id", "The MTA's name for the message.")
    mta_name = _first("mta-name", "The MTA's own host name.")
    mta_tag = _first("mta-tag", "A word the MTA's administrator chose.")
    log_tag = _first("log-tag", "What to call the message in the log.")
    filename = _first("filename", "Where the client has the message from; never opened.")
    settings = _first("settings", "Settings for this message, as text.")
    settings_id = _first("settings-id", "The name of configured settings.")

    @lazy
    def mail_from(self) -> Address | None:
        """The sender; the empty address for the null sender; None when the client sent none, or nonsense."""
        values = self.headers.get("from")
        if not values:
            return None
        address = parse_path(values[0])
        return None if "broken" in address.flags else address

    @lazy
    def rcpts(self) -> list[Address]:
        """The recipients in order, however many headers they came in; nonsense is left out."""
        return [address for address in self._recipients if address.flags.isdisjoint(("broken", "empty"))]

    @lazy
    def _recipients(self) -> list[Address]:
        paths = (path for value in self.headers.get("rcpt", ()) for path in split_paths(value))
        return [parse_path(path) for path in islice(paths, _RECIPIENTS)]

    @lazy
    def ip(self) -> str | None:
        """The client's address in its usual spelling; None when absent, empty or no address."""
        values = self.headers.get("ip")
        return normalise_ip(values[0]) if values else None

    @lazy
    def deliver_to(self) -> str | None:
        """The user the message is delivered to in the end, without angles."""
        value = self.get("deliver-to")
        return None if value is None else value.strip().removeprefix("<").removesuffix(">")

    @lazy
    def flags(self) -> frozenset[str]:
        """The client's wishes: the names in `Flags`, and the headers that mean the same (`Pass: all` is `pass_all`, …)."""
        if "flags" not in self.headers and _FLAG_HEADERS.keys().isdisjoint(self.headers):
            return frozenset()
        flags = {flag.strip().lower() for value in self.headers.get("flags", ()) for flag in value.split(",")}
        for name, (wanted, flag) in _FLAG_HEADERS.items():
            values = self.headers.get(name)
            if values and wanted in (None, values[0].strip().lower()):
                flags.add(flag)
        return frozenset(flags - {""})

    @property
    def tls(self) -> bool:
        """Did the client reach the MTA over TLS?"""
        return "ssl" in self.flags

    @property
    def raw_mode(self) -> bool:
        """Is the message not to be read as MIME?"""
        return (self.get("raw") or "").strip().lower() in {"yes", "true", "1"}

    @lazy
    def broken(self) -> frozenset[str]:
        """The names, in lower case, of the headers that could not be understood."""
        is_broken = {
            "from": self.mail_from is None and "from" in self.headers,
            "rcpt": len(self.rcpts) < len(self._recipients),
            "ip": self.ip is None and bool((self.get("ip") or "").strip()),
        }
        return frozenset(name for name, is_so in is_broken.items() if is_so)
