"""All links and mail addresses of a message: out of its text, its HTML, its subject, and where to unsubscribe.

Promises:

* Each link and address is given once, in the order of the message.
* Bounded: 400 texts and what an `Effort` allows in them, 1000 links, 1000 addresses, 50 names in other alphabets put into the
  form for DNS, and 64 KiB searched for links within links. Every bound sets a flag.
"""

import re
from collections.abc import Collection, Iterable
from dataclasses import replace
from typing import Final, NamedTuple
from urllib.parse import unquote

from filterd.mail.address import Address
from filterd.mail.headers import Headers
from filterd.mail.html import Link
from filterd.mail.mentions import Effort, address_of, find_mentions, is_bare_host
from filterd.mail.text import TextPart
from filterd.mail.urls import Url, absolute, nested_links, parse_plain, parse_url

__all__ = ["Links", "collect_links"]

_URLS: Final = 1000
_EMAILS: Final = 1000
_ENCODED: Final = 50
_TEXTS: Final = 400
_MENTIONS: Final = 2000  # the same one counts again
_SHOWN: Final = 100_000  # the effort for the texts of links, which are looked at to find the first link in each
_NESTED: Final = 64 * 1024
_SUBJECT: Final = 4096
_UNSUBSCRIBE: Final = 8192
_MAILTO: Final = 4096
_RECIPIENTS: Final = 50  # of one mailto link

_IMAGES = frozenset({"img", "input", "source", "body", "table", "td", "th", "tr"})
_IMAGE = ("image",)
_SCHEME = re.compile(r"\s*+[a-z][a-z0-9+.-]*+:", re.IGNORECASE)
_BARE = re.compile(r"\s*+([^\s/\\?#:@]++)([/\\?#:]?)")
_EAST_ASIAN = re.compile(r"[\u2e80-\U0003ffff]")
# What a link is only as long as nothing better is known of it.
_WEAK = frozenset({"displayed", "hidden", "image", "query"})


class Links(NamedTuple):
    """The links and addresses, and which bounds were met: `url_cap` `email_cap` `mention_cap` `idn_cap` `nested_cap`."""

    urls: list[Url]
    emails: list[Address]
    flags: frozenset[str]


def collect_links(fields: Headers, texts: Iterable[tuple[TextPart, str]]) -> Links:
    """The links of a message with the header `fields`; `texts` are its text parts, each with the `source` for its links."""
    found = _Collection()
    subject = fields.get("subject")
    if subject:
        found.add_text(subject[:_SUBJECT], "subject")
    for number, (part, source) in enumerate(texts):
        if number == _TEXTS:
            found.flags.add("mention_cap")
            break
        if part.is_html:
            found.add_html(part.links, source)
        found.add_text(part.content, source)
    unsubscribe = fields.value("list-unsubscribe")
    if unsubscribe:
        found.add_text(unsubscribe[:_UNSUBSCRIBE], "list-unsubscribe", with_emails=False)
    return Links(list(found.urls.values()), list(found.emails), frozenset(found.flags))


class _Collection:
    """What has been found so far."""

    def __init__(self) -> None:
        self.urls: dict[str, Url] = {}
        self.emails: dict[Address, None] = {}
        self.flags: set[str] = set()
        self._encoded = 0
        self._nested = 0
        self._mentions = 0
        self._effort = Effort()
        self._shown_effort = Effort(_SHOWN)
        self._displayed: set[str] = set()
        self._seen: set[str] = set()

    def add_text(self, text: str, source: str, *, with_emails: bool = True) -> None:
        if self._mentions > _MENTIONS:
            self.flags.add("mention_cap")
            return
        mentions, is_cut = find_mentions(text, self._effort)
        self._mentions += len(mentions)
        if is_cut:
            self.flags.add("mention_cap")
        for mention in mentions:
            if mention.text in self._seen:
                continue
            if mention.address is None:
                self._seen.add(mention.text)
                if "url_cap" not in self.flags:
                    self._add(self._mentioned(mention.text, source, is_defanged=mention.is_defanged))
            elif with_emails:
                self._add_email(mention.address)

    def add_html(self, links: Iterable[Link], source: str) -> None:
        base = ""
        seen: set[Link] = set()
        for link in links:
            if link in seen or "url_cap" in self.flags:
                continue
            seen.add(link)
            target, tag, shown, is_hidden = link
            if tag == "base":
                base = base or target
                continue
            if target.startswith("http"):  # nearly all do
                flags = _IMAGE if tag in _IMAGES else ()
                flags = (*flags, "hidden") if is_hidden else flags
                # Most are plain: two calls fewer, and no string form to be made, are a quarter of their time.
                plain = parse_plain(target, source, shown, flags) if target.isascii() else None
                if plain is not None and "." not in shown:
                    self._add(*plain)
                    continue
                url = self._parsed(target, source, shown=shown, flags=flags) if plain is None else plain[0]
            else:
                url = self._linked(link, target.lstrip(), base, source)
            if url is not None and "." in shown and tag in ("a", "area"):
                url = self._against_shown(url)
            self._add(url)

    def _linked(self, link: Link, target: str, base: str, source: str) -> Url | None:
        if target[:7].lower() == "mailto:":
            self._add_mailto(target[7:_MAILTO])
            return None
        if not _SCHEME.match(target) and not target.startswith(("//", "\\\\")):
            if "@" in target and "/" not in target:
                self._add_mailto(target[:_MAILTO])
                return None
            bare = _BARE.match(target)
            if bare is None or not is_bare_host(bare[1], has_more=bare[2] != ""):
                if not base:
                    return None
                target = absolute(base, target)
        return self._targeted(target, link, source)

    def _targeted(self, target: str, link: Link, source: str) -> Url | None:
        flags = _IMAGE if link.tag in _IMAGES else ()
        return self._parsed(target, source, shown=link.text, flags=(*flags, "hidden") if link.is_hidden else flags)

    def _against_shown(self, url: Url) -> Url:
        """`url` with what it pretends to be: the first link within its text, if that leads elsewhere."""
        mentions, is_cut = find_mentions(url.shown, self._shown_effort)
        if is_cut:
            self.flags.add("mention_cap")
        for mention in mentions:
            if mention.address is None:
                shown = self._mentioned(mention.text, url.source, is_defanged=False)
                if shown is None or shown.domain == url.domain:
                    break
                self._displayed.add(str(shown))
                return replace(url, phished=shown.host, flags=url.flags | {"phished"})
        return url

    def _mentioned(self, text: str, source: str, *, is_defanged: bool) -> Url | None:
        flags = ("obscured",) if is_defanged else ()
        url = self._parsed(text, source, flags=flags)
        if url is not None and url.flags >= {"idn", "no_tld"}:
            # Text that goes on behind the link without a blank.
            cut = _EAST_ASIAN.search(text)
            if cut is not None:
                url = self._parsed(text[: cut.start()], source, flags=flags)
        return url

    def _parsed(self, text: str, source: str, *, shown: str = "", flags: Collection[str] = ()) -> Url | None:
        may_encode = True
        if not text.isascii():
            self._encoded += 1
            may_encode = self._encoded <= _ENCODED
        url = parse_url(text, source=source, shown=shown, flags=flags, may_encode=may_encode)
        if not may_encode and url is not None and not url.host.isascii():
            self.flags.add("idn_cap")
        return url

    def _add(self, url: Url | None, key: str = "") -> None:
        """`key` is the string form of `url`, where it is known."""
        if url is None:
            return
        key = key or str(url)
        known = self.urls.get(key)
        if known is not None:
            self._merge(key, known, url)
            return
        if len(self.urls) >= _URLS:
            self.flags.add("url_cap")
            return
        if key in self._displayed and not url.shown:
            url = replace(url, flags=url.flags | {"displayed"})
        self.urls[key] = url
        # Another one needs a colon behind the first, or an escaped one.
        if ("%" in url.raw or url.raw.find(":", 8) >= 0) and "query" not in url.flags:
            self._add_nested(url)

    def _merge(self, key: str, known: Url, again: Url) -> None:
        flags = ((known.flags | again.flags) - _WEAK) | (known.flags & again.flags & _WEAK)
        if flags != known.flags:
            told = again if again.phished and not known.phished else known
            self.urls[key] = replace(known, flags=flags, shown=told.shown, phished=told.phished)

    def _add_nested(self, url: Url) -> None:
        """Those within one found here need not be looked for: they are among them."""
        if self._nested > _NESTED:
            self.flags.add("nested_cap")
            return
        self._nested += len(url.raw)
        for text in nested_links(url):
            self._add(self._parsed(text, url.source, flags=("query",)))

    def _add_mailto(self, text: str) -> None:
        for recipient in unquote(text.partition("?")[0]).split(",", _RECIPIENTS)[:_RECIPIENTS]:
            user, _, domain = recipient.strip().rpartition("@")
            address = address_of(user, domain)
            if address is not None:
                self._add_email(address)

    def _add_email(self, address: Address) -> None:
        if len(self.emails) >= _EMAILS:
            self.flags.add("email_cap")
        else:
            self.emails[address] = None
