"""`filterd check`: would the daemon start?

Promises: exit code 0 means that configuration and rules are well; 2 comes with every mistake as file:line or key.
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING

import click

from filterd.cli.options import configuration, configured, loaded

if TYPE_CHECKING:
    from filterd.daemon.config import Config
    from filterd.engine.loader import Rules

__all__ = ["check", "summary"]


@click.command()
@configured
@click.option("--show-origin", is_flag=True, help="Print every setting in effect and the file or option it comes from.")
def check(conf: str | None, rules: Sequence[str], sets: Sequence[str], show_origin: bool) -> None:
    """Check configuration and rules."""
    config = configuration(conf, rules, sets)
    if show_origin:
        from filterd.daemon.keys import settings

        for setting in settings(config):
            click.echo(str(setting))
    click.echo(summary(config, loaded(config)))


def summary(config: "Config", rules: "Rules") -> str:
    """What there is, in one line; virtual symbols are no rules of their own."""
    count = sum(rule.type != "virtual" for rule in rules.registry.rules.values())
    return f"{_number(count, 'rule')} from {_number(len(rules.files), 'file')}, {_number(len(config.listen), 'listener')}"


def _number(count: int, noun: str) -> str:
    return f"{count} {noun}" if count == 1 else f"{count} {noun}s"
