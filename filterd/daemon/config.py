"""Reading the configuration: which files, in which order, and every mistake in them at once.

The layers, each merged over those before it (tables key by key, everything else replaces):

1. `scores.toml` beside the main file, if there is one: scores and descriptions that ship with the rules;
2. the main file;
3. `local.d/*.toml` beside it, sorted by name;
4. `--set KEY=VALUE` options, in order; relative paths in them count from the working directory;
5. `--rules PATH` options, which replace `rules.paths`.

TOML has no null: an action is disabled by `false` (`[actions] reject = false`), on the command line by `null` too.
"""

import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from filterd.daemon.door_keys import Faults
from filterd.daemon.keys import keys_at
from filterd.daemon.origins import (
    Table,
    Unreadable,
    canonical,
    default_config_path,
    dotted,
    merge,
    parse_set,
    read_table,
    shown_path,
    toml_text,
)
from filterd.daemon.schema import Config
from filterd.engine.texts import Texts

__all__ = ["Config", "ConfigError", "Problem", "default_config_path", "load_config", "written_table"]

_WANTED = {
    "string_type": "a string",
    "bool_type": "true or false",
    "int_type": "a whole number",
    "float_type": "a number",
    "finite_number": "a finite number",
    "model_type": "a table",
    "mapping_type": "a table",
    "dict_type": "a table",
}


@dataclass(frozen=True, slots=True)
class Problem:
    """One mistake: the file or option (with ":line:column" where it cannot be parsed), the dotted key or "", the offending
    value as TOML or "", and the sentence that says what is wrong with it.
    """

    origin: str
    key: str
    value: str
    text: str

    def __str__(self) -> str:
        return ": ".join(part for part in (self.origin, self.key, self.text) if part)


class ConfigError(Exception):
    """The configuration cannot be used. `problems` has every mistake; as text it is one line for each."""

    def __init__(self, problems: Sequence[Problem]) -> None:
        super().__init__("\n".join(map(str, problems)))
        self.problems = tuple(problems)


def load_config(
    path: str | os.PathLike[str], *, sets: Sequence[str] = (), rules: Sequence[str] = (), texts: Texts | None = None
) -> Config:
    """The configuration of the file at `path`, its neighbours and the options; raises ConfigError with every mistake.

    The files are read through `texts`, where they may have been kept before.
    """
    tree: Table = {}
    origins: dict[str, str] = {}
    problems: list[Problem] = []
    for origin, layer in _layers(Path(path), sets, rules, Texts() if texts is None else texts):
        if isinstance(layer, Unreadable):
            problems.append(Problem(f"{origin}:{layer.place}" if layer.place else origin, "", "", layer.text))
        else:
            merge(tree, canonical(layer), origin=origin, origins=origins)
    is_whole = not problems
    try:
        config = Config.model_validate(tree, context=origins)
    except ValidationError as error:
        # What is missing may stand in the file that could not be read.
        found = [fault for fault in error.errors(include_url=False) if is_whole or fault["type"] != "missing"]
        problems += [_problem(one, tree, origins) for fault in found for one in _each(fault)]
    if problems:
        raise ConfigError(problems)
    return config


def written_table(path: str | os.PathLike[str], sets: Sequence[str] = ()) -> Table:
    """All layers merged, as far as they can be read, and nothing checked: for who must find a key in a broken configuration."""
    tree: Table = {}
    for _, layer in _layers(Path(path), sets, (), Texts()):
        if not isinstance(layer, Unreadable):
            merge(tree, canonical(layer), origin="", origins={})
    return tree


def _layers(path: Path, sets: Sequence[str], rules: Sequence[str], texts: Texts) -> Iterator[tuple[str, Table | Unreadable]]:
    for file in texts.listing("configuration", lambda: _files(path)):
        try:
            yield shown_path(file), read_table(file, texts.read)
        except Unreadable as unreadable:
            yield shown_path(file), unreadable
    for option in sets:
        try:
            yield "--set", parse_set(option)
        except Unreadable as unreadable:
            yield "--set", unreadable
    if rules:
        yield "--rules", {"rules": {"paths": list(rules)}}


def _files(path: Path) -> list[Path]:
    scores = path.parent / "scores.toml"
    local = sorted((path.parent / "local.d").glob("*.toml"))
    return [scores, path, *local] if scores.is_file() else [path, *local]


def _each(fault: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    """The mistakes that one validator has found."""
    error = fault.get("ctx", {}).get("error")
    if not isinstance(error, Faults):
        return [fault]
    return [{**fault, "ctx": {"error": text}} for text in error.texts]


def _problem(fault: Mapping[str, Any], tree: Table, origins: Mapping[str, str]) -> Problem:
    path, value = _located(fault["loc"], tree)
    origin = next((origins[key] for end in range(len(path), 0, -1) if (key := dotted(path[:end])) in origins), "")
    name = str(path[-1])
    # In [redis] a table is the settings of one module, and anything else that is no key of it is a misspelt one.
    is_unknown = fault["type"] == "extra_forbidden" or (fault["type"] == "model_type" and path[0] == "redis" and len(path) == 2)
    known = keys_at(path[:-1]) if is_unknown else []
    near = get_close_matches(name, known, n=1)
    # A table is not repeated: its key is what is wrong, and it may be long. A misspelt secret is a secret.
    shown = "" if fault["type"] == "missing" or isinstance(value, dict) else toml_text(value, key=near[0] if near else name)
    if is_unknown:
        place = f"[{dotted(path[:-1])}] has" if len(path) > 1 else "there are"
        advice = f'did you mean "{near[0]}"?' if near else f"{place} {', '.join(known)}"
        text = f"unknown key (value {shown}); {advice}" if shown else f"unknown key; {advice}"
    else:
        text = f"{shown} {_sentence(fault, path)}".lstrip()
    return Problem(origin, dotted(path), shown, text)


def _located(path: tuple[str | int, ...], tree: Table) -> tuple[tuple[str | int, ...], Any]:
    """The value at the path, and the path as written: one value stands for a list of one, so there may be no index to it."""
    value: Any = tree
    for depth, step in enumerate(path):
        if isinstance(step, int) and not isinstance(value, list):
            return path[:depth], value
        value = value.get(step) if isinstance(value, dict) else value[step]
    return path, value


def _sentence(fault: Mapping[str, Any], path: tuple[str | int, ...]) -> str:
    kind = fault["type"]
    if kind == "missing":
        return "is missing"
    if kind == "too_short":
        return "is empty"
    if kind == "value_error":
        return str(fault["ctx"]["error"])
    if kind == "literal_error":
        return "is not " + str(fault["ctx"]["expected"]).replace("'", '"')
    if kind in _WANTED:
        entry = f", as every entry of [{path[0]}] is" if _WANTED[kind] == "a table" and len(path) == 2 else ""
        return f"is not {_WANTED[kind]}{entry}"
    return str(fault["msg"]).replace("Input should", "should")
