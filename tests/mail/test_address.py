"""Addresses of envelopes and header fields, from the plain ones to those nobody should have sent."""

import copy
import email.utils
import pickle

import pytest
from hypothesis import given
from hypothesis import strategies as st

from filterd.mail.address import MAX_ADDRESS_TEXT, MAX_ADDRESSES, Address, parse_addresses, parse_path, split_paths

# A value, and for each address in it: the address, the name and the flags.
LISTS: list[tuple[str, list[tuple[str, str, str]]]] = [
    ("", []),
    (" , ;, ", []),
    ("a@b.example", [("a@b.example", "", "valid")]),
    ("A@B.Example", [("A@b.example", "", "valid")]),
    ("<a@b>", [("a@b", "", "braced valid")]),
    ("John Doe <a@b>", [("a@b", "John Doe", "braced valid")]),
    ("  John   Doe  <a@b>  ", [("a@b", "John Doe", "braced valid")]),
    ('"Doe, John" <a@b>', [("a@b", "Doe, John", "braced valid")]),
    ('"A \\"B\\" C" <a@b>', [("a@b", 'A "B" C', "braced valid")]),
    ('John "Q" Doe <a@b>', [("a@b", "John Q Doe", "braced valid")]),
    ("=?utf-8?Q?J=C3=BCrgen?= <a@b>", [("a@b", "Jürgen", "braced valid")]),
    ('"=?utf-8?Q?J=C3=BCrgen?=" <a@b>', [("a@b", "Jürgen", "braced valid")]),
    ("=?utf-8?Q?a,b:c<d@e>?= <a@b>", [("a@b", "a,b:c<d@e>", "braced valid")]),
    ("=?utf-8?Q?a?= =?utf-8?Q?b?= (c) <a@b>", [("a@b", "ab", "braced valid")]),
    ("a@b (John)", [("a@b", "John", "valid")]),
    ("a@b (one (two) \\) three)", [("a@b", "one (two) ) three", "valid")]),
    ("(first) a@b (second)", [("a@b", "first", "valid")]),
    ("a @ b", [("a@b", "", "valid")]),
    ("a(x)@(y)b", [("a@b", "x", "valid")]),
    ("< a @ b >", [("a@b", "", "braced valid")]),
    ("John Doe a@b jr", [("a@b", "John Doe jr", "valid")]),
    ('"j d"@b', [('"j d"@b', "", "quoted valid")]),
    ('<"j"@b>', [("j@b", "", "braced quoted valid")]),
    ('<"j\\"d"@b>', [('"j\\"d"@b', "", "backslash braced quoted valid")]),
    ("<j\\ d@b>", [('"j d"@b', "", "backslash braced valid")]),
    ('"a@x"@b', [('"a@x"@b', "", "quoted valid")]),
    ("a@[192.0.2.1]", [("a@[192.0.2.1]", "", "ip valid")]),
    ("a@[IPv6:2001:DB8::1]", [("a@[ipv6:2001:db8::1]", "", "ip valid")]),
    ("a@[no ip", [("a@[no", "ip", "")]),
    ("jürgen@bücher.example", [("jürgen@bücher.example", "", "8bit valid")]),
    ("<@r:a@b>", [("a@b", "", "braced valid")]),
    ("<@r,@s:a@b>, c@d", [("a@b", "", "braced valid"), ("c@d", "", "valid")]),
    ("a@b, c@d; e@f", [("a@b", "", "valid"), ("c@d", "", "valid"), ("e@f", "", "valid")]),
    ("friends: a@b, C <c@d>;, e@f", [("a@b", "", "valid"), ("c@d", "C", "braced valid"), ("e@f", "", "valid")]),
    ("undisclosed-recipients:;", []),
    ("<a@b> <c@d>", [("a@b", "c@d", "braced valid")]),
    ("John <a@b", [("a@b", "John", "braced valid")]),
    ("John <a@b, c@d", [("a@b", "John", "braced valid"), ("c@d", "", "valid")]),
    ("<, a@b", [("", "", "braced empty"), ("a@b", "", "valid")]),
    ('"John <a@b>', [("a@b", "John", "braced valid")]),
    ('"John <a@b>, \\"Q', [("a@b", "John", "braced valid"), ('"\\"Q"', "", "backslash broken")]),
    ("John (x <a@b>, (y) c@d", [("a@b", "John x", "braced valid"), ("c@d", "y)", "valid")]),
    ("John Doe", [("", "John Doe", "broken empty")]),
    ('"John"Doe', [("", "JohnDoe", "broken empty")]),
    ('"John"', [("", "John", "broken empty")]),
    ("postmaster", [("postmaster", "", "broken")]),
    ("<postmaster>", [("postmaster", "", "braced")]),
    ("<>", [("", "", "braced empty")]),
    ("John <>", [("", "John", "braced empty")]),
    ("a@", [("a", "", "broken")]),
    ("@b", [("@b", "", "broken")]),
    ("a@b@c", [("a@b@c", "", "")]),
    ("a..b@c_d.example.", [("a..b@c_d.example.", "", "valid")]),
    ("a@b..c", [("a@b..c", "", "")]),
    ("a\0@b", [("a\0@b", "", "")]),
    ("a@b\\", [("a@b\\", "", "")]),
]


@pytest.mark.parametrize(("value", "expected"), LISTS, ids=[value for value, _ in LISTS])
def test_header_lists(value: str, expected: list[tuple[str, str, str]]) -> None:
    found = [(str(address), address.name, " ".join(sorted(address.flags))) for address in parse_addresses(value)]
    assert found == expected


def test_what_an_address_is_made_of() -> None:
    (address,) = parse_addresses(' "Doe, J" <"j d"@B.Example> ')
    assert (address.raw, address.addr, address.user, address.domain, address.name) == (
        '"Doe, J" <"j d"@B.Example>',
        '"j d"@b.example',
        "j d",
        "b.example",
        "Doe, J",
    )


def test_an_address_is_a_string_for_sets_and_comparisons() -> None:
    address = parse_path("<spammer@EXAMPLE.com>")
    assert address in {"other@example.com", "spammer@example.com"}
    assert address == "spammer@example.com"
    assert type(address.addr) is str


@pytest.mark.parametrize("again", [copy.copy, copy.deepcopy, lambda address: pickle.loads(pickle.dumps(address))])
def test_an_address_can_be_copied(again: object) -> None:
    address = parse_path("<a@b>")
    assert callable(again)
    other = again(address)
    assert (other, other.user, other.domain, other.flags, other.raw) == ("a@b", "a", "b", {"braced", "valid"}, "<a@b>")


def test_made_by_hand_it_is_its_own_raw_text() -> None:
    assert Address("x@y").raw == "x@y"


@pytest.mark.parametrize(
    ("value", "addr", "user", "domain", "flags"),
    [
        ("", "", "", "", "empty"),
        (" ", "", "", "", "empty"),
        ("<>", "", "", "", "braced empty"),
        ("< >", "", "", "", "braced empty"),
        ("<a@B>", "a@b", "a", "b", "braced valid"),
        (" a@b ", "a@b", "a", "b", "valid"),
        ("<a@b> SIZE=10", "a@b", "a", "b", "braced valid"),
        ("<a@b", "a@b", "a", "b", "braced valid"),
        ("<@r:a@b>", "a@b", "a", "b", "braced valid"),
        ("<@r,@s:a@b>", "a@b", "a", "b", "braced valid"),
        ('"j d"@b', '"j d"@b', "j d", "b", "quoted valid"),
        ('"j\\"d"@b', '"j\\"d"@b', 'j"d', "b", "backslash quoted valid"),
        ('"a@b"', '"a@b"', "a@b", "", "quoted"),
        ("a@[192.0.2.1]", "a@[192.0.2.1]", "a", "[192.0.2.1]", "ip valid"),
        ("ü@b", "ü@b", "ü", "b", "8bit valid"),
        ("root", "root", "root", "", ""),
        ("a@", "a", "a", "", "broken"),
        ("@b", "@b", "", "b", "broken"),
        ("@b:", "", "", "", "empty"),
        ("a b@c", "a b@c", "a b", "c", "broken"),
        ("a@b c", "a@b c", "a", "b c", "broken"),
        ('"', '"', '"', "", "broken"),
        ("[object Object]", "[object Object]", "[object Object]", "", "broken"),
        ("a@" + "b" * 1100, "a@" + "b" * 1100, "a", "b" * 1100, "broken"),
    ],
)
def test_envelope_paths(value: str, addr: str, user: str, domain: str, flags: str) -> None:
    path = parse_path(value)
    assert (str(path), path.user, path.domain, " ".join(sorted(path.flags)), path.raw) == (addr, user, domain, flags, value)


@pytest.mark.parametrize(
    ("value", "paths"),
    [
        ("", []),
        (" , ", []),
        ("a@b", ["a@b"]),
        ("<a@b>, c@d ,e@f", ["<a@b>", "c@d", "e@f"]),
        ('"x,y"@z,a@b', ['"x,y"@z', "a@b"]),
        ('"x\\",y"@z,a@b', ['"x\\",y"@z', "a@b"]),
        ("x\\,y@z,a@b", ["x\\,y@z", "a@b"]),
        ('a@b,"no end, c@d', ["a@b", '"no end, c@d']),
        ("a@b,\\", ["a@b", "\\"]),
    ],
)
def test_paths_joined_by_commas(value: str, paths: list[str]) -> None:
    assert split_paths(value) == paths


@pytest.mark.parametrize("value", ["a@b," * 3000, "a@b,<c@d>," * 3000])
def test_a_list_ends_at_2000_addresses(value: str) -> None:
    assert len(parse_addresses(value)) == MAX_ADDRESSES


def test_a_list_ends_at_64_ki_characters() -> None:
    assert parse_addresses("a@b," + " " * MAX_ADDRESS_TEXT + "c@d") == ["a@b"]


def test_the_marks_of_a_value_are_counted_and_the_rest_is_told_to_be_broken() -> None:
    *read, rest = parse_addresses("a@b, " + "@>" * 20_000 + ", c@d")
    assert read == ["a@b"]
    assert rest == ""
    assert rest.flags == {"empty", "broken", "cut"}
    assert rest.raw.endswith("@>, c@d")


NAME = st.text(st.sampled_from("abc äß,;:\"\\()<>@[].'"), max_size=15).map(str.strip).filter(lambda name: "  " not in name)
ADDRESS = st.tuples(NAME, st.from_regex(r"[a-z0-9+_-]{1,8}@[a-z]{1,8}\.example", fullmatch=True))


@given(st.lists(ADDRESS, min_size=1, max_size=5))
def test_what_the_standard_library_writes_is_read_back(pairs: list[tuple[str, str]]) -> None:
    written = ", ".join(email.utils.formataddr(pair) for pair in pairs)
    assert [(address.name, str(address)) for address in parse_addresses(written)] == pairs


@given(st.text(st.sampled_from('ab @.<>"'), max_size=20))
def test_the_short_cut_for_plain_addresses_changes_nothing(value: str) -> None:
    def facts(addresses: list[Address]) -> list[tuple[str, str, frozenset[str]]]:
        return [(str(address), address.name, address.flags) for address in addresses]

    # An empty comment leads past the short cut, and says nothing.
    assert facts(parse_addresses(value)) == facts(parse_addresses(value + " ()")) or value.count('"') % 2


@given(st.text(st.sampled_from('ab@.,;:<>()[]"\\ \t=?äQ\0'), max_size=60))
def test_anything_is_read_somehow(value: str) -> None:
    for address in [*parse_addresses(value), *map(parse_path, split_paths(value))]:
        assert address.domain == address.domain.lower()
        assert ("empty" in address.flags) == (address == "")
        assert not ("valid" in address.flags and "broken" in address.flags)
