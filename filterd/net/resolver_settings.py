"""What a resolver is told once: whom to ask, how long to wait, what to keep."""

from dataclasses import dataclass

__all__ = ["FakeRecord", "ResolverSettings"]


@dataclass(frozen=True, slots=True)
class FakeRecord:
    """An answer that is given instead of asking; `replies` and `rcode` are those of `proto.dns_fake.fake_reply`.

    For `ptr` the name is an address, or a name under in-addr.arpa.
    """

    name: str
    type: str = "a"
    replies: tuple[str, ...] = ()
    rcode: str = "noerror"


@dataclass(frozen=True, slots=True)
class ResolverSettings:
    """`nameservers` are (IP address, port); none means those of /etc/resolv.conf.

    A question is asked `retransmits` + 1 times at most, each try is given `timeout` seconds. `max_requests` is how many one
    message may ask, `cache` about how many answers are kept (0: none). Of two fake records for one question the last counts.
    `prefer_tcp` tells whether questions go by TCP first; None means: to servers on this machine.
    """

    nameservers: tuple[tuple[str, int], ...] = ()
    timeout: float = 1.0
    retransmits: int = 5
    max_requests: int = 64
    cache: int = 10_000
    fake_records: tuple[FakeRecord, ...] = ()
    prefer_tcp: bool | None = None
