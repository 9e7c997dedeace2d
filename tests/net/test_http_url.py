"""Addresses taken apart: what is sent is safe, and what two programs could read in two ways is refused."""

import re
from urllib.parse import urlsplit

import pytest
from hypothesis import given
from hypothesis import strategies as st

from filterd.net.http_url import MAX_URL, BadUrl, is_local, literal_address, parse_url, shown_url


@pytest.mark.parametrize(
    ("text", "origin", "authority", "target"),
    [
        ("http://site.test", ("http", "site.test", 80), "site.test", "/"),
        ("HTTPS://Site.TEST/A?b#c", ("https", "site.test", 443), "site.test", "/A?b"),
        ("http://site.test:8080?a=b", ("http", "site.test", 8080), "site.test:8080", "/?a=b"),
        ("http://site.test:/", ("http", "site.test", 80), "site.test", "/"),
        ("https://site.test:80/", ("https", "site.test", 80), "site.test:80", "/"),
        ("http://[2001:DB8::0001]:1/", ("http", "2001:db8::1", 1), "[2001:db8::1]:1", "/"),
        ("http://bücher.test/", ("http", "xn--bcher-kva.test", 80), "xn--bcher-kva.test", "/"),
        ("http://a.test/ä b%20?ü", ("http", "a.test", 80), "a.test", "/%C3%A4%20b%20?%C3%BC"),
        ("http://a.test/#frag/ment?x", ("http", "a.test", 80), "a.test", "/"),
        ("http://a.test/x@y:z", ("http", "a.test", 80), "a.test", "/x@y:z"),
        ("http://under_score.test/", ("http", "under_score.test", 80), "under_score.test", "/"),
    ],
)
def test_the_parts(text: str, origin: tuple[str, str, int], authority: str, target: str) -> None:
    url = parse_url(text)
    assert (url.origin, url.authority, url.target) == (origin, authority, target)
    assert (url.user, url.password) == (None, None)


@pytest.mark.parametrize(
    ("login", "user", "password"),
    [("me:secret", "me", "secret"), ("me", "me", ""), ("m%40e:a%3Ab:c", "m@e", "a:b:c"), ("a@b", "a@b", "")],
)
def test_a_login_before_the_host(login: str, user: str, password: str) -> None:
    url = parse_url(f"http://{login}@site.test/")
    assert (url.host, url.user, url.password) == ("site.test", user, password)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "site.test",
        "//site.test/",
        "ftp://site.test/",
        "http:/site.test/",
        "http:///a",
        "http://:80/",
        "http://site.test:0/",
        "http://site.test:65536/",
        "http://site.test:x/",
        "http://[::1/",
        "http://[::x]/",
        "http://[12345::1]/",
        "http://a b.test/",
        "http://a.test\\@b.test/",
        "http://a.test\\b/",
        "http://%61.test/",
        "http://a.test/\r\nX: y",
        "http://a.test/\n",
        "http://a.test/\x00",
        " http://a.test/",
        "http://\u2024.test/",
        "http://" + "ä" * 100 + ".test/",
        f"http://{'a' * 256}/",
        "http://a.test/" + "a" * MAX_URL,
    ],
)
def test_what_is_no_address_is_refused(text: str) -> None:
    with pytest.raises(BadUrl):
        parse_url(text)


@given(st.text() | st.text(alphabet="htp:/@[]?#.%\\ a1\r\nä").map(lambda rest: f"http://{rest}"))
def test_whatever_comes_in_what_comes_out_is_safe(text: str) -> None:
    try:
        url = parse_url(text)
    except BadUrl:
        return
    assert re.fullmatch(r"/[!-~]*", url.target)
    assert re.fullmatch(r"[!-~]+", url.authority)
    assert re.fullmatch(r"[a-z0-9._-]+|[0-9a-f:.]+", url.host)
    assert 0 < url.port < 65536


@given(
    st.from_regex(r"[a-z][a-z0-9.-]{0,20}", fullmatch=True),
    st.integers(1, 65535),
    st.from_regex(r"(/[a-z0-9._~-]{0,5}){1,3}(\?[a-z0-9=&]{0,10})?", fullmatch=True),
)
def test_it_reads_as_the_standard_library_does(host: str, port: int, target: str) -> None:
    text = f"http://{host}:{port}{target}"
    split = urlsplit(text)
    url = parse_url(text)
    assert (url.host, url.port) == (split.hostname, split.port)
    assert url.target == split.path + (f"?{split.query}" if "?" in target else "")


@pytest.mark.parametrize(
    ("location", "leads_to"),
    [
        ("/b", "http://a.test:81/b"),
        ("b?c", "http://a.test:81/x/b?c"),
        ("../b", "http://a.test:81/b"),
        ("//c.test/", "http://c.test/"),
        ("https://c.test/", "https://c.test/"),
        ("?q", "http://a.test:81/x/y?q"),
    ],
)
def test_a_location_is_read_from_where_it_was_given(location: str, leads_to: str) -> None:
    assert parse_url("http://a.test:81/x/y").joined(location) == parse_url(leads_to)


@pytest.mark.parametrize("location", ["mailto:a@b", "http://[x", "//a b/"])
def test_a_location_that_leads_nowhere_is_refused(location: str) -> None:
    with pytest.raises(BadUrl):
        parse_url("http://a.test/").joined(location)


LOCAL = """127.0.0.1 127.255.0.1 ::1 0.0.0.0 :: 10.1.2.3 172.16.0.1 192.168.1.1 169.254.169.254 fe80::1 fe80::1%eth0 fc00::1
    100.64.0.1 224.0.0.1 ff02::1 255.255.255.255 ::ffff:127.0.0.1 ::ffff:10.0.0.1 2002:7f00:1:: 64:ff9b::7f00:1""".split()
PUBLIC = "8.8.8.8 1.1.1.1 2606:4700:4700::1111 ::ffff:8.8.8.8 64:ff9b::808:808 2002:808:808::".split()


@pytest.mark.parametrize(("address", "local"), [*((one, True) for one in LOCAL), *((one, False) for one in PUBLIC)])
def test_which_addresses_are_local(address: str, local: bool) -> None:
    assert is_local(address) is local


def test_numeric_hosts_are_told_from_names() -> None:
    assert str(literal_address("127.0.0.1")) == "127.0.0.1"
    assert str(literal_address("::1")) == "::1"
    assert literal_address("127.1") is None
    assert literal_address("localhost") is None


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("http://example.org/list", "http://example.org/list"),
        ("https://user:s3cret@example.org:8443/list", "https://(hidden)@example.org:8443/list"),
        ("http://example.org/list?token=s3cret&x=y", "http://example.org/list?(hidden)"),
        ("http://user@[::1]/?s3cret#f", "http://(hidden)@[::1]/?(hidden)"),
        ("http://example.org/a@b", "http://example.org/a@b"),
        ("no address", "no address"),
    ],
)
def test_an_address_is_shown_without_its_secrets(url: str, shown: str) -> None:
    assert shown_url(url) == shown
