"""Layers of configuration: files and `--set` options as tables, merged with a note of where each value came from.

Promises: tables merge key by key, everything else replaces; every string remembers the folder of its file, so that a relative
path means the same whatever the working directory; a file that cannot be read or parsed is told with line and column.
"""

import json
import re
import tomllib
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from filterd.daemon.units import Written

__all__ = [
    "Unreadable",
    "canonical",
    "default_config_path",
    "dotted",
    "merge",
    "parse_set",
    "read_table",
    "shown_path",
    "toml_text",
]

_BARE_KEY = re.compile(r"[A-Za-z0-9_-]+")
_DEEPEST = 50  # tables and lists one within the other
_TOO_DEEP = "lists or tables are nested too deeply"
_NUMBER = re.compile(r"[0-9]+")
_SECRET = re.compile(r"(?:^|[_-])(?:password|passwd|secret|token|api_?key)s?$", re.IGNORECASE)
_CREDENTIALS = re.compile(r"(?<=://)[^/@\s]+(?=@)")
_SHOWN_CHARACTERS = 200  # of one value: enough to recognise it, and a terminal line stays a line

Table = dict[str, Any]


class Unreadable(Exception):
    """A layer that is no table: `place` is "line:column" or "", `text` says why."""

    def __init__(self, text: str, *, place: str = "") -> None:
        super().__init__(text)
        self.text = text
        self.place = place


def default_config_path() -> Path:
    """conf/filterd.toml of the checkout that this package lies in, else the copy installed with the package."""
    package = Path(__file__).resolve().parents[1]
    in_checkout = package.parent / "conf" / "filterd.toml"
    return in_checkout if in_checkout.is_file() else package / "_data" / "conf" / "filterd.toml"


def read_table(path: Path, read: Callable[[Path], bytes] = Path.read_bytes) -> Table:
    """The table of a TOML file, its strings `Written`; raises Unreadable."""
    try:
        text = read(path).decode("utf-8-sig")
    except FileNotFoundError:
        raise Unreadable("there is no such file") from None
    except IsADirectoryError:
        raise Unreadable("is a directory; name the file in it") from None
    except UnicodeDecodeError as error:
        line = error.object.count(b"\n", 0, error.start) + 1
        raise Unreadable("is not UTF-8 text, which TOML must be", place=str(line)) from None
    except OSError as error:
        raise Unreadable(f"cannot be read: {error.strerror}") from None
    try:
        table = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        # The reason ends in the place, "(at line 3, column 5)" or "(at end of document)".
        reason, _, where = str(error).rpartition(" (at ")
        lines = text.split("\n")
        raise Unreadable(reason, place=":".join(_NUMBER.findall(where)) or f"{len(lines)}:{len(lines[-1]) + 1}") from None
    except ValueError:
        # The parser lets it through as it comes from int().
        raise Unreadable("holds a number of thousands of digits") from None
    except RecursionError:
        raise Unreadable(_TOO_DEEP) from None
    written: Table = _written(table, path.parent.resolve())
    return written


def parse_set(option: str) -> Table:
    """The table that `KEY=VALUE` stands for: a dotted TOML key; a TOML value, or where it is none, the text as a string."""
    key, equals, text = option.partition("=")
    try:
        names = tomllib.loads(f"{key} = 0") if equals and "\n" not in key else {}
    except (ValueError, RecursionError):
        names = {}
    if len(names) != 1:
        raise Unreadable(f"{toml_text(option)} is not KEY=VALUE (a dotted key such as limits.task_timeout=4s)")
    try:
        found = tomllib.loads(f"value = {text}")
        value = found["value"] if len(found) == 1 else text
    except (ValueError, RecursionError):
        value = text
    table: Table = _written(_filled(names, value), Path.cwd())
    return table


def _filled(names: Table, value: Any, depth: int = _DEEPEST) -> Table:
    if not depth:
        raise Unreadable(_TOO_DEEP)
    return {name: _filled(inner, value, depth - 1) if isinstance(inner, dict) else value for name, inner in names.items()}


def _written(value: Any, folder: Path, depth: int = _DEEPEST) -> Any:
    if isinstance(value, str):
        return Written(value, folder)
    if isinstance(value, dict | list) and not depth:
        raise Unreadable(_TOO_DEEP)
    if isinstance(value, dict):
        return {key: _written(item, folder, depth - 1) for key, item in value.items()}
    return [_written(item, folder, depth - 1) for item in value] if isinstance(value, list) else value


def canonical(layer: Table) -> Table:
    """The layer with its shorthands written out, so that layers merge: `X = 3` in [symbols], `add_header` in [actions]."""
    found = dict(layer)
    if isinstance(symbols := layer.get("symbols"), dict):
        found["symbols"] = {name: {"score": value} if type(value) in (int, float) else value for name, value in symbols.items()}
    if isinstance(actions := layer.get("actions"), dict):
        found["actions"] = {name.replace("_", " "): value for name, value in actions.items()}
    return found


def merge(base: Table, layer: Mapping[str, Any], *, origin: str, origins: dict[str, str], under: tuple[str, ...] = ()) -> None:
    """Lay `layer` over `base` in place; `origins` gets the dotted key of each table and value written, with `origin`."""
    for key, value in layer.items():
        path = (*under, key)
        origins[dotted(path)] = origin
        if isinstance(value, dict):
            below = base.get(key)
            base[key] = below = below if isinstance(below, dict) else {}
            merge(below, value, origin=origin, origins=origins, under=path)
        else:
            base[key] = value


def dotted(path: tuple[str | int, ...]) -> str:
    """The path as TOML writes a key: `limits.tasks`, `actions."add header"`, `dns.fake_records[0].name`."""
    text = ""
    for step in path:
        if isinstance(step, int):
            text += f"[{step}]"
        else:
            text += ("." if text else "") + (step if _BARE_KEY.fullmatch(step) else _quoted(step))
    return text


def toml_text(value: Any, *, key: str = "") -> str:
    """A value as TOML writes it in one line; what the key or the text shows to be a secret is hidden."""
    if key and _SECRET.search(key) and value is not None:
        return '"(hidden)"'
    if value is None or isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int | float):
        return f"{value:g}" if isinstance(value, float) and value.is_integer() and abs(value) < 1e6 else str(value)
    if isinstance(value, Mapping):
        items = ", ".join(f"{dotted((name,))} = {toml_text(item, key=name)}" for name, item in value.items())
        return "{ " + items + " }" if items else "{}"
    if isinstance(value, list | tuple):
        return "[" + ", ".join(toml_text(item) for item in value) + "]"
    text = _CREDENTIALS.sub("(hidden)", str(value))
    return _quoted(text if len(text) <= _SHOWN_CHARACTERS else text[:_SHOWN_CHARACTERS] + "…")


def _quoted(text: str) -> str:
    # DEL is the one character that a JSON string may hold as it is and a TOML string may not.
    return json.dumps(text, ensure_ascii=False).replace("\x7f", "\\u007f")


def shown_path(path: Path) -> str:
    """A file's name for people: relative to the working directory where it lies below it."""
    full = path.absolute()
    return str(full.relative_to(Path.cwd())) if full.is_relative_to(Path.cwd()) else str(path)
