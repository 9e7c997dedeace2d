"""Whatever spelling a host comes in, it is the one a browser connects to."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from filterd.mail.hosts import has_known_suffix, load_suffixes, read_host, registrable

CJK = "".join(map(chr, range(0x4E00, 0x4E29)))


@pytest.mark.parametrize(
    ("text", "name", "flags"),
    [
        ("www.Example.COM", "www.example.com", set()),
        ("example.com.", "example.com", set()),
        ("a_b-c.example.com", "a_b-c.example.com", set()),
        ("localhost", "localhost", {"no_tld"}),
        ("%65vil%2ecom", "evil.com", {"host_encoded"}),
        ("münchen.de", "xn--mnchen-3ya.de", {"idn"}),
        ("mu\u0308nchen.de", "xn--mnchen-3ya.de", {"idn"}),
        ("МИР.рф", "xn--h1ahn.xn--p1ai", {"idn"}),
        ("xn--h1ahn.xn--p1ai", "xn--h1ahn.xn--p1ai", {"idn"}),
        ("%d0%bc.com", "xn--l1a.com", {"idn", "host_encoded"}),
        ("ｅｖｉｌ．com", "evil.com", {"obscured"}),
        ("evil。com。", "evil.com", {"obscured"}),
        ("ev\u00adil\u200b.com", "evil.com", {"obscured"}),
        ("①②⑦.0.0.1", "127.0.0.1", {"numeric", "obscured"}),
        ("127.0.0.1", "127.0.0.1", {"numeric"}),
        ("127.1", "127.0.0.1", {"numeric", "obscured"}),
        ("2130706433", "127.0.0.1", {"numeric", "obscured"}),
        ("0x7f000001", "127.0.0.1", {"numeric", "obscured"}),
        ("0177.0x0.0.1", "127.0.0.1", {"numeric", "obscured"}),
        ("0x.0.0.1", "0.0.0.1", {"numeric", "obscured"}),
        ("[::1]", "[::1]", {"numeric"}),
        ("[0:0::1]", "[::1]", {"numeric"}),
        ("[::ffff:1.2.3.4]", "1.2.3.4", {"numeric"}),
    ],
)
def test_one_spelling(text: str, name: str, flags: set[str]) -> None:
    host = read_host(text)
    assert host is not None
    assert (host.name, set(host.flags)) == (name, flags)


@pytest.mark.parametrize(
    "text",
    [
        *(
            "",
            ".",
            "a..b",
            ".com",
            "a b.com",
            "a\0.com",
            "a/b",
            "ä ö.de",
            "ä..de",
            "[::1",
            "[x]",
            "%00.com",
            "%ff.com",
            "a" * 64,
        ),
        *("1.2.3.4.5", "256.0.0.1", "08.1", "1.2.3.256", "4294967296", "foo.0x1", "1..2", ".".join(["a" * 60] * 5), "a" * 800),
    ],
)
def test_what_is_no_host(text: str) -> None:
    assert read_host(text) is None


def test_encoding_can_be_left_out_and_is_for_long_labels() -> None:
    kept, long = read_host("мир.рф", may_encode=False), read_host(f"{CJK}.com")
    assert kept is not None
    assert long is not None
    assert (kept.name, long.name) == ("мир.рф", f"{CJK}.com")
    assert "idn" in kept.flags & long.flags


@pytest.mark.parametrize(
    ("host", "domain"),
    [
        ("www.example.com", "example.com"),
        ("a.b.example.co.uk", "example.co.uk"),
        ("me.github.io", "me.github.io"),
        ("co.uk", "co.uk"),
        ("localhost", "localhost"),
        ("a.b.evil", "b.evil"),
        ("1.2.3.4", "1.2.3.4"),
        ("[::1]", "[::1]"),
        ("a.xn--p1ai", "a.xn--p1ai"),
        ("b.мир.рф", "мир.рф"),
    ],
)
def test_registrable_domains(host: str, domain: str) -> None:
    assert registrable(host) == domain


def test_known_suffixes() -> None:
    assert [has_known_suffix(label) for label in ("com", "ck", "xn--p1ai", "html", "")] == [True, True, True, False, False]


def test_the_list_is_loaded_once() -> None:
    assert load_suffixes() is load_suffixes()


@given(st.text("aä1.0x%[:]2\u00ad。٣\ud800 -_", max_size=20), st.booleans())
def test_anything_is_a_host_or_none(text: str, may_encode: bool) -> None:
    host = read_host(text, may_encode=may_encode)
    if host is not None:
        assert host.name
        assert ".." not in host.name
        assert registrable(host.name)
        assert not may_encode or host.name.isascii()


def test_the_list_of_suffixes_comes_with_its_package() -> None:
    # Not the one that is kept: whoever runs before has had it read.
    assert load_suffixes.__wrapped__().publicsuffix("www.example.co.uk") == "co.uk"
