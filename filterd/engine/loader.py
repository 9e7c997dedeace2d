"""Finding rule files, importing them, and telling every error at once from the user's own line on.

Promises:

* Each `*.py` file of a rules folder is one module of its own; names beginning with `_` or `test_` and sub-folders are left
  alone, so that shared code and tests can lie beside the rules.
* While a file is imported its folder can be imported from; `sys.path` is as before afterwards.
* A broken file does not hide the next one: `LoadError` has a report for each, with the traceback beginning at the user's line.
"""

import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from difflib import get_close_matches
from fnmatch import fnmatchcase
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from traceback import FrameSummary, StackSummary, extract_tb, format_exception_only
from types import ModuleType, TracebackType
from typing import Any

from filterd.engine.registry import MARKS, RegistrationError, Registry
from filterd.task import loading_modules

__all__ = ["LoadError", "Problem", "Rules", "load_rules", "user_frames"]

_PACKAGE = str(Path(__file__).resolve().parent.parent) + "/"
_PREFIX = "filterd_rules."


@dataclass(frozen=True, slots=True)
class Problem:
    """One thing wrong with a rule file: where (`file` or `file:line`), what, and the traceback from the user's frame on."""

    where: str
    text: str
    traceback: str = ""

    def __str__(self) -> str:
        return f"{self.where}: {self.text}" + (f"\n{self.traceback}" if self.traceback else "")


class LoadError(Exception):
    """One or more rule files cannot be used."""

    def __init__(self, problems: Sequence[Problem]) -> None:
        super().__init__("\n".join(map(str, problems)))
        self.problems = tuple(problems)


@dataclass(frozen=True, slots=True)
class Rules:
    """What was loaded: the registry, and the paths of the files, by which a rule's own lines are told from everybody else's."""

    registry: Registry
    files: frozenset[str]


def load_rules(
    folders: Iterable[Path | str],
    *,
    enable: Sequence[str] = ("*",),
    disable: Sequence[str] = (),
    modules: Mapping[str, Mapping[str, Any]] | None = None,
) -> Rules:
    """Load every rule file of the folders (a single file may be named too).

    `enable` and `disable` are patterns for the names of rules and of rule files (without `.py`); a disabled file is not even
    imported. `modules` are the `[modules.*]` tables of the configuration. Raises LoadError.
    """
    registry = Registry()
    problems: list[Problem] = []
    files: list[Path] = []
    for folder in folders:
        found, wrong = rule_files(Path(folder))
        files += found
        problems += wrong
    loaded = [file for file in files if not _matches(file.stem, disable)]
    token = loading_modules.set(modules or {})
    try:
        for file in loaded:
            problems += load_file(file, registry)
    finally:
        loading_modules.reset(token)
    problems += [
        Problem(one.place, f"virtual symbol {one.name!r} has the parent {one.parent!r}, which is no rule") for one in registry.orphans()
    ]
    known = [*(file.stem for file in files), *registry.rules]
    if not problems:
        # Only now: a file that could not be loaded may be where the name is.
        problems += [_unknown(pattern, known) for pattern in (*enable, *disable) if not _matches_any(pattern, known)]
    if problems:
        raise LoadError(problems)
    for one in list(registry.rules.values()):
        names = (one.name, Path(one.file).stem)
        if not any(_matches(name, enable) for name in names) or any(_matches(name, disable) for name in names):
            del registry.rules[one.name]
    return Rules(registry, frozenset(map(str, loaded)))


def _matches(name: str, patterns: Iterable[str]) -> bool:
    return any(fnmatchcase(name, pattern) for pattern in patterns)


def _matches_any(pattern: str, names: Iterable[str]) -> bool:
    return any(c in pattern for c in "*?[") or any(fnmatchcase(name, pattern) for name in names)


def _unknown(pattern: str, known: Sequence[str]) -> Problem:
    near = get_close_matches(pattern, known, 1)
    return Problem("rules.enable, rules.disable", f"no rule or rule file is called {pattern!r}" + (f"; did you mean {near[0]!r}?" if near else ""))


def rule_files(folder: Path) -> tuple[list[Path], list[Problem]]:
    """The rule files of a folder, sorted by name."""
    if folder.is_file():
        return [folder.resolve()], []
    if not folder.is_dir():
        return [], [Problem(str(folder), "this rules folder does not exist")]
    return [file.resolve() for file in sorted(folder.glob("*.py")) if not file.name.startswith(("_", "test_"))], []


def load_file(file: Path, registry: Registry) -> list[Problem]:
    """Import one file and collect its marks; the problems found, none if it is well."""
    name = _PREFIX + file.stem
    spec = spec_from_file_location(name, file)
    assert spec is not None and spec.loader is not None
    module = module_from_spec(spec)
    problems: list[Problem] = []
    with _importable(name, module, file.parent):
        try:
            spec.loader.exec_module(module)
            register = getattr(module, "register", None)
            marks = list(getattr(module, MARKS, ()))
            if callable(register):
                register(registry)
        except (Exception, SystemExit) as error:
            return [problem_of(error, file)]
    for mark in marks:
        try:
            registry.add(mark)
        except RegistrationError as error:
            problems.append(Problem(mark.place, str(error)))
    if not marks and not callable(register):
        problems.append(Problem(str(file), "no rule in it: no @rule, register_symbol() or def register(registry)"))
    return problems


@contextmanager
def _importable(name: str, module: ModuleType, folder: Path) -> Iterator[None]:
    sys.modules[name] = module
    sys.path.insert(0, str(folder))
    try:
        yield
    finally:
        sys.path.remove(str(folder))


def problem_of(error: BaseException, file: Path) -> Problem:
    """What a person should read of an exception raised while `file` was imported."""
    text = "".join(format_exception_only(error)).strip()
    if isinstance(error, SyntaxError) and error.filename == str(file):
        return Problem(f"{file}:{error.lineno}", f"{type(error).__name__}: {error.msg}", text)
    frames = user_frames(error.__traceback__, {str(file)})
    last = next((frame for frame in reversed(frames) if frame.filename == str(file)), None)
    where = f"{file}:{last.lineno}" if last else str(file)
    shown = str(error) if isinstance(error, RegistrationError) else text.splitlines()[-1]
    return Problem(where, shown, "" if isinstance(error, RegistrationError) else render(frames, error))


def user_frames(traceback: TracebackType | None, files: Iterable[str]) -> StackSummary:
    """The frames from the first one that lies in a rule file; all of them where none does."""
    files = frozenset(files)
    frames = extract_tb(traceback)
    for place, frame in enumerate(frames):
        if frame.filename in files:
            return StackSummary.from_list(list(frames)[place:])
    outside: list[FrameSummary] = [frame for frame in frames if not frame.filename.startswith(_PACKAGE)]
    return StackSummary.from_list(outside or list(frames))


def render(frames: StackSummary, error: BaseException) -> str:
    """A traceback as Python prints it, beginning at the given frames."""
    return "Traceback (most recent call last):\n" + "".join(frames.format()) + "".join(format_exception_only(error)).rstrip()
