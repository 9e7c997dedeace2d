"""IP addresses as mail spells them, brought into one spelling."""

from ipaddress import IPv6Address, ip_address

__all__ = ["normalise_ip"]


def normalise_ip(text: str) -> str | None:
    """The usual spelling of an IP address, or None for what is none.

    Brackets, `IPv6:` (RFC 5321 4.1.3) and a zone are dropped; an IPv4 address mapped into IPv6 is given as IPv4.
    """
    text = text.strip().removeprefix("[").removesuffix("]")
    if text[:5].lower() == "ipv6:":
        text = text[5:]
    try:
        address = ip_address(text.partition("%")[0])
    except ValueError:
        return None
    if isinstance(address, IPv6Address) and address.ipv4_mapped is not None:
        return str(address.ipv4_mapped)
    return str(address)
