"""Header fields: found whatever their spelling, the same by search and by index, and never a reason to raise."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from filterd.mail.headers import Header, HeaderEnd, Headers, find_header_end

BLOCK = (
    b"Received: one\r\n"
    b"Subject: =?utf-8?Q?M=C3=BCde?=\r\n"
    b"\tand folded\r\n"
    b"RECEIVED : two\r\n"
    b"X-Utf8: m\xc3\xbcde\r\n"
    b"X-Latin1: m\xfcde\r\n"
    b"X-Empty:\r\n"
    b"X-Last:  blanks around  \r\n"
)
NAMES = ["received", "subject", "x-utf8", "x-latin1", "x-empty", "x-last", "x-none", "subj", "x"]


def indexed(block: bytes) -> Headers:
    headers = Headers(block)
    assert len(headers) >= 0  # builds the index
    return headers


@pytest.fixture(params=[Headers, indexed], ids=["searched", "indexed"])
def headers(request: pytest.FixtureRequest) -> Headers:
    made: Headers = request.param(BLOCK)
    return made


def test_the_end_is_looked_for_in_four_mib() -> None:
    line, limit = b"A: x\n", 4 * 1024 * 1024
    assert find_header_end(line * (limit // 5 - 1) + b"\nbody", 0, limit) == (limit // 5 * 5 - 5, limit // 5 * 5 - 4, True)
    assert find_header_end(b"x" + line * limit, 1, 5 * limit) == (1 + limit, 1 + limit, False)


def test_names_are_case_insensitive(headers: Headers) -> None:
    assert headers.get("SUBJECT") == headers.get("subject") == headers.get("Subject") == "Müde and folded"


def test_three_faces_of_a_value(headers: Headers) -> None:
    assert headers.raw("subject") == b" =?utf-8?Q?M=C3=BCde?=\r\n\tand folded"
    assert headers.value("subject") == "=?utf-8?Q?M=C3=BCde?= and folded"
    assert headers.get("subject") == "Müde and folded"
    assert headers.all("subject") == [Header("Subject", b" =?utf-8?Q?M=C3=BCde?=\r\n\tand folded", 1)]
    assert (headers.all("subject")[0].value, headers.all("subject")[0].decoded) == (
        "=?utf-8?Q?M=C3=BCde?= and folded",
        "Müde and folded",
    )


@pytest.mark.parametrize(
    ("name", "text"),
    [("received", "one"), ("x-utf8", "müde"), ("x-latin1", "müde"), ("x-empty", ""), ("x-last", "blanks around")],
)
def test_the_first_of_a_name_as_text(headers: Headers, name: str, text: str) -> None:
    assert (headers.get(name), headers.value(name), headers.has(name)) == (text, text, True)


@pytest.mark.parametrize("name", ["x-none", "subj", "x-", "and", ""])
def test_a_name_that_is_not_there(headers: Headers, name: str) -> None:
    assert (headers.get(name), headers.value(name), headers.raw(name), headers.has(name)) == (None, None, None, False)
    assert (headers.all(name), headers.count(name)) == ([], 0)


def test_all_of_one_name_in_order(headers: Headers) -> None:
    assert [(header.name, header.value, header.order) for header in headers.all("received")] == [
        ("Received", "one", 0),
        ("RECEIVED", "two", 2),
    ]
    assert headers.count("Received") == 2


def test_all_fields_in_order(headers: Headers) -> None:
    assert [header.name for header in headers] == ["Received", "Subject", "RECEIVED", "X-Utf8", "X-Latin1", "X-Empty", "X-Last"]
    assert (len(headers), headers.flags) == (7, frozenset())


def test_many_names_are_looked_up_in_an_index_with_the_same_result() -> None:
    headers = Headers(BLOCK)
    first = [headers.raw(name) for name in NAMES]
    assert "_index" in vars(headers)
    assert [headers.raw(name) for name in NAMES] == first == [Headers(BLOCK).raw(name) for name in NAMES]


@pytest.mark.parametrize(
    ("block", "names", "flags"),
    [
        (b"", [], set()),
        (b"\n\n", [], set()),
        (b"no colon\nA: x\n", ["A"], {"bad_header"}),
        (b"A b: x\n", ["A b"], {"bad_header"}),
        (b"\xc3\xbc: x\n", ["ü"], {"bad_header"}),
        (b"A \t: x\n", ["A"], set()),
        (b": x\n", [], {"bad_header"}),
        (b" folded: at once\nA: x", ["A"], {"bad_header"}),
        (b"Sub\n ject: x\nA: x", ["A"], {"bad_header"}),
        (b"A: x\n \n\t\nB: y", ["A", "B"], set()),
    ],
)
def test_broken_fields_are_flagged_and_the_others_found(block: bytes, names: list[str], flags: set[str]) -> None:
    headers = Headers(block)
    assert ([header.name for header in headers], set(headers.flags)) == (names, flags)


def test_a_search_passes_over_what_only_begins_like_the_name() -> None:
    assert Headers(b"Subject-X: a\nX-Subject: b\nSubject\n Subject: c\nSubject: d\n").raw("subject") == b" d"


def test_the_size_of_a_block_and_the_number_of_its_fields_are_limited() -> None:
    long = Headers(b"A: x\n" + b" y\n" * 200_000 + b"B: z\n")
    assert (long.get("b"), set(long.flags)) == (None, {"header_cap"})
    many = Headers(b"A: x\n" * 5000 + b"B: y\n")
    assert (many.get("b"), len(many), set(many.flags)) == (None, 5000, {"header_cap"})


@pytest.mark.parametrize(
    ("data", "end"),
    [
        (b"", HeaderEnd(0, 0, True)),
        (b"A: x", HeaderEnd(4, 4, False)),
        (b"A: x\n", HeaderEnd(5, 5, False)),
        (b"A: x\n\nbody", HeaderEnd(5, 6, True)),
        (b"A: x\r\n\r\nbody", HeaderEnd(6, 8, True)),
        (b"A: x\n\r\nbody\n\n", HeaderEnd(5, 7, True)),
        (b"A: x\r\nB: y\n\nbody\n\r\n", HeaderEnd(11, 12, True)),
        (b"A: x\n \nB: y\n\n", HeaderEnd(12, 13, True)),  # a blank is a continuation
        (b"\nbody", HeaderEnd(0, 1, True)),
        (b"\r\nbody", HeaderEnd(0, 2, True)),
        (b"\r\r\n\n", HeaderEnd(3, 4, True)),
    ],
)
def test_fields_end_at_the_first_empty_line(data: bytes, end: HeaderEnd) -> None:
    assert find_header_end(data, 0, len(data)) == end
    around = find_header_end(b"\n\n" + data + b"\n\n", 2, 2 + len(data))
    assert around == HeaderEnd(end.fields + 2, end.body + 2, end.is_found)


@pytest.mark.parametrize("newline", [b"\n", b"\r\n"])
@pytest.mark.parametrize("size", [4070, 4096, 20_000, 100_000])
def test_long_headers_end_where_they_end(newline: bytes, size: int) -> None:
    for length in range(size, size + 30):
        fields = b"A: x" + newline + b"B: " + b"y" * length + newline
        assert find_header_end(fields + newline + b"body", 0, len(fields) + 9) == (len(fields), len(fields + newline), True)


@given(st.lists(st.sampled_from([b"a", b"A:", b"b", b":", b" ", b"\t", b"\n", b"\r\n", b"\0", b"\xfc", b"a: "]), max_size=30))
def test_search_and_index_agree(pieces: list[bytes]) -> None:
    block = b"".join(pieces)
    for name in ("a", "b", "ab", "aa"):
        assert Headers(block).raw(name) == next((header.raw for header in Headers(block).all(name)), None)


@given(st.binary(max_size=100) | st.text(st.sampled_from("a:\n\r b"), max_size=50).map(str.encode))
def test_the_end_is_where_a_plain_search_finds_it(data: bytes) -> None:
    lf, crlf = (b"\n" + data).find(b"\n\n"), (b"\n" + data).find(b"\n\r\n")
    found = min((at for at in (lf, crlf) if at >= 0), default=None)
    assert find_header_end(data, 0, len(data)).fields == (len(data) if found is None else found)


@pytest.mark.parametrize("fold", [b"\n ", b"\r\n\t", b"\n \t \t", b"\r\n" + b" " * 50, b"\r\r\n  "])
def test_a_thousand_folds_are_read_as_one_is(fold: bytes) -> None:
    one = Headers(b"A: x" + fold + b"y").value("a")
    assert one is not None
    count = 40_000 // len(fold)
    assert Headers(b"A: x" + (fold + b"y") * count).value("a") == "x" + one.removeprefix("x") * count
