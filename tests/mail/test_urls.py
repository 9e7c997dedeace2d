"""A link leads where a browser would go, however it is written."""

from urllib.parse import urlsplit

import pytest
from hypothesis import given
from hypothesis import strategies as st

from filterd.mail.urls import URL_LENGTH, absolute, nested_links, parse_url


@pytest.mark.parametrize(
    ("text", "link", "flags"),
    [
        ("http://www.example.com/x?y=1#z", "http://www.example.com/x?y=1#z", set()),
        ("HTTPS://EXAMPLE.com", "https://example.com/", set()),
        ("ftp://example.com:2121/", "ftp://example.com:2121/", set()),
        ("http://example.com:80/", "http://example.com/", set()),
        ("http://example.com:/", "http://example.com/", set()),
        (" \x01http://example.com/\n ", "http://example.com/", set()),
        ("ht\ntp://exa\tmple.com/", "http://example.com/", set()),
        ("example.com/x", "http://example.com/x", {"no_scheme"}),
        ("www.example.com:8080/x", "http://www.example.com:8080/x", {"no_scheme"}),
        ("//example.com", "http://example.com/", {"no_scheme"}),
        ("\\\\example.com\\x", "http://example.com\\x", {"no_scheme", "obscured"}),
        ("hxxps://example.com", "https://example.com/", {"obscured"}),
        ("http:\\\\example.com", "http://example.com/", {"obscured"}),
        ("http:example.com", "http://example.com/", {"obscured"}),
        ("http:///example.com", "http://example.com/", {"obscured"}),
        ("http://me:secret@example.com/", "http://me@example.com/", set()),
        ("http://bank.com@@evil.com/", "http://bank.com@@evil.com/", {"obscured"}),
        ("http://0x7f.1/", "http://127.0.0.1/", {"numeric", "obscured"}),
        ("http://[::1]:8080/", "http://[::1]:8080/", {"numeric"}),
        ("http://%65vil.com", "http://evil.com/", {"host_encoded"}),
        ("http://intranet/", "http://intranet/", {"no_tld"}),
    ],
)
def test_one_spelling(text: str, link: str, flags: set[str]) -> None:
    url = parse_url(text)
    assert url is not None
    assert (str(url), set(url.flags)) == (link, flags)


@pytest.mark.parametrize(
    "text",
    [
        *(
            "",
            "http://",
            "http:",
            "javascript:alert(1)",
            "mailto:a@b.c",
            "/example.com",
            "\\example.com",
            "#top",
            "?q",
            "cid:a@b.c",
        ),
        *("http://a..com/", "http://a b.com/", "http://a.com:99999/", "http://a.com:x/", "http://a.com:1:2/", "http://[::1/"),
        *("http://a@/", "http://1.2.3.4.5/", "data:text/html,http://a.com"),
    ],
)
def test_what_leads_nowhere(text: str) -> None:
    assert parse_url(text) is None


def test_the_parts_of_a_link() -> None:
    url = parse_url("https://me:pw@www.example.co.uk:444/p/a?q=1#f", source="html", shown="here", flags=("image",))
    assert url is not None
    assert (url.scheme, url.user, url.host, url.domain, url.port) == ("https", "me", "www.example.co.uk", "example.co.uk", 444)
    assert (url.path, url.query, url.fragment) == ("/p/a", "q=1", "f")
    assert (url.source, url.shown, url.phished, set(url.flags)) == ("html", "here", None, {"image"})
    assert url.raw == "https://me:pw@www.example.co.uk:444/p/a?q=1#f"


def test_a_long_link_is_cut() -> None:
    url = parse_url("http://example.com/" + "x" * 2 * URL_LENGTH)
    assert url is not None
    assert (len(url.raw), set(url.flags)) == (URL_LENGTH, {"truncated"})


def test_a_url_is_a_value() -> None:
    one, same, other = parse_url("http://a.com"), parse_url("http://a.com"), parse_url("http://a.com/")
    assert (one == same, one == other, len({one, same, other})) == (True, False, 2)


def test_names_of_other_alphabets_can_stay_as_they_are() -> None:
    url = parse_url("http://мир.рф/", may_encode=False)
    assert url is not None
    assert (url.host, url.domain) == ("мир.рф", "мир.рф")


@pytest.mark.parametrize(
    ("text", "nested"),
    [
        ("http://a.com/", []),
        ("http://a.com/x:y", []),
        ("http://a.com/?u=http://b.org/x", ["http://b.org/x"]),
        ("http://a.com/r/https:/b.org", ["https:/b.org"]),
        ("http://a.com/#http://b.org", ["http://b.org"]),
        ("http://a.com/?u=http%3A%2F%2Fb.org%2Fx%20y", ["http://b.org/x"]),
        ("http://a.com/?u=http%253A%252F%252Fb.org", ["http://b.org"]),
        ("http://a.com/?u=http%25253A%25252F%25252Fb.org", ["http://b.org"]),
        ("http://a.com/?u=http%2525253A%2525252F%2525252Fb.org", []),  # three times is enough
        ("http://a.com/?u=http://b.org/&v=http://c.org/", ["http://b.org/", "http://c.org/"]),
        ("http://a.com/?" + "http://b.org/" * 9, ["http://b.org/"] * 4 + ["http://b.org/" * 5]),
    ],
)
def test_links_within_links(text: str, nested: list[str]) -> None:
    url = parse_url(text)
    assert url is not None
    assert nested_links(url) == nested


@pytest.mark.parametrize(
    ("base", "link", "whole"),
    [
        ("http://a.com/b/", "c", "http://a.com/b/c"),
        ("http://a.com/b/", "//c.com", "http://c.com"),
        ("http://[", "c", "c"),
    ],
)
def test_relative_links(base: str, link: str, whole: str) -> None:
    assert absolute(base, link) == whole


@given(
    st.from_regex(r"[a-z]([a-z0-9-]{0,20}[a-z0-9])?(\.[a-z]{2,8}){1,3}", fullmatch=True),
    st.integers(1, 65535),
    st.from_regex(r"(/[a-z0-9%._~-]{0,9}){0,3}", fullmatch=True),
    st.from_regex(r"([a-z]=[a-z0-9/]{0,9}){0,3}", fullmatch=True),
)
def test_plain_links_are_read_as_the_standard_library_does(host: str, port: int, path: str, query: str) -> None:
    text = f"http://{host}:{port}{path or '/'}" + (f"?{query}" if query else "")
    url, split = parse_url(text), urlsplit(text)
    assert url is not None
    assert (url.host, url.port, url.path, url.query) == (split.hostname, split.port, split.path, split.query)
    assert parse_url(str(url)) is not None


@given(
    st.lists(
        st.sampled_from(["http://", "https://", "a.com", "A.b", "..", "/", "?", "#", ":", "\\", "@", "ü", "\0", "%2e", "\n"]),
        max_size=6,
    )
)
def test_the_short_way_reads_as_the_long_one(pieces: list[str]) -> None:
    text = "".join(pieces).lstrip()
    # A blank in front is dropped, and only the long way does that.
    assert parse_url(text, flags=("image",)) == parse_url(" " + text, flags=("image",))


@given(st.text("htp:/\\?#@[]%41.a\n\ud800ü ", max_size=30))
def test_anything_is_a_link_or_none(text: str) -> None:
    url = parse_url(text)
    if url is not None:
        assert url.host
        assert nested_links(url) is not None
