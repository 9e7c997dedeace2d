"""`filterd rules`: what is loaded, and what each rule counts with this configuration."""

from collections.abc import Sequence
from pathlib import Path

import click

from filterd.cli.options import configuration, configured, loaded

__all__ = ["rules"]


@click.command()
@configured
def rules(conf: str | None, rules: Sequence[str], sets: Sequence[str]) -> None:
    """List the rules and actions that are loaded.

    The score is the one in effect, whether the rule or the configuration says so. Actions have stages where rules have groups.
    """
    from filterd.cli.table import console, grid, plain
    from filterd.daemon.assembly import scoring
    from filterd.daemon.origins import shown_path
    from filterd.engine.actions import collect_actions

    config = configuration(conf, rules, sets)
    rule_files = loaded(config)
    found = rule_files.registry.rules.values()
    scores = scoring(config, found).symbols
    table = grid("name", "type", ">score", "group", "file", "flags")
    for rule in found:
        setting = scores[rule.name]
        place = f"{shown_path(Path(rule.file))}:{rule.line}"
        cells = (rule.name, rule.type, f"{setting.score:.2f}", " ".join(setting.groups), place, " ".join(sorted(rule.flags)))
        table.add_row(*map(plain, cells))
    for one in collect_actions(rule_files.modules)[0].values():
        place = f"{shown_path(Path(one.file))}:{one.line}"
        table.add_row(*map(plain, (one.name, one.kind, "", " ".join(sorted(one.stages)), place, "")))
    console().print(table)
