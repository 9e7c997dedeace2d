"""What the system's own files say about names and name servers: /etc/hosts and /etc/resolv.conf.

Promise: lines that cannot be understood are passed over, as the C library does; nothing is ever raised.
"""

from ipaddress import ip_address

__all__ = ["MAX_NAMESERVERS", "parse_hosts", "parse_resolv_conf"]

MAX_NAMESERVERS = 3
"""The C library asks no more than these (MAXNS), so nobody expects the fourth to be asked."""


def parse_hosts(text: str) -> dict[str, list[str]]:
    """The addresses of each name, in lower case, in the order of the file (hosts(5))."""
    hosts: dict[str, list[str]] = {}
    for line in text.splitlines():
        address, *names = line.partition("#")[0].split() or [""]
        if _is_address(address):
            for name in names:
                known = hosts.setdefault(name.lower().rstrip("."), [])
                if address not in known:
                    known.append(address)
    return hosts


def parse_resolv_conf(text: str) -> tuple[list[str], bool]:
    """The addresses of the name servers, and whether they take turns (`options rotate`; resolv.conf(5)).

    Without any it is the one on this machine. Of the other options none is used: a rule asks for whole names.
    """
    servers: list[str] = []
    rotate = False
    for line in text.splitlines():
        match line.split():
            case ["nameserver", address, *_] if _is_address(address) and len(servers) < MAX_NAMESERVERS:
                servers.append(address)
            case ["options", *options] if "rotate" in options:
                rotate = True
            case _:
                pass
    return servers or ["127.0.0.1"], rotate


def _is_address(text: str) -> bool:
    try:
        ip_address(text)
    except ValueError:
        return False
    return True
