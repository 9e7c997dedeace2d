"""The links and addresses of a message: every one of them once, and what a link pretends to be."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from filterd.mail.headers import Headers
from filterd.mail.links import Links, collect_links
from filterd.mail.message import Message
from filterd.mail.urls import Url

HTML = b"Content-Type: text/html; charset=utf-8\n"


def collected(body: str, headers: bytes = b"") -> Links:
    message = Message(headers + b"\n" + body.encode("utf-8", "replace"))
    return collect_links(message.fields, [(part, "html" if part.is_html else "text") for part in message.text_parts])


def in_html(html: str) -> list[Url]:
    return collected(html, HTML).urls


def links(urls: list[Url]) -> list[str]:
    return [str(url) for url in urls]


def test_text() -> None:
    found = collected("http://b.com/ me@c.com A.com http://b.com", b"Content-Type: text/plain\n")
    assert links(found.urls) == ["http://b.com/", "http://a.com/"]
    assert found.emails == ["me@c.com"]
    assert {url.source for url in found.urls} == {"text"}
    assert found.flags == set()


def test_header_fields() -> None:
    found = collected("", b"Subject: =?utf-8?q?a.com_me=40b.com?=\nList-Unsubscribe: <mailto:x@c.com>, <http://d.com/u>\n")
    assert [(url.host, url.source) for url in found.urls] == [("a.com", "subject"), ("d.com", "list-unsubscribe")]
    assert found.emails == ["me@b.com"]
    assert collect_links(Headers(b""), []) == Links([], [], frozenset())


@pytest.mark.parametrize(
    ("html", "found"),
    [
        ("<a href='http://a.com/x'>here</a>", ["http://a.com/x"]),
        ("<a href=//a.com>x</a><a href='\\\\b.com'>y</a>", ["http://a.com/", "http://b.com/"]),
        ("<a href=' www.a.com/x'>x</a><a href=a.com>y</a>", ["http://www.a.com/x", "http://a.com/"]),
        ("<a href=index.html>x</a><a href=/a/b.com>y</a><a href='#a'>z</a>", []),
        ("<a href='javascript:a.com'>x</a><img src=cid:me@a.com>", []),
        ("<base href='http://b.com/x/'><base href='http://c.com/'><a href=y.html>x</a>", ["http://b.com/x/y.html"]),
        ("<base href='http://b.com/x/'><a href=../y>x</a><a href=http://a.com>x</a>", ["http://b.com/y", "http://a.com/"]),
        ("see a.com and <a href=http://b.com>this</a>", ["http://b.com/", "http://a.com/"]),
    ],
)
def test_html(html: str, found: list[str]) -> None:
    assert links(in_html(html)) == found


@pytest.mark.parametrize(
    ("href", "emails"),
    [
        ("mailto:me@a.com", ["me@a.com"]),
        ("MAILTO:me@a.com,%79ou@b.com?cc=x@y.com", ["me@a.com", "you@b.com"]),
        ("me.name@a.com", ["me.name@a.com"]),
        ("mailto:me", []),
        ("mailto:" + ",".join(f"u{number}@a.com" for number in range(99)), [f"u{number}@a.com" for number in range(50)]),
    ],
)
def test_addresses_of_links(href: str, emails: list[str]) -> None:
    found = collected(f"<a href='{href}'>write</a>", HTML)
    assert (found.urls, found.emails) == ([], emails)


@pytest.mark.parametrize(
    ("html", "phished"),
    [
        ("<a href=http://evil.com>http://bank.com/login</a>", "bank.com"),
        ("<a href=http://evil.com>go to www.Bank.com now</a>", "www.bank.com"),
        ("<a href=http://evil.com>www.b&#x430;nk.com</a>", "www.xn--bnk-6cd.com"),
        ("<area href=http://evil.com>", None),
        ("<a href=http://evil.com>www.evil.com</a>", None),
        ("<a href=http://evil.com>me@bank.com</a>", None),
        ("<a href=http://evil.com>me@x.com at bank.com</a>", "bank.com"),
        ("<a href=http://evil.com>http://bad..host/ bank.com</a>", None),
        ("<a href=http://evil.com>Click here. Now.</a>", None),
    ],
)
def test_what_a_link_pretends_to_be(html: str, phished: str | None) -> None:
    url = in_html(html)[0]
    assert (url.host, url.phished) == ("evil.com", phished)
    assert ("phished" in url.flags) is (phished is not None)


def test_the_text_of_a_link_is_told_from_links() -> None:
    urls = in_html("<a href=http://evil.com>bank.com</a> <a href=http://x.com>x.com</a> <a href=http://evil.com/2>x.com</a>")
    assert [(url.host, set(url.flags & {"displayed", "phished"})) for url in urls] == [
        ("evil.com", {"phished"}),
        ("x.com", set()),
        ("evil.com", {"phished"}),
        ("bank.com", {"displayed"}),
    ]


def test_what_is_known_of_a_link_is_the_best_of_all_places() -> None:
    (url,) = in_html("<img src=http://a.com/><a href=http://a.com>x</a><p hidden><a href=http://a.com></a></p>")
    assert (set(url.flags), url.phished) == (set(), None)
    (url, _) = in_html("<a href=http://a.com>x</a><a href=http://a.com/>b.com</a>")
    assert (set(url.flags), url.phished, url.shown) == ({"phished"}, "b.com", "b.com")
    urls = in_html("<a href=http://a.com>b.com</a><a href=http://a.com/>c.com</a><a href=hxxp://a.com/>c.com</a>")
    assert (set(urls[0].flags), urls[0].phished) == ({"phished", "obscured"}, "b.com")


def test_where_a_link_is_only_loaded_or_hidden() -> None:
    urls = in_html("<img src=http://a.com/><p hidden><a href=http://b.com></a></p>")
    assert [set(url.flags) for url in urls] == [{"image"}, {"hidden"}]


def test_links_within_links() -> None:
    found = collected("http://a.com/?u=http%3A%2F%2Fb.com%2F%3Fv%3Dhttp%253A%252F%252Fc.com")
    assert [(url.host, set(url.flags)) for url in found.urls] == [("a.com", set()), ("b.com", {"query"}), ("c.com", {"query"})]


def test_links_made_unclickable() -> None:
    (url,) = collected("hxxp://a[.]com").urls
    assert (str(url), set(url.flags)) == ("http://a.com/", {"obscured"})


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("http://a.com谢谢你", ["http://a.com/"]),
        ("http://谢谢.中国/x", ["http://xn--lg3aa.xn--fiqs8s/x"]),
        ("http://a.nopeé", ["http://a.xn--nope-epa/"]),
    ],
)
def test_text_that_goes_on_without_a_blank(text: str, found: list[str]) -> None:
    assert links(collected(text).urls) == found


def flags_of(text: str, headers: bytes = b"") -> frozenset[str]:
    return collected(text, headers).flags


def test_bounds() -> None:
    urls = [f"http://h{number}.com/ " for number in range(1200)]
    assert "url_cap" in flags_of("".join(f"<a href={url}></a>" for url in urls), HTML)
    parts = "".join(f"--b\n\n{''.join(urls[at : at + 300])}\n" for at in range(0, 1200, 300))
    found = collected(parts, b"Content-Type: multipart/mixed; boundary=b\n")
    assert (len(found.urls), set(found.flags)) == (1000, {"url_cap"})
    assert flags_of("a@b.com " * 1200) == {"mention_cap"}
    addresses = collected("".join(f"<a href=mailto:a@b{number}.com>" for number in range(1200)), HTML)
    assert (len(addresses.emails), set(addresses.flags)) == (1000, {"email_cap"})
    assert flags_of("".join(f"http://ä{number}.com " for number in range(60))) == {"idn_cap"}
    assert flags_of("".join(f"http://a.com/ä{number} " for number in range(60))) == set()
    assert flags_of("".join(f"http://a{number}.com/?{'%' * 3000} " for number in range(30))) == {"nested_cap"}


def test_the_texts_of_a_message_are_counted() -> None:
    header = b"Content-Type: multipart/mixed; boundary=b\n"
    assert flags_of("--b\n\na.com\n" * 399, header) == set()
    assert flags_of("--b\n\na.com\n" * 401, header) == {"mention_cap"}
    assert flags_of(("--b\n\n" + "a.com " * 900 + "\n") * 4, header) == {"mention_cap"}
    # What is none costs as well, in all of them together.
    assert flags_of("--b\n\n" + "a.b " * 3000 + "\n", header) == set()
    assert flags_of(("--b\n\n" + "a.b " * 3000 + "\n") * 3, header) == {"mention_cap"}


def test_the_texts_of_links_are_looked_at_to_a_bound() -> None:
    links = "".join(f"<a href=http://a.com/{number}>{'a.b ' * 250}</a>" for number in range(20))
    assert flags_of(links, HTML) == {"mention_cap"}
    shown = "<a href=http://a.com/>b.org</a>"
    assert collected(shown, HTML).urls[0].phished == "b.org"
    # Nothing is said of the rest, and what stands in the text is not what they are looked at with.
    assert "phished" not in collected(links + shown, HTML).urls[-1].flags


PIECES = [
    "<a href='",
    "'>",
    "</a>",
    "http://",
    "//",
    "mailto:",
    "a.com",
    "b.org",
    "@",
    ".",
    "/",
    "?u=",
    "%2f",
    "é",
    "<base href='",
    " ",
]


@given(st.lists(st.sampled_from(PIECES), max_size=30), st.booleans())
def test_anything_is_searched(pieces: list[str], is_html: bool) -> None:
    found = collected("".join(pieces), HTML if is_html else b"Content-Type: text/plain; charset=utf-8\n")
    assert len(set(links(found.urls))) == len(found.urls)
    assert len(set(found.emails)) == len(found.emails)
    assert found.flags == set()
