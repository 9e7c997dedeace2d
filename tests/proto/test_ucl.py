r"""Settings are read as Rspamd reads them and JSON as json does; anything else is a UclError that says where.

The oracles are json and libucl itself, inside rspamadm.
"""

import base64
import json
import subprocess
from pathlib import Path
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from filterd.proto.ucl import MAX_DEPTH, MAX_LENGTH, MAX_VALUES, UclError, parse
from tests.support.partners import require

# What Rspamd's functional tests send in the header, each shape once.
SENT: list[tuple[str, Any]] = [
    ("{symbols_enabled = []}", {"symbols_enabled": []}),
    ("{symbols_enabled = [SIMPLE_TEST]}", {"symbols_enabled": ["SIMPLE_TEST"]}),
    ('{symbols_enabled = ["SIMPLE_TEST", "SIMPLE_POST"]}', {"symbols_enabled": ["SIMPLE_TEST", "SIMPLE_POST"]}),
    ("{symbols_enabled = [DYN_TEST1,DYN_TEST2,DYN_MULTIMAP]}", {"symbols_enabled": ["DYN_TEST1", "DYN_TEST2", "DYN_MULTIMAP"]}),
    ('{symbols_enabled = [RCPT_MAP, "2000POINTS"]}', {"symbols_enabled": ["RCPT_MAP", "2000POINTS"]}),
    (
        "{symbols_enabled = [GREYLIST_CHECK, GREYLIST_SAVE], symbols = [FOUR_POINTS]}",
        {"symbols_enabled": ["GREYLIST_CHECK", "GREYLIST_SAVE"], "symbols": ["FOUR_POINTS"]},
    ),
    ('{groups_disabled = ["b"]}', {"groups_disabled": ["b"]}),
    ("{SIMPLE_TEST = 3.33}", {"SIMPLE_TEST": 3.33}),
    ("{actions { reject = 1234.5; } }", {"actions": {"reject": 1234.5}}),
    ("{actions {reject = 999.0}}", {"actions": {"reject": 999.0}}),
    ('{"actions":{"greylist":2.0}}', {"actions": {"greylist": 2.0}}),
]

# Rspamd 3.4 reads all of these in the same way; rspamadm is asked below.
AS_RSPAMD: list[tuple[str, Any]] = [
    *SENT,
    # outer braces, separators
    ("", {}),
    (" \n", {}),
    ("{}", {}),
    (" { } ", {}),
    ("# nothing", {}),
    ("a = 1", {"a": 1}),
    (" {a = 1} # x", {"a": 1}),
    ("{a = 1};", {"a": 1}),
    (
        'symbols_enabled = [A, "B"]; actions { reject = 10; "add header" = null }',
        {"symbols_enabled": ["A", "B"], "actions": {"reject": 10, "add header": None}},
    ),
    ("a=1,b=2;c=3\nd=4\r\ne=5", {"a": 1, "b": 2, "c": 3, "d": 4, "e": 5}),
    ("a=1,,b=2;;;", {"a": 1, "b": 2}),
    ("a={} b=[] c {} d=1", {"a": {}, "b": [], "c": {}, "d": 1}),
    ("a=[{b=1}{b=2} [3]]", {"a": [{"b": 1}, {"b": 2}, [3]]}),
    ("a=[1;2\n3,]", {"a": [1, 2, 3]}),
    ("a=[[1],[ ],[2,[3]]]", {"a": [[1], [], [2, [3]]]}),
    # keys
    ("a : 1; b: 2; c 3; d\t=\t4", {"a": 1, "b": 2, "c": 3, "d": 4}),
    ('"a b" : 1, "c\\n\\u0064" = 2', {"a b": 1, "c\nd": 2}),
    ("a.b-c_/9=1, 9=2, _x=3, /y=4, é=5", {"a.b-c_/9": 1, "9": 2, "_x": 3, "/y": 4, "é": 5}),
    ("a =\n 1", {"a": 1}),
    ('a "b"; c yes; d 10k; e f g', {"a": "b", "c": True, "d": 10000, "e": "f g"}),
    # named sections
    ('a "b" { c = 1 }', {"a": {"b": {"c": 1}}}),
    ('a b "c d" { e = 1 }', {"a": {"b": {"c d": {"e": 1}}}}),
    ("a b [1, 2]", {"a": {"b": [1, 2]}}),
    ("a b, c {d=1}", {"a": "b", "c": {"d": 1}}),
    ("a 1\nb {c=1}", {"a": 1, "b": {"c": 1}}),
    ('a "b" {c=1} a "d" {c=2}', {"a": [{"b": {"c": 1}}, {"d": {"c": 2}}]}),
    # repeated keys
    ("a=1; a=b; a=null", {"a": [1, "b", None]}),
    ("a=[1]; a=2; a=[3]", {"a": [1, 2, 3]}),
    ("a=[1]; a=[[2]]", {"a": [1, [2]]}),
    ("a {b=1} a {c=2} a=3", {"a": [{"b": 1}, {"c": 2}, 3]}),
    ('{"a":[1],"a":[2]}', {"a": [1, 2]}),
    # comments
    ("# x\na=1 # y\nb=c /* z */", {"a": 1, "b": "c"}),
    ("/* x /* y */ z */ a /**/ = /*b*/1", {"a": 1}),
    ('a="x"/* a separator */b=[1#\n#\n,c /**/]', {"a": "x", "b": [1, "c"]}),
    ("a=x#y", {"a": "x"}),
    ("a=x/*y*/", {"a": "x"}),
    # bare strings
    ("a = 1 b = 2", {"a": "1 b = 2"}),
    ("a=foo:bar=baz//x<y>!?@%^&*()|~`+'\"", {"a": "foo:bar=baz//x<y>!?@%^&*()|~`+'\""}),
    ("a=é ü ", {"a": "é ü"}),
    ("a=/^x[a-z]{1}$/i, b=[x[y]z]", {"a": "/^x[a-z]{1}$/i", "b": ["x[y]z"]}),
    (r"a=x\;\,\"\u0041\t", {"a": 'x;,"A\t'}),
    ("a=NULL, b=-inf, c=<x, d=$, e=$$, f=x$", {"a": "NULL", "b": "-inf", "c": "<x", "d": "$", "e": "$$", "f": "x$"}),
    # quoted strings
    (r'a="\"\\\/\b\f\n\r\t\u00e9é"', {"a": '"\\/\b\f\n\r\téé'}),
    (r'a="\x\d"', {"a": "xd"}),
    ('a="[{,;#/*$X}]"', {"a": "[{,;#/*$X}]"}),
    (r"a='x\ny', b='it\'s', c='\\', d='\"{'", {"a": r"x\ny", "b": "it's", "c": r"\\", "d": r"\"{"}),
    ("a='x\\\ny\\\r\nz\nü'", {"a": "xyz\nü"}),
    ('a="10", b="true", c="null"', {"a": "10", "b": "true", "c": "null"}),
    # booleans and null
    ("a=[true, yes, on, True, YES, oN]", {"a": [True] * 6}),
    ("a=[false, no, off, False, NO, ofF]", {"a": [False] * 6}),
    ("a=null", {"a": None}),
    # numbers
    ("a=[0, -5, 010, 1.5, 5., -0.25, 1e3, 25E-1]", {"a": [0, -5, 10, 1.5, 5.0, -0.25, 1000.0, 2.5]}),
    ("a=[0xff, -0X1F]", {"a": [255, -31]}),
    ("a=[10k, 10K, 5M, 1g, 1.5k]", {"a": [10_000, 10_000, 5_000_000, 1_000_000_000, 1500.0]}),
    ("a=[10kb, 1MB, 1Gb]", {"a": [10_240, 1_048_576, 1_073_741_824]}),
    ("a=[10s, 10ms, 5min, 2h]", {"a": [10.0, 0.01, 300.0, 7200.0]}),
    ("a=[1d, 1W, 1y]", {"a": [86_400.0, 604_800.0, 31_536_000.0]}),
    ("a=[1.2.3.4, 10.0.0.0/8, 1-2, 1_0, 1e, 1e+, 10mins, 1 s, +5, .5, -]",
     {"a": ["1.2.3.4", "10.0.0.0/8", "1-2", "1_0", "1e", "1e+", "10mins", "1 s", "+5", ".5", "-"]}),
]  # fmt: skip

# Rspamd 3.4 refuses these, or reads what nobody can have meant, or NaN.
UNLIKE_RSPAMD: list[tuple[str, Any]] = [
    ("a\n{\nb=1\n}", {"a": {"b": 1}}),
    ("a {b 1} c {d 2}", {"a": {"b": 1}, "c": {"d": 2}}),
    ("a{b{}}", {"a": {"b": {}}}),
    ('a "b;c" {}', {"a": {"b;c": {}}}),
    ("a\n: 1", {"a": 1}),
    ("a = 10k /* x */", {"a": 10_000}),
    ("a = 1.5kb", {"a": 1536.0}),
    ("a = /*/**/*/1", {"a": 1}),
    ("a = 1e3x", {"a": "1e3x"}),
    ('/* " */ a=1', {"a": 1}),
    ("a=1; a=[2]; a=[3, 4]", {"a": [1, 2, 3, 4]}),
    ("a=[nan, inf]", {"a": ["nan", "inf"]}),
    (r'a="\ud83d\ude00"', {"a": "😀"}),
    (r"a=\ud83d\ude00", {"a": "😀"}),
    ('"" = 1', {"": 1}),
]

WRONG: list[tuple[str, int, int, str]] = [
    # structure
    ("[1]", 1, 1, "a key, found '['"),
    ("{a=1} b", 1, 7, "the end, found 'b'"),
    ("{a=1}}", 1, 6, "the end, found '}'"),
    ("a=1}", 1, 4, "a key, found '}'"),
    ("{a=1", 1, 5, "a key or '}', found the end"),
    ("a={b=1]}", 1, 7, "a key or '}', found ']'"),
    ("a=[1}", 1, 5, "a value or ']', found '}'"),
    ("a=[1,", 1, 6, "a value or ']', found the end"),
    ("a=[,1]", 1, 4, "a value or ']', found ','"),
    ("{;a=1}", 1, 2, "a key or '}', found ';'"),
    # keys and values
    ("a", 1, 2, "'=', ':' or '{', found the end"),
    ("a;", 1, 2, "'=', ':' or '{', found ';'"),
    ('"a"1', 1, 4, "'=', ':' or '{', found '1'"),
    ("a!=1", 1, 2, "'=', ':' or '{', found '!'"),
    ("a=1\n\n  b\nc", 4, 1, "'=', ':' or '{', found 'c'"),
    ("=1", 1, 1, "a key, found '='"),
    ("-a=1", 1, 1, "a key, found '-'"),
    ("'a'=1", 1, 1, 'a key, found "\'"'),
    ("a=", 1, 3, "a value, found the end"),
    ("a ", 1, 3, "a value, found the end"),
    ("a=;b=1", 1, 3, "a value, found ';'"),
    ("a==1", 1, 3, "a value, found '='"),
    ("a=:1", 1, 3, "a value, found ':'"),
    ("a=\0", 1, 3, r"a value, found '\x00'"),
    ("a b = {c=1}", 1, 5, "a name or '{', found '='"),
    ("a (b) {c=1}", 1, 3, "a name or '{', found '('"),
    # separators
    ('a="x" b=1', 1, 7, "',', ';' or a new line, found 'b'"),
    ('a=["x""y"]', 1, 7, "',', ';' or a new line, found '\"'"),
    ("a='x'y", 1, 6, "',', ';' or a new line, found 'y'"),
    ("a=x\x01y", 1, 4, r"',', ';' or a new line, found '\x01'"),
    # strings and comments
    ('a="x', 1, 5, "'\"', found the end"),
    ('a="x\ny"', 1, 5, r"""'"', found '\n'"""),
    (r'a="\u12"', 1, 4, r"an escape sequence, found '\\'"),
    ('a="x\\', 1, 5, r"an escape sequence, found '\\'"),
    (r'a="x\ud800"', 1, 3, "a string of whole \\u pairs, found '\"'"),
    (r"a=\ude00\ud83d", 1, 3, r"a string of whole \u pairs, found '\\'"),
    ("a='x", 1, 3, 'a string with a "\'" at its end, found "\'"'),
    (r"a=x\u12", 1, 4, r"',', ';' or a new line, found '\\'"),
    ("a=1 /* /* */", 1, 13, "'*/', found the end"),
    # numbers
    ("a=1e400", 1, 3, "a number that is not so large, found '1'"),
    ("a=-" + "9" * 400, 1, 3, "a number that is not so large, found '-'"),
    ("a=" + "0" * 5000, 1, 3, "a number that is not so large, found '0'"),
    ("a=1e308w", 1, 3, "a number that is not so large, found '1'"),
    # not part of it
    ('.include "/etc/passwd"', 1, 1, "a key, found '.'"),
    ("a = <<EOD\nx\nEOD\n", 1, 5, "a value in one line, found '<'"),
    ("a = x$HOME", 1, 6, "a value without variables, found '$'"),
    ("a = ${HOME}", 1, 5, "a value without variables, found '$'"),
]

LONG = """{ # settings
  symbols_enabled = [A, "B \\u00e9", 'c'], /* all */
  actions { reject = 10.5; "add header" = null; greylist 4k }
  rule "x" y { from = /[a-z]{2}\\.example/ } scores = {A: -1.5e1}
}"""

PIECES = [
    *r"""{ } [ ] " ' \ = : ; , # /* */ / $ ${ . < << - 0 1.5 10k 0x e9 a b\u0041 \u \ud800 true null é""".split(),
    " ",
    "\n",
    "\0",
    "\udc80",
]

json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=10,
)
json_styles = st.sampled_from(
    [
        {},
        {"indent": 2},
        {"indent": "\t"},
        {"separators": (",", ":")},
        {"separators": ("\r\n, ", " \n:\t")},
        {"ensure_ascii": False},
    ]
)


@pytest.mark.parametrize(("text", "value"), [*AS_RSPAMD, *UNLIKE_RSPAMD])
def test_a_text_has_its_value(text: str, value: Any) -> None:
    assert repr(parse(text)) == repr(value)  # 1, 1.0 and True are equal but not the same; nor is another order


def test_rspamd_gives_the_same_values(tmp_path: Path) -> None:
    rspamadm = require("rspamadm", package="rspamd")
    script = tmp_path / "read.lua"
    script.write_text(
        """
        local ucl, util = require "ucl", require "rspamd_util"
        for line in io.lines(TEXTS) do
          local parser = ucl.parser()
          local ok, message = parser:parse_text(util.decode_base64(line))
          print(ok and ucl.to_format(parser:get_object(), "json-compact") or message)
        end
        """.replace("TEXTS", repr(str(tmp_path / "texts")))
    )
    texts = [text for text, _ in AS_RSPAMD if text]  # an empty line would not be read as a text
    # With a line end: at the end of a text libucl looks one character too far, and now and then takes a number for a string.
    encoded = [base64.b64encode(f"{text}\n".encode()).decode() for text in texts]
    (tmp_path / "texts").write_text("".join(f"{line}\n" for line in encoded))
    done = subprocess.run([rspamadm, "lua", "-b", script], capture_output=True, check=True, text=True, timeout=15)
    read = dict(zip(texts, map(json.loads, done.stdout.splitlines()), strict=True))
    assert read == {text: value for text, value in AS_RSPAMD if text}


@pytest.mark.parametrize(("text", "line", "column", "message"), WRONG)
def test_an_error_says_where_and_what_was_expected(text: str, line: int, column: int, message: str) -> None:
    with pytest.raises(UclError) as caught:
        parse(text)
    assert str(caught.value) == f"line {line}, column {column}: expected {message}"
    assert (caught.value.line, caught.value.column) == (line, column)
    assert message.startswith(f"{caught.value.expected}, found ")


@given(st.dictionaries(st.text(), json_values), json_styles)
@example({"a": [-0.0, 1e300, 2**64, -(2**63), "$X ${Y} <<E", "\u2028\x7f", {"": None}]}, {})
def test_json_has_the_value_that_json_gives_it(value: dict[str, Any], style: dict[str, Any]) -> None:
    text = json.dumps(value, **style)
    assert repr(parse(text)) == repr(json.loads(text))


def test_repeated_keys_of_json_are_an_array() -> None:
    assert parse('{"a": {"b": 1}, "c": 0, "a": [2, 3]}') == {"a": [{"b": 1}, 2, 3], "c": 0}


@given(st.text() | st.lists(st.sampled_from(PIECES), max_size=40).map("".join))
def test_any_text_is_an_object_or_a_ucl_error(text: str) -> None:
    try:
        found = parse(text)
    except UclError:
        return
    assert json.loads(json.dumps(found, allow_nan=False)) == found


def test_a_text_in_braces_is_an_error_wherever_it_is_cut() -> None:
    assert parse(LONG) == {
        "symbols_enabled": ["A", "B é", "c"],
        "actions": {"reject": 10.5, "add header": None, "greylist": 4000},
        "rule": {"x": {"y": {"from": "/[a-z]{2}.example/"}}},
        "scores": {"A": -15.0},
    }
    for end in range(1, len(LONG)):
        with pytest.raises(UclError):
            parse(LONG[:end])


@pytest.mark.parametrize(
    ("fitting", "beyond", "message"),
    [
        pytest.param("a" * (MAX_LENGTH - 2) + "=1", "a" * (MAX_LENGTH - 1) + "=1", "65536 characters", id="length"),
        pytest.param(*("{a=" * n + "1" + "}" * n for n in (MAX_DEPTH, MAX_DEPTH + 1)), "32 levels", id="objects"),
        pytest.param(*("a=" + "[" * n + "]" * n for n in (MAX_DEPTH - 1, MAX_DEPTH)), "32 levels", id="arrays"),
        pytest.param(*("a " * n + "{}" for n in (MAX_DEPTH - 1, MAX_DEPTH)), "32 levels", id="sections"),
        pytest.param(*("a=[" + "1," * n + "]" for n in (MAX_VALUES - 1, MAX_VALUES)), "10000 values", id="values of an array"),
        pytest.param(*("a 1;" * n for n in (MAX_VALUES, MAX_VALUES + 1)), "10000 values", id="values of an object"),
    ],
)
def test_limits_are_kept_to_the_letter(fitting: str, beyond: str, message: str) -> None:
    parse(fitting)
    with pytest.raises(UclError, match=f"no more than {message}"):
        parse(beyond)


def test_the_caller_may_allow_less() -> None:
    assert parse("a=1", max_length=3) == {"a": 1}
    with pytest.raises(UclError, match=r"^line 2, column 3: expected no more than 3 characters, found '1'$"):
        parse("\na=1", max_length=3)
