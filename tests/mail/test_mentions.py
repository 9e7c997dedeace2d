"""What a mail program would make clickable in text is found, and what it would not is not."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from filterd.mail.mentions import Effort, address_of, find_mentions, is_bare_host


def found(text: str) -> list[str]:
    return [mention.text for mention in find_mentions(text)[0]]


@pytest.mark.parametrize(
    ("text", "links"),
    [
        ("", []),
        ("nothing here, really: a/b. C.", []),
        ("see http://example.com/x, or", ["http://example.com/x"]),
        ("(https://en.wikipedia.org/wiki/A_(b)).", ["https://en.wikipedia.org/wiki/A_(b)"]),
        ("<http://a.com/>[http://b.com/?x[0]]", ["http://a.com/", "http://b.com/?x[0]"]),
        ("http://a.com/((x)", ["http://a.com/((x)"]),
        ('"HTTP://A.com/"', ["HTTP://A.com/"]),
        ("texthttp://a.com", ["http://a.com"]),
        ("ftp://a.com hxxp://b.com file://c resource://x.com//y.com", ["ftp://a.com", "hxxp://b.com"]),
        ("http://me@a.com/", ["http://me@a.com/"]),
        ("http:// ://", []),
        ("http://a.com/http://b.com", ["http://a.com/http://b.com"]),
        ("请访问http://a.com/，谢谢", ["http://a.com/"]),
        ("请访问www.a.com谢谢", ["www.a.com"]),
        ("go to www.example.menu now", ["www.example.menu"]),
        ("go to example.com/x.y?z=1", ["example.com/x.y?z=1"]),
        ("go to example.com:8080.", ["example.com:8080"]),
        (
            "example.de, EXAMPLE.COM; evil.xyz müller.de мир.рф",
            ["example.de", "EXAMPLE.COM", "evil.xyz", "müller.de", "мир.рф"],
        ),
        ("Mail::Message.pm run.sh a.menu x.directory obj.method(x) 1.2.3 v1.2", []),
        ("run.sh/x", ["run.sh/x"]),
        ("The end.It is. the end.in", ["end.in"]),
        ("/srv/a.com \\x.com a=b.com %x.com", []),
        ("a.com(x) a..com ..com", []),
        ("-.com _.com -- --a.com", ["a.com"]),
    ],
)
def test_links(text: str, links: list[str]) -> None:
    assert found(text) == links


@pytest.mark.parametrize(
    ("text", "addresses"),
    [
        ("Mail me@Example.com.", ["me@example.com"]),
        ("<a.b+c@mail.example.co.uk>, 'x@y.com'", ["a.b+c@mail.example.co.uk", "x@y.com"]),
        ("mailto:me@example.com", ["me@example.com"]),
        ("me@localhost me@example.pmx @example me@ @", []),
        ("me@@example.com", []),
        ("'@example.com", []),
        ("müller@example.com", ["müller@example.com"]),
    ],
)
def test_addresses(text: str, addresses: list[str]) -> None:
    assert [mention.address for mention in find_mentions(text)[0] if mention.address is not None] == addresses


def test_they_come_in_order_and_none_within_another() -> None:
    assert found("b.com me@c.com http://a.com/?x=y.com&m=z@z.com d.com") == [
        "b.com",
        "me@c.com",
        "http://a.com/?x=y.com&m=z@z.com",
        "d.com",
    ]


@pytest.mark.parametrize("dot", ["[.]", "(.)", "{.}", "[dot]", "( DOT )"])
def test_what_was_made_unclickable_is_found(dot: str) -> None:
    (mention,), _ = find_mentions(f"see hxxp://a{dot}com/x")
    assert (mention.text, mention.is_defanged) == ("hxxp://a.com/x", True)


def test_only_what_was_made_unclickable_is_said_to_be() -> None:
    mentions, _ = find_mentions("a.com (x) b[.]com c.com")
    assert [(mention.text, mention.is_defanged) for mention in mentions] == [
        ("a.com", False),
        ("b.com", True),
        ("c.com", False),
    ]


@pytest.mark.parametrize(
    ("user", "domain", "address"),
    [
        ("me", "Example.COM", "me@example.com"),
        ("", "example.com", None),
        ("me", "example", None),
        ("me", "a..com", None),
        ("me", "example.nope", None),
        ('3D"me', "example.com", None),
        ("me", "exa mple.com", None),
    ],
)
def test_address_of(user: str, domain: str, address: str | None) -> None:
    assert address_of(user, domain) == address


@pytest.mark.parametrize(
    ("name", "has_more", "is_bare"),
    [
        ("a.com", False, True),
        ("a.com-", False, True),
        ("com", False, False),
        ("a.zip", False, False),
        ("a.zip", True, True),
        ("a.py", False, False),
        ("www.a.py", False, True),
        ("a.xn--p1ai", False, True),
        ("a.nope", True, False),
        ("A.COM", False, True),
        ("a.Com", False, False),
    ],
)
def test_bare_hosts(name: str, has_more: bool, is_bare: bool) -> None:
    assert is_bare_host(name, has_more=has_more) is is_bare


@pytest.mark.parametrize("text", ["http://a.com ", "a.com ", "me@a.com ", "a.b ", "a@ ", ":// "])
def test_the_search_is_bounded(text: str) -> None:
    mentions, is_cut = find_mentions(text * 20_000)
    assert is_cut
    assert len(mentions) <= 1000


@pytest.mark.parametrize(("junk", "lost"), [("a.b/ ", "b.org"), ("a@ ", "c@d.net"), (":// ", "http://a.com/x")])
def test_texts_may_share_an_effort_and_one_kind_takes_nothing_from_the_others(junk: str, lost: str) -> None:
    effort = Effort()
    text = "see http://a.com/x, b.org or c@d.net"
    every = ["http://a.com/x", "b.org", "c@d.net"]
    assert [mention.text for mention in find_mentions(text, effort)[0]] == every
    assert find_mentions(junk * 10_000, effort) == ([], True)
    mentions, is_cut = find_mentions(text, effort)
    assert is_cut
    assert [mention.text for mention in mentions] == [one for one in every if one != lost]
    assert find_mentions("no marks. None at all", effort) == ([], False)


def test_trailing_punctuation_is_looked_at_to_a_bound() -> None:
    assert len(found("http://a.com/x" + ")" * 1000)[0]) == 14 + 1000 - 256


@given(
    st.lists(
        st.sampled_from(["http", "://", "a", ".", "com", "@", "[.]", "(", ")", "ü", "\ud800", "请", " ", "/", "-", "'"]),
        max_size=30,
    )
)
def test_anything_is_searched(pieces: list[str]) -> None:
    text = "".join(pieces)
    end = 0
    for mention in find_mentions(text)[0]:
        assert mention.start >= end
        end = mention.start + len(mention.text)
        assert mention.text
