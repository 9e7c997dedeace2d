"""Which files of a folder are rule files, and reading them without running any: the scout needs nothing else of the engine."""

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from filterd.engine.texts import Texts

__all__ = ["NOT_RULES", "Problem", "keep_rules", "rule_files"]

NOT_RULES = ("_", "test_", ".")
"""How the names of files begin that lie beside the rules."""


@dataclass(frozen=True, slots=True)
class Problem:
    """One thing wrong with a rule file: where (`file` or `file:line`), what, and the traceback from the user's frame on."""

    where: str
    text: str
    traceback: str = ""

    def __str__(self) -> str:
        return f"{self.where}: {self.text}" + (f"\n{self.traceback}" if self.traceback else "")


def keep_rules(folders: Iterable[Path | str], texts: Texts) -> list[Problem]:
    """Read into `texts` all that `load_rules` would, without running any of it; what cannot be read is told."""
    problems: list[Problem] = []
    for folder in folders:
        files, wrong = rule_files(Path(folder), texts)
        problems += wrong
        for file in files:
            try:
                texts.read(file)
            except OSError as error:
                problems.append(Problem(str(file), f"this rule file cannot be read: {error.strerror}"))
        for beside in dict.fromkeys(file.parent for file in files):
            texts.keep_beside(beside)
    return problems


def rule_files(folder: Path, texts: Texts) -> tuple[list[Path], list[Problem]]:
    """The rule files of a folder, sorted by name, or the one file that is named."""
    problems: list[Problem] = []

    def find() -> list[Path]:
        files, wrong = _rule_files(folder)
        problems.extend(wrong)
        return files

    return texts.listing(f"rules {folder}", find), problems


def _rule_files(folder: Path) -> tuple[list[Path], list[Problem]]:
    if folder.is_file():
        if folder.suffix != ".py":
            return [], [Problem(str(folder), "the name of a rule file ends with .py")]
        return [folder.resolve()], []
    try:
        inside = sorted(folder.iterdir())
    except FileNotFoundError:
        return [], [Problem(str(folder), "this rules folder does not exist")]
    except OSError as error:
        return [], [Problem(str(folder), f"this rules folder cannot be read: {error.strerror}")]
    return [
        file.resolve() for file in inside if file.suffix == ".py" and not file.name.startswith(NOT_RULES) and not file.is_dir()
    ], []
