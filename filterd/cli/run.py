"""`filterd run`: the daemon in the foreground.

Promises: a configuration, a rule or an address that cannot be used ends it with exit code 2 before any mail is accepted.
"""

import sys
from collections.abc import Sequence

import click

from filterd.cli.check import summary
from filterd.cli.exits import refuse
from filterd.cli.options import configuration, configured, loaded, path_of

__all__ = ["run"]


@click.command()
@configured
@click.option(
    "--workers", type=click.IntRange(min=1), metavar="N", help="How many processes; the same as --set workers.count=N."
)
@click.option("--check-only", is_flag=True, help="End when configuration and rules are found to be well.")
def run(conf: str | None, rules: Sequence[str], sets: Sequence[str], workers: int | None, check_only: bool) -> None:
    """Run the daemon in the foreground.

    It ends in good order at TERM or Ctrl-C: what is under way is answered first. HUP reloads, USR1 opens the log file again.
    """
    if workers is not None:
        sets = [*sets, f"workers.count={workers}"]
    if check_only:
        config = configuration(conf, rules, sets)
        if not config.listen:
            refuse(["listen: there is no listener, so nobody could bring a message"])
        click.echo(summary(config, loaded(config)))
        return

    from filterd.daemon.attempt import Options
    from filterd.daemon.supervisor import Supervisor

    sys.exit(Supervisor(Options(conf, tuple(rules), tuple(sets)), path_of(conf)).run())
