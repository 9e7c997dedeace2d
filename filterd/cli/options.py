"""The options by which every command finds its configuration, and the configuration they lead to.

Promises: all that is wrong is printed, one line for each mistake, and the command ends with exit code 2.
"""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from filterd.cli.exits import refuse

if TYPE_CHECKING:
    from filterd.daemon.config import Config
    from filterd.engine.loader import Rules

__all__ = ["configuration", "configured", "loaded", "path_of"]

Command = TypeVar("Command", bound=Callable[..., Any])

# From the last to the first, as decorators are applied: in the help they stand in reading order.
_OPTIONS = (
    click.option("--set", "sets", multiple=True, metavar="KEY=VALUE", help="One setting, over all files. Repeatable."),
    click.option("--rules", "rules", multiple=True, metavar="DIR", help="Rules from here instead of rules.paths. Repeatable."),
    click.option("-c", "--config", "conf", metavar="CONF", help="The configuration file.  [default: conf/filterd.toml]"),
)


def configured(command: Command) -> Command:
    """Give a command the options -c, --rules and --set, as its arguments `conf`, `rules` and `sets`."""
    for option in _OPTIONS:
        command = option(command)
    return command


def path_of(conf: str | None) -> Path:
    """The file that `-c` names, or the one that is used without it; nothing is read."""
    from filterd.daemon.origins import default_config_path

    return default_config_path() if conf is None else Path(conf)


def configuration(conf: str | None, rules: Sequence[str], sets: Sequence[str]) -> "Config":
    """The configuration these options mean; where it cannot be used, the mistakes are printed and the process ends."""
    from filterd.daemon.config import ConfigError, default_config_path, load_config

    try:
        return load_config(conf or default_config_path(), sets=sets, rules=rules)
    except ConfigError as error:
        refuse([*error.problems, "the rules were not looked at: they need the configuration"])


def loaded(config: "Config") -> "Rules":
    """The rules of a configuration; where one is broken, all that is wrong is printed and the process ends."""
    from filterd.daemon.assembly import load
    from filterd.engine.loader import LoadError

    try:
        return load(config)
    except LoadError as error:
        refuse(error.problems)
