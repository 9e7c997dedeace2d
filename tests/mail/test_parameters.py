"""Content-Type and Content-Disposition in all the ways senders spell them."""

import email.message

import pytest
from hypothesis import given
from hypothesis import strategies as st

from filterd.mail.parameters import parse_parameters


@pytest.mark.parametrize(
    ("text", "value", "parameters"),
    [
        ("", "", {}),
        ("text/plain", "text/plain", {}),
        (" Text / HTML ; Charset = UTF-8 ", "text/html", {"charset": "UTF-8"}),
        ('text/plain; charset="utf-8"; format=flowed', "text/plain", {"charset": "utf-8", "format": "flowed"}),
        ("text/plain charset=utf-8", "text/plain", {"charset": "utf-8"}),  # the semicolon forgotten
        ("text/plain;; charset=utf-8;", "text/plain", {"charset": "utf-8"}),
        ("text/plain; charset=us-ascii (plain)", "text/plain", {"charset": "us-ascii"}),
        ("text/plain; charset=a; charset=b", "text/plain", {"charset": "a"}),
        ("text/plain; junk; charset=a", "text/plain", {"charset": "a"}),
        ("text/plain; junk", "text/plain", {}),
        ("attachment; filename=my report (1).pdf", "attachment", {"filename": "my report (1).pdf"}),
        ('attachment; filename="a\\"b\\\\c"', "attachment", {"filename": 'a"b\\c'}),
        ('attachment; filename="no end', "attachment", {"filename": "no end"}),
        ('attachment; filename="no end\\', "attachment", {"filename": "no end"}),
        ("filename=x.exe", "", {"filename": "x.exe"}),  # the value forgotten
        ('attachment; filename="=?utf-8?Q?=C3=BC.pdf?="', "attachment", {"filename": "ü.pdf"}),
        ('multipart/mixed; boundary="=?utf-8?Q?a?="', "multipart/mixed", {"boundary": "=?utf-8?Q?a?="}),
        ("attachment; filename*=utf-8''%c3%bc.pdf", "attachment", {"filename": "ü.pdf"}),
        ("attachment; filename*=utf-8'de'%c3%bc.pdf", "attachment", {"filename": "ü.pdf"}),
        ("attachment; filename*=%41.pdf", "attachment", {"filename": "A.pdf"}),  # character set forgotten
        ("attachment; filename=u.pdf; filename*=utf-8''%c3%bc.pdf", "attachment", {"filename": "ü.pdf"}),
        ('attachment; filename*1=b; filename*0="a "; filename*2=c', "attachment", {"filename": "a bc"}),
        ("attachment; filename*0*=utf-8''%c3; filename*1*=%bc; filename*2='c'", "attachment", {"filename": "ü'c'"}),
        ("attachment; *=x; a**=y; a*b*=z", "attachment", {"*": "x", "a**": "y", "a*b*": "z"}),
    ],
)
def test_values_and_parameters(text: str, value: str, parameters: dict[str, str]) -> None:
    assert parse_parameters(text) == (value, parameters)


def test_parameters_and_text_are_counted() -> None:
    assert len(parse_parameters("a/b;" + "".join(f"p{n}=x;" for n in range(100))).parameters) == 64
    assert parse_parameters("a/b;" + " " * 8192 + "p=x").parameters == {}


def test_short_values_are_parsed_once_and_cannot_be_changed() -> None:
    first = parse_parameters("text/x-once; a=b")
    assert parse_parameters("text/x-once; a=b") is first
    with pytest.raises(TypeError):
        first.parameters["a"] = "c"  # type: ignore[index]


@given(st.text(st.characters(codec="utf-8", exclude_categories=["C", "Z"]), min_size=1).filter(lambda name: "=?" not in name))
def test_what_the_standard_library_writes_is_read_back(name: str) -> None:
    message = email.message.Message()
    message.add_header("Content-Disposition", "attachment", filename=name if name.isascii() else ("utf-8", "", name))
    assert parse_parameters(str(message["content-disposition"])).parameters["filename"] == name


@given(st.text(st.sampled_from("ab/=;*0'%\"\\ \t()?"), max_size=60))
def test_anything_is_read_somehow(text: str) -> None:
    value, parameters = parse_parameters(text)
    assert value == value.lower()
    assert all(name == name.lower() for name in parameters)
