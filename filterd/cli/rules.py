"""`filterd rules`: what is loaded, and what each rule counts with this configuration."""

from collections.abc import Sequence
from pathlib import Path

import click

from filterd.cli.options import configuration, configured, loaded

__all__ = ["rules"]


@click.command()
@configured
def rules(conf: str | None, rules: Sequence[str], sets: Sequence[str]) -> None:
    """List the rules that are loaded.

    The score is the one in effect, whether the rule or the configuration says so.
    """
    from filterd.cli.table import console, grid, plain
    from filterd.daemon.assembly import scoring
    from filterd.daemon.origins import shown_path

    config = configuration(conf, rules, sets)
    found = loaded(config).registry.rules.values()
    scores = scoring(config, found).symbols
    table = grid("name", "type", ">score", "group", "file", "flags")
    for rule in found:
        setting = scores[rule.name]
        place = f"{shown_path(Path(rule.file))}:{rule.line}"
        cells = (rule.name, rule.type, f"{setting.score:.2f}", " ".join(setting.groups), place, " ".join(sorted(rule.flags)))
        table.add_row(*map(plain, cells))
    console().print(table)
