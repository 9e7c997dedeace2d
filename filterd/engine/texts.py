"""The files a configuration and its rules consist of, kept as they were at one moment.

A worker that is started again an hour later must be the same worker, whatever has been edited meanwhile: so what is read from
disk is kept, and read from there the next time.

Promises:

* `Texts()` reads from disk and keeps what it has read; `Texts.kept(packed)` gives that again, and looks at no file.
* A rule file is compiled under its own path, so that a traceback shows the user's line.
* What lies beside the rule files can be imported by them from the kept texts too, but for what is no Python source.
"""

import json
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from importlib.abc import MetaPathFinder
from importlib.machinery import ModuleSpec, PathFinder, SourceFileLoader
from importlib.util import spec_from_file_location
from pathlib import Path
from types import ModuleType

__all__ = ["MOST_BESIDE", "Texts"]

MOST_BESIDE = 2000
"""Source files beside the rules that are kept, of each folder. What comes after that is imported from disk."""

_LEFT_OUT = frozenset({"__pycache__", "node_modules", "site-packages"})


class Texts:
    """Files by their path, and listings of folders by theirs."""

    def __init__(self) -> None:
        self._files: dict[str, bytes] = {}
        self._listings: dict[str, list[str]] = {}
        self.is_kept = False

    @classmethod
    def kept(cls, packed: bytes) -> "Texts":
        """What `pack` has packed. Raises ValueError."""
        texts = cls()
        found = json.loads(packed)
        texts._files = {path: text.encode("utf-8", "surrogateescape") for path, text in found["files"].items()}
        texts._listings = found["listings"]
        texts.is_kept = True
        return texts

    def pack(self) -> bytes:
        files = {path: text.decode("utf-8", "surrogateescape") for path, text in self._files.items()}
        return json.dumps({"files": files, "listings": self._listings}).encode()

    def read(self, path: Path) -> bytes:
        """The bytes of a file. Raises OSError."""
        name = str(path)
        if self.is_kept:
            if name not in self._files:
                raise FileNotFoundError(2, "is not among the files that were kept", name)
            return self._files[name]
        self._files[name] = text = path.read_bytes()
        return text

    def listing(self, name: str, find: Callable[[], Iterable[Path]]) -> list[Path]:
        """The paths that `find` finds on disk, kept under a name of the caller's choice."""
        if self.is_kept:
            return [Path(path) for path in self._listings.get(name, ())]
        found = list(find())
        self._listings[name] = [str(path) for path in found]
        return found

    def keep_beside(self, folder: Path) -> None:
        """Keep the Python sources in and below a folder; those that cannot be read are left to whoever imports them."""
        for count, file in enumerate(_sources(folder)):
            if count == MOST_BESIDE:
                return
            try:
                self.read(file)
            except OSError:
                continue

    def loader(self, name: str, path: Path) -> "_Loader":
        """What makes a module of a kept file."""
        return _Loader(name, str(path), self)

    @contextmanager
    def importable(self, folder: Path) -> Iterator[None]:
        """Let what is imported meanwhile find the kept sources of a folder: after what is built in or installed, and before
        what lies there now.
        """
        finder = _Finder(self, folder)
        sys.meta_path.insert(0, finder)
        try:
            yield
        finally:
            sys.meta_path.remove(finder)

    def has(self, path: Path) -> bool:
        return str(path) in self._files


class _Loader(SourceFileLoader):
    """Compiles what was kept, and neither reads nor writes a cache of compiled code."""

    def __init__(self, name: str, path: str, texts: Texts) -> None:
        super().__init__(name, path)
        self._texts = texts

    def get_data(self, path: str) -> bytes:
        return self._texts.read(Path(path))

    def path_stats(self, path: str) -> dict[str, float]:
        raise OSError("kept texts have no age")


class _Finder(MetaPathFinder):
    """Asked before the others: for a module of a kept package it knows the answer, for anything else the others go first."""

    def __init__(self, texts: Texts, folder: Path) -> None:
        self._texts = texts
        self._folder = folder

    def find_spec(self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None) -> ModuleSpec | None:
        if path is not None:
            return self._kept(fullname, path)
        for other in sys.meta_path:
            if not isinstance(other, _Finder) and (spec := other.find_spec(fullname, None, target)) is not None:
                return spec
        return self._kept(fullname, [str(self._folder)]) or PathFinder.find_spec(fullname, [str(self._folder)], target)

    def _kept(self, fullname: str, path: Iterable[str]) -> ModuleSpec | None:
        name = fullname.rpartition(".")[2]
        for folder in map(Path, path):
            for file, inside in ((folder / name / "__init__.py", [str(folder / name)]), (folder / f"{name}.py", None)):
                if self._texts.has(file):
                    return spec_from_file_location(
                        fullname, file, loader=self._texts.loader(fullname, file), submodule_search_locations=inside
                    )
        return None


def _sources(folder: Path) -> Iterator[Path]:
    try:
        inside = sorted(folder.iterdir())
    except OSError:
        return
    for entry in inside:
        if entry.suffix == ".py" and entry.is_file():
            yield entry
        elif entry.is_dir() and not entry.is_symlink() and entry.name not in _LEFT_OUT and not entry.name.startswith("."):
            yield from _sources(entry)
