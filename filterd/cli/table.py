"""What `filterd scan` and `filterd rules` show a person.

Promises:

* What comes from a message or a rule is shown as text and nothing else: no control character of it reaches the terminal.
* On a terminal tables fit its width; in a pipe a line is never cut or broken.
* What is not known (a daemon does not say in which file its rules are) has no column.
"""

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console, Group, RenderableType
from rich.table import Table
from rich.text import Text

from filterd.engine.registry import Rule
from filterd.mail.verdict import Hit, Verdict

__all__ = ["Report", "console", "grid", "plain"]

_BAR = 40
"""Characters of the longest bar of a trace."""

_PIPE_WIDTH = 100_000
_COLOURS = {"reject": "red", "soft reject": "magenta", "rewrite subject": "yellow", "add header": "yellow", "greylist": "cyan"}


def console() -> Console:
    """The standard output; colours and the width of the screen only where it is a terminal."""
    screen = Console(highlight=False, emoji=False, markup=False)
    return screen if screen.is_terminal else Console(highlight=False, emoji=False, markup=False, width=_PIPE_WIDTH)


def grid(*columns: str, indent: int = 0) -> Table:
    """A table without lines. A column whose name begins with `>` is one of numbers, `~` one whose text may be folded."""
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="bold")
    for place, name in enumerate(columns):
        table.add_column(
            " " * (indent if place == 0 else 0) + name.lstrip(">~"),
            justify="right" if name.startswith(">") else "left",
            no_wrap=not name.startswith("~"),
            overflow="fold" if name.startswith("~") else "ellipsis",
        )
    return table


def plain(text: object, style: str = "") -> Text:
    """Text to show, with a `?` for every character that would do something to a terminal."""
    shown = str(text)
    return Text(shown if shown.isprintable() else "".join(c if c.isprintable() else "?" for c in shown), style)


@dataclass(frozen=True, slots=True)
class Report:
    """How verdicts are shown: with the file and line of each rule where `rules` are known, explained, with times as bars."""

    rules: Mapping[str, Rule]
    explain: bool = False
    trace: bool = False

    def show(self, name: str, verdict: Verdict) -> RenderableType:
        """Everything about one message."""
        lines: list[RenderableType] = [plain(name, "bold")]
        if verdict.symbols:
            lines.append(self._symbols(verdict))
        lines.append(_judgement(verdict))
        lines += [plain(f"  {category}: {' '.join(text.split())}") for category, text in verdict.messages.items()]
        for failure in verdict.failures:
            lines.append(plain(f"  FAILED {' '.join(str(failure).split())}", "red"))
            if self.explain:
                lines += [plain(f"    {line}") for line in failure.traceback.splitlines()]
        if self.explain:
            lines += self._explanation(verdict)
        if self.trace:
            lines.append(_bars(verdict.timings))
        return Group(*lines, Text())

    def _symbols(self, verdict: Verdict) -> Table:
        columns = ["symbol", ">score", "~options"]
        known = bool(self.rules)
        columns += [">counts", *["group"] * known, "~description"] * self.explain + ["rule"] * known + [">ms"]
        table = grid(*columns, indent=2)
        for hit in sorted(verdict.symbols.values(), key=lambda hit: (-hit.score, hit.name)):
            cells = [f"  {hit.name}", f"{hit.score:.2f}", ", ".join(hit.options)]
            if self.explain:
                groups = [" ".join(hit.groups)] * known
                cells += [f"{hit.metric_score:g} × {hit.weight:g}", *groups, hit.description or ""]
            if known:
                cells.append(self._place(hit))
            seconds = verdict.timings.get(hit.name)
            cells.append("" if seconds is None else f"{seconds * 1000:.2f}")
            table.add_row(*map(plain, cells))
        return table

    def _place(self, hit: Hit) -> str:
        rule = self.rules.get(hit.name)
        if rule is None:
            return ""
        # A file that is not below the working directory would fill the line with where it is: `filterd rules` tells.
        file = Path(rule.file)
        shown = file.relative_to(Path.cwd()) if file.is_relative_to(Path.cwd()) else Path(file.name)
        return f"{shown}:{rule.line}"

    def _explanation(self, verdict: Verdict) -> Iterator[Text]:
        thresholds = ", ".join(f"{action} {score:g}" for action, score in verdict.thresholds.items())
        yield plain(f"  thresholds: {thresholds or 'none'}")
        # A rule that inserts the symbols of others has hit with them.
        hit = {self.rules[name].parent or name if name in self.rules else name for name in verdict.symbols}
        failed = {failure.rule for failure in verdict.failures}
        # A daemon does not name the rules that failed apart from the others.
        yield _listed(
            "without a hit" if self.rules else "also ran", [name for name in verdict.timings if name not in hit | failed]
        )
        ran = failed | set(verdict.timings)
        idle = [rule.name for rule in self.rules.values() if rule.type != "virtual" and rule.name not in ran]
        if idle:
            yield _listed("not run", idle)


def _listed(title: str, names: Collection[str]) -> Text:
    return plain(f"  {title}: {', '.join(names) or 'none'}")


def _judgement(verdict: Verdict) -> Text:
    required = "none" if verdict.required_score is None else f"{verdict.required_score:.2f}"
    line = Text("  ").append_text(plain(verdict.action, f"bold {_COLOURS.get(verdict.action, 'green')}"))
    line.append(f" {verdict.score:.2f} / {required} in {verdict.seconds * 1000:.1f} ms")
    if verdict.timed_out:
        line.append(", cut off by the task timeout", "red")
    return line


def _bars(timings: Mapping[str, float]) -> Table:
    table = grid("time", ">ms", "", indent=2)
    longest = max(timings.values(), default=0.0)
    for name, seconds in sorted(timings.items(), key=lambda item: -item[1]):
        bar = "█" * round(_BAR * seconds / longest) if longest else ""
        table.add_row(plain(f"  {name}"), Text(f"{seconds * 1000:.2f}"), Text(bar, "cyan"))
    return table
