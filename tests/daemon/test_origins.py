"""Layers: how they are read, merged and shown."""

import tomllib
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from filterd.daemon.origins import Unreadable, canonical, dotted, merge, parse_set, read_table, shown_path, toml_text

VALUES = st.recursive(
    st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(st.characters(codec="utf-8"), max_size=50),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(st.characters(codec="utf-8")), inner),
    max_leaves=20,
)


def merged(*layers: dict[str, Any]) -> tuple[dict[str, Any], dict[str, str]]:
    base: dict[str, Any] = {}
    origins: dict[str, str] = {}
    for number, layer in enumerate(layers):
        merge(base, layer, origin=str(number), origins=origins)
    return base, origins


@pytest.mark.parametrize(
    ("layers", "result", "origins"),
    [
        (({"a": {"b": 1}}, {"a": {"c": 2}}), {"a": {"b": 1, "c": 2}}, {"a": "1", "a.b": "0", "a.c": "1"}),
        (({"a": [1]}, {"a": [2]}), {"a": [2]}, {"a": "1"}),
        (({"a": 1}, {"a": {"b": 2}}), {"a": {"b": 2}}, {"a": "1", "a.b": "1"}),
        (({"a": {}}, {"a": 1}), {"a": 1}, {"a": "1"}),
        (({"x y": {"b": 1}},), {"x y": {"b": 1}}, {'"x y"': "0", '"x y".b': "0"}),
    ],
)
def test_tables_merge_and_everything_else_replaces(layers: Any, result: object, origins: object) -> None:
    assert merged(*layers) == (result, origins)


def test_merging_leaves_the_layers_as_they_were() -> None:
    first: dict[str, Any] = {"a": {"b": 1}}
    merged(first, {"a": {"b": 2}})
    assert first == {"a": {"b": 1}}


@pytest.mark.parametrize(
    ("option", "table"),
    [
        ("limits.tasks=5", {"limits": {"tasks": 5}}),
        ("a.b=8s", {"a": {"b": "8s"}}),
        ("a='8s'", {"a": "8s"}),
        ("a=", {"a": ""}),
        ("a=x=y", {"a": "x=y"}),
        ('a=["x", "y"]', {"a": ["x", "y"]}),
        ("a={b = 1}", {"a": {"b": 1}}),
        ("a=1\nb=2", {"a": "1\nb=2"}),
        ('actions."add header"=5', {"actions": {"add header": 5}}),
        (" a . b = 5", {"a": {"b": 5}}),
    ],
)
def test_an_option_is_a_dotted_key_and_a_toml_value_or_bare_text(option: str, table: object) -> None:
    assert parse_set(option) == table


@pytest.mark.parametrize("option", ["", "a", "=5", "a b=5", "a.=5", "[a]=5", "a\nb=5", "#=5"])
def test_what_is_no_option_is_refused(option: str) -> None:
    with pytest.raises(Unreadable, match="is not KEY=VALUE"):
        parse_set(option)


@given(st.text())
def test_any_option_gives_a_table_or_is_refused(option: str) -> None:
    try:
        assert len(parse_set(option)) == 1
    except Unreadable:
        pass


def test_shorthands_are_written_out() -> None:
    layer = {"symbols": {"A": 1, "B": 2.5, "C": {"score": 3}, "D": True}, "actions": {"add_header": 6}, "limits": {"a_b": 1}}
    assert canonical(layer) == {
        "symbols": {"A": {"score": 1}, "B": {"score": 2.5}, "C": {"score": 3}, "D": True},
        "actions": {"add header": 6},
        "limits": {"a_b": 1},
    }
    assert canonical({"symbols": 1, "actions": [2]}) == {"symbols": 1, "actions": [2]}


@given(VALUES)
def test_a_value_is_shown_as_toml(value: object) -> None:
    assert tomllib.loads(f"value = {toml_text(value)}")["value"] == value


@pytest.mark.parametrize("key", ["password", "http_password", "token", "api_key", "apikey", "client-secret", "PASSWORD"])
def test_a_secret_is_not_shown_wherever_it_stands(key: str) -> None:
    assert toml_text("hunter2", key=key) == '"(hidden)"'
    assert toml_text({"a": [{key: "hunter2"}]}) == f'{{ a = [{{ {key} = "(hidden)" }}] }}'


def test_the_credentials_in_a_url_are_not_shown() -> None:
    assert toml_text("see http://me:hunter2@proxy:3128/") == '"see http://(hidden)@proxy:3128/"'


def test_a_long_value_is_cut() -> None:
    assert toml_text("x" * 1000) == '"' + "x" * 200 + '…"'


def test_a_path_of_keys_is_dotted_as_toml_does() -> None:
    assert dotted(("dns", "fake_records", 0, "name")) == "dns.fake_records[0].name"
    assert dotted(("actions", "add header")) == 'actions."add header"'


@pytest.mark.parametrize(
    ("content", "place", "text"),
    [
        (b"a = \n", "1:5", "Invalid value"),
        (b"a = 1\na = 2\n", "2:6", "Cannot overwrite a value"),
        (b'a = "x', "1:7", "Unterminated string"),
        (b"a = 1\n\xff", "2", "is not UTF-8 text, which TOML must be"),
        (b"a = " + b"9" * 5000, "", "holds a number of thousands of digits"),
        (b"a = " + b"[" * 5000, "", "lists or tables are nested too deeply"),
        (b"[a" + b".a" * 500 + b"]", "", "lists or tables are nested too deeply"),
    ],
)
def test_a_file_that_is_not_toml_is_told_with_line_and_column(tmp_path: Path, content: bytes, place: str, text: str) -> None:
    path = tmp_path / "f.toml"
    path.write_bytes(content)
    with pytest.raises(Unreadable) as raised:
        read_table(path)
    assert (raised.value.place, raised.value.text) == (place, text)


@pytest.mark.parametrize("option", ["a" + ".a" * 500 + "=1", "a=" + "[" * 100 + "]" * 100])
def test_what_is_set_may_not_be_nested_too_deeply_either(option: str) -> None:
    with pytest.raises(Unreadable, match="lists or tables are nested too deeply"):
        parse_set(option)


def test_a_byte_order_mark_is_no_mistake(tmp_path: Path) -> None:
    path = tmp_path / "f.toml"
    path.write_bytes(b"\xef\xbb\xbfa = 1\r\n")
    assert read_table(path) == {"a": 1}


def test_a_file_below_the_working_directory_is_named_shortly(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert shown_path(tmp_path / "conf" / "f.toml") == "conf/f.toml"
    assert shown_path(Path("conf/f.toml")) == "conf/f.toml"
    assert shown_path(Path("/etc/filterd/f.toml")) == "/etc/filterd/f.toml"
