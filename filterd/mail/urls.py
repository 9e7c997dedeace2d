"""One link: what is written, and where it leads when a browser or mail program follows it (WHATWG URL 4).

Promises:

* Nothing raises, and nothing is looked at beyond 4 KiB.
* Only links to somewhere on the net are links: `http`, `https`, `ftp`, and what stands for them.
"""

import re
from collections.abc import Collection
from dataclasses import dataclass
from typing import Final
from urllib.parse import unquote, urljoin

from filterd.mail.hosts import read_host

__all__ = ["URL_LENGTH", "Url", "absolute", "nested_links", "parse_plain", "parse_url"]

URL_LENGTH: Final = 4096  # characters
_SCHEMES: Final = {"http": 80, "https": 443, "ftp": 21}
_MEANT: Final = {"hxxp": "http", "hxxps": "https"}  # how people write what shall not be clicked on
_NESTED: Final = 5  # links within one link
_UNESCAPED: Final = 3  # how often escapes within escapes are undone

# All that a parser drops: around a link any of the first 33 characters, within it line ends and tabs.
_AROUND: Final = "".join(map(chr, range(33)))
_WITHIN: Final = dict.fromkeys(map(ord, "\t\n\r"))

# What nearly all look like: nothing in it that could be read in two ways.
_PLAIN = re.compile(
    r"(https?)://([A-Za-z0-9-]++(?>(?:\.[A-Za-z0-9-]++)+))(/[^?#\x00-\x20]*+)?(?:\?([^#\x00-\x20]*+))?(?:#([^\x00-\x20]*+))?"
)
_REST = re.compile(r"([/\\]*+)([^/\\?#]*+)([^?#]*+)(?:\?([^#]*+))?(?:#(.*+))?", re.DOTALL)
_SERVER = re.compile(r"((?>(?:\[[^\]]*+\]|[^:])*))(?::(.*+))?", re.DOTALL)
_PORT = re.compile(r"\d{1,5}", re.ASCII)
_NESTED_END = re.compile(r"[\s\0]")
_NESTED_START = re.compile(r"https?:[/\\]{1,2}", re.IGNORECASE)
# The name of the parameter that the next link is the value of.
_NEXT_PARAMETER = re.compile(r"[?&#][\w.\[\]-]{0,64}=?\Z")


# Not frozen, though nobody changes one: that would make the making of one ten times dearer, and newsletters have hundreds.
@dataclass(slots=True, unsafe_hash=True)
class Url:
    """One link. Its string form is the link in one spelling.

    `raw` is the text it was read from. `host` is in lower case, in the form DNS asks for, or an IP address in its usual
    spelling, IPv6 in brackets. `domain` is the registrable domain of the host. `path`, `query` and `fragment` are as written.
    `port` is never absent: it is the scheme's own where none is written. `shown` is what a reader sees instead of the link,
    in HTML, and `phished` the host a reader sees there, if it is one under another domain than the link's own.

    `source` says where it stands: `text`, `html`, `attachment`, or the name of a header field in lower case.

    `flags`, those that apply: `phished`; `numeric` (an IP address), `idn`, `no_tld`; `no_scheme` (`http` was assumed);
    `obscured` (an unusual spelling that leads to the same place), `host_encoded` (with percent escapes in the host);
    `image` (loaded, not followed); `query` (stands within another link); `displayed` (only the text of a link to somewhere
    else); `hidden` (no reader sees it); `truncated`.
    """

    raw: str
    scheme: str
    host: str
    domain: str
    port: int
    user: str = ""
    path: str = ""
    query: str = ""
    fragment: str = ""
    shown: str = ""
    phished: str | None = None
    source: str = "text"
    flags: frozenset[str] = frozenset()

    def __str__(self) -> str:
        user = f"{self.user}@" if self.user else ""
        port = "" if self.port == _SCHEMES[self.scheme] else f":{self.port}"
        query = f"?{self.query}" if self.query else ""
        fragment = f"#{self.fragment}" if self.fragment else ""
        return f"{self.scheme}://{user}{self.host}{port}{self.path or '/'}{query}{fragment}"


def parse_plain(text: str, source: str = "text", shown: str = "", flags: Collection[str] = ()) -> tuple[Url, str] | None:
    """`parse_url` for links that can be read in one way only, and their string form; None for all others."""
    plain = _PLAIN.fullmatch(text)
    if plain is None or len(text) > URL_LENGTH:
        return None
    scheme, written, path, query, fragment = plain.groups()
    host = read_host(written)
    if host is None:
        return None
    name, found, domain = host
    url = Url(
        text,
        scheme,
        name,
        domain,
        _SCHEMES[scheme],
        "",
        path or "",
        query or "",
        fragment or "",
        shown,
        None,
        source,
        found.union(flags) if flags else found,
    )
    # Most are written in that form: putting it together is a tenth of the work on a link.
    return url, text if path and name == written and query != "" and fragment != "" else str(url)


def parse_url(
    text: str, *, source: str = "text", shown: str = "", flags: Collection[str] = (), may_encode: bool = True
) -> Url | None:
    """The link that `text` is, or None for one that leads nowhere on the net, or whose host no browser would take.

    Without a scheme `http` is assumed: whether `text` is meant as a link at all is the caller's judgement. `may_encode` is
    that of `read_host`.
    """
    plain = parse_plain(text, source, shown, flags)
    if plain is not None:
        return plain[0]
    found = set(flags)
    raw = text.strip(_AROUND)
    if len(raw) > URL_LENGTH:
        raw = raw[:URL_LENGTH]
        found.add("truncated")
    link = raw.translate(_WITHIN) if "\n" in raw or "\r" in raw or "\t" in raw else raw
    head, colon, rest = link.partition(":")
    scheme = head.lower()
    if scheme in _MEANT:
        scheme = _MEANT[scheme]
        found.add("obscured")
    elif not colon or scheme not in _SCHEMES:
        # With a dot or slash in front the colon is one of a port or password, and not that of another scheme.
        if colon and "." not in head and "/" not in head:
            return None
        scheme, rest = "http", link
        found.add("no_scheme")
    parts = _REST.fullmatch(rest)
    assert parts is not None  # it matches everything
    slashes, authority, path, query, fragment = parts.groups("")
    if slashes != "//" and (slashes or rest is not link):
        if rest is link and len(slashes) == 1:
            return None  # a path
        found.add("obscured")
    user, _, server = authority.rpartition("@")
    inside = _SERVER.fullmatch(server)
    assert inside is not None  # likewise
    name, port_text = inside.groups("")
    host = read_host(name, may_encode=may_encode)
    if host is None:
        return None
    if "@" in user:
        found.add("obscured")
    port = _SCHEMES[scheme]
    if port_text:
        if not _PORT.fullmatch(port_text) or int(port_text) > 65535:
            return None
        port = int(port_text)
    found |= host.flags
    return Url(
        raw=raw,
        scheme=scheme,
        host=host.name,
        domain=host.domain,
        port=port,
        user=user.partition(":")[0],
        path=path,
        query=query,
        fragment=fragment,
        shown=shown,
        source=source,
        flags=frozenset(found),
    )


def nested_links(url: Url) -> list[str]:
    """Links within the path, query or fragment of `url`, escaped or not: what a redirector leads to. Five at most."""
    tail = "\0".join((url.path, url.query, url.fragment))
    if ":" not in tail and "%" not in tail:
        return []
    for _ in range(_UNESCAPED):
        if "%" not in tail:
            break
        tail = unquote(tail)
    starts = [found.start() for found in _NESTED_START.finditer(tail)][:_NESTED]
    if not starts:
        return []
    return [
        _NEXT_PARAMETER.sub("", _NESTED_END.split(tail[start:end], 1)[0])
        for start, end in zip(starts, [*starts[1:], len(tail)], strict=True)
    ]


def absolute(base: str, link: str) -> str:
    """`link` as it is meant in a document whose links start from `base`; where that makes no sense it is `link` itself."""
    try:
        return urljoin(base[:URL_LENGTH], link[:URL_LENGTH])
    except ValueError:
        return link
