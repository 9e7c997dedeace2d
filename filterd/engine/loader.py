"""Finding rule files, importing them, and telling every error at once from the user's own line on.

Promises:

* Each `*.py` file of a rules folder is one module of its own; names beginning with `_`, `test_` or a dot and sub-folders are
  left alone, so that shared code and tests can lie beside the rules.
* While the files of a folder are imported, they can import what lies beside them; each folder sees its own, even if another
  has files of the same names. `sys.path` is as before afterwards.
* A broken file does not hide the next one: `LoadError` has a report for each, with the traceback beginning at the user's line.
"""

import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from difflib import get_close_matches
from fnmatch import fnmatchcase
from importlib.util import module_from_spec, spec_from_file_location
from itertools import count
from pathlib import Path
from types import ModuleType
from typing import Any

from filterd.engine.actions import ACTIONS
from filterd.engine.hooks import HOOKS
from filterd.engine.registry import MARKS, RegistrationError, Registry, Rule
from filterd.engine.rule_files import NOT_RULES, Problem, keep_rules, rule_files
from filterd.engine.texts import Texts
from filterd.engine.tracebacks import innermost_line, story, summary
from filterd.engine.words import WORDS
from filterd.net.no_wait import no_wait, told_wait
from filterd.task import has_loaded, loading_modules

__all__ = ["LoadError", "Problem", "Rules", "load_rules"]

_PACKAGE = "filterd_rules"


class LoadError(Exception):
    """One or more rule files cannot be used."""

    def __init__(self, problems: Sequence[Problem]) -> None:
        super().__init__("\n".join(map(str, problems)))
        self.problems = tuple(problems)


@dataclass(frozen=True, slots=True)
class Rules:
    """What was loaded: the registry, the paths of the rule files, their modules, and the paths of what lies beside them and
    was imported from there.
    """

    registry: Registry
    files: frozenset[str]
    modules: tuple[ModuleType, ...] = ()
    shared: frozenset[str] = frozenset()

    @property
    def code(self) -> frozenset[str]:
        """The paths by which the user's own lines are told from everybody else's."""
        return self.files | self.shared


def load_rules(
    folders: Iterable[Path | str],
    *,
    enable: Sequence[str] = ("*",),
    disable: Sequence[str] = (),
    modules: Mapping[str, Mapping[str, Any]] | None = None,
    texts: Texts | None = None,
) -> Rules:
    """Load every rule file of the folders (a single file may be named too).

    `enable` and `disable` are patterns for the names of rules and of rule files (without `.py`); a disabled file is not even
    imported, and a virtual symbol goes with its rule. `modules` are the `[modules.*]` tables of the configuration. With `texts`
    that were kept the files are what they were then. Raises LoadError.
    """
    paths = [Path(folder) for folder in folders]
    if texts is None:
        # Read by ourselves all the same: Python's own cache takes a file that was changed twice in a second for unchanged.
        texts = Texts()
        keep_rules(paths, texts)
    registry = Registry()
    problems: list[Problem] = []
    found: dict[Path, None] = {}
    for path in paths:
        files, wrong = rule_files(path, texts)
        found.update(dict.fromkeys(files))
        problems += wrong
    unseen = [file for file in found if _matches(file.stem, disable)]
    loaded = _modules_of([file for file in found if file not in unseen], texts)
    shared: list[ModuleType] = []
    token = loading_modules.set(modules or {})
    try:
        for folder in dict.fromkeys(file.parent for file in loaded):
            with _siblings_of(folder, shared, texts):
                for file in (file for file in loaded if file.parent == folder):
                    wrong = load_file(loaded[file], file, registry)
                    problems += wrong
                    unseen += [file] if wrong else []
    finally:
        loading_modules.reset(token)
    for module in shared:
        has_loaded(vars(module))
    problems += [problem for module in shared for problem in _strays(module)]
    unseen_texts = [_text_of(file, texts) for file in unseen]
    problems += _unknown_names(registry, [file.stem for file in found], unseen_texts, enable=enable, disable=disable)
    if problems:
        raise LoadError(problems)
    _drop_unwanted(registry.rules, enable, disable)
    return Rules(
        registry, frozenset(map(str, loaded)), tuple(loaded.values()), frozenset(str(module.__file__) for module in shared)
    )


def _modules_of(files: Iterable[Path], texts: Texts) -> dict[Path, ModuleType]:
    """A module for each file, not yet executed, with a name of its own even where files of two folders have the same."""
    modules: dict[Path, ModuleType] = {}
    taken: set[str] = set()
    # What is pickled is looked up by way of the package.
    sys.modules.setdefault(_PACKAGE, ModuleType(_PACKAGE, "The modules of rule files."))
    for file in files:
        name = next(name for name in (f"{file.stem}_{n}" if n > 1 else file.stem for n in count(1)) if name not in taken)
        taken.add(name)
        full = f"{_PACKAGE}.{name}"
        spec = spec_from_file_location(full, file, loader=texts.loader(full, file))
        assert spec is not None  # it is None only for names that do not end with .py
        modules[file] = module_from_spec(spec)
    return modules


def load_file(module: ModuleType, file: Path, registry: Registry) -> list[Problem]:
    """Import one file and collect its marks; the problems found, none if it is well."""
    sys.modules[module.__name__] = module
    marks: list[Rule | RegistrationError] = []
    setattr(module, MARKS, marks)
    problems: list[Problem] = []
    register = None
    try:
        assert module.__spec__ is not None
        assert module.__spec__.loader is not None
        with no_wait(lambda: f"while rule files are loaded nothing waits, and {told_wait()}: do it in an @on_load function"):
            module.__spec__.loader.exec_module(module)
            register = getattr(module, "register", None)
            if callable(register):
                register(registry)
    except (Exception, SystemExit) as error:  # noqa: BLE001 - a rule file may raise anything, and the next one is loaded
        problems.append(problem_of(error, file))
    has_loaded(vars(module))
    for mark in marks:
        try:
            if isinstance(mark, RegistrationError):
                raise mark
            registry.add(mark)
        except RegistrationError as error:
            problems.append(Problem(mark.place, str(error)))
    has_more = callable(register) or any(hasattr(module, kept) for kept in (HOOKS, WORDS, ACTIONS))
    if not problems and not marks and not has_more:
        text = "no rule in it: no @rule, register_symbol(), @action, hook or def register(registry)"
        problems.append(Problem(str(file), text))
    return problems


def problem_of(error: BaseException, file: Path) -> Problem:
    """What a person should read of an exception raised while `file` was imported."""
    files = {str(file)}
    where = innermost_line(error, files) or str(file)
    if isinstance(error, RegistrationError):
        return Problem(where, str(error))
    if isinstance(error, SyntaxError) and error.filename == str(file):
        return Problem(f"{file}:{error.lineno or 1}", f"{type(error).__name__}: {error.msg}", story(error, files))
    return Problem(where, summary(error), story(error, files))


@contextmanager
def _siblings_of(folder: Path, shared: list[ModuleType], texts: Texts) -> Iterator[None]:
    """Let what is imported meanwhile import from the folder, and take what was out of `sys.modules` into `shared` afterwards:
    the next folder has its own.

    Last on the path, because a rule file may be called `redis.py` or `email.py`, and others mean something else by that.
    """
    path, modules = sys.path[:], set(sys.modules)
    try:
        with texts.importable(folder):
            yield
    finally:
        sys.path[:] = path
        # The listing of the folder that the import system keeps may be out of date the next time.
        sys.path_importer_cache.pop(str(folder), None)
        shared += [
            sys.modules.pop(name) for name in [name for name in sys.modules if name not in modules and _lies_in(folder, name)]
        ]


def _lies_in(folder: Path, name: str) -> bool:
    top = sys.modules.get(name.partition(".")[0])
    places = [*getattr(top, "__path__", ()), getattr(top, "__file__", None)]
    return any(Path(place).parent == folder for place in places if place)


def _strays(module: ModuleType) -> list[Problem]:
    """Rules that would be lost without a word. Another rule file is imported for itself too."""
    if not module.__name__.startswith(NOT_RULES):
        return []
    lost = [(one.place, one.name) for one in getattr(module, MARKS, ())]
    lost += [(one.place, one.title) for one in getattr(module, HOOKS, ())]
    lost += [(one.place, one.name) for kept in (WORDS, ACTIONS) for one in getattr(module, kept, ())]
    return [
        Problem(place, f"{name} would never run: files whose names begin with _ or test_ are not loaded as rule files")
        for place, name in lost
    ]


def _unknown_names(
    registry: Registry, stems: Sequence[str], texts: Sequence[str], *, enable: Sequence[str], disable: Sequence[str]
) -> Iterator[Problem]:
    # A name that stands in a file which was not loaded may well be a rule of it: `texts` are those files.
    for one in registry.orphans():
        if not any(str(one.parent) in text for text in texts):
            yield Problem(one.place, f"virtual symbol {one.name!r} has the parent {one.parent!r}, which is no rule")
    known = [*stems, *registry.rules]
    for key, patterns in (("rules.enable", enable), ("rules.disable", disable)):
        for pattern in patterns:
            if any(c in pattern for c in "*?[") or pattern in known or any(pattern in text for text in texts):
                continue
            near = get_close_matches(pattern, known, 1)
            advice = f"; did you mean {near[0]!r}?" if near else ""
            yield Problem(key, f"no rule or rule file is called {pattern!r}{advice}")


def _text_of(file: Path, texts: Texts) -> str:
    try:
        return texts.read(file).decode(errors="replace")
    except OSError:
        return ""


def _drop_unwanted(rules: dict[str, Rule], enable: Sequence[str], disable: Sequence[str]) -> None:
    symbols: dict[str, list[str]] = {}
    for one in rules.values():
        if one.parent is not None:
            symbols.setdefault(one.parent, []).append(one.name)
    wanted = set()
    for one in rules.values():
        names = [one.name, Path(one.file).stem]
        is_asked_for = any(_matches(name, enable) for name in [*names, *symbols.get(one.name, ())])
        if is_asked_for and not any(_matches(name, disable) for name in names):
            wanted.add(one.name)
    for one in list(rules.values()):
        needed = one.name if one.parent is None else one.parent
        if needed not in wanted or _matches(one.name, disable):
            del rules[one.name]


def _matches(name: str, patterns: Iterable[str]) -> bool:
    return any(fnmatchcase(name, pattern) for pattern in patterns)
