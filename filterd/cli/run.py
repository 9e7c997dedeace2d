"""`filterd run`: the daemon in the foreground.

Promises: a configuration, a rule or an address that cannot be used ends it with exit code 2 before any mail is accepted.
"""

from collections.abc import Sequence

import click

from filterd.cli.check import summary
from filterd.cli.exits import refuse
from filterd.cli.options import configuration, configured, loaded

__all__ = ["run"]


@click.command()
@configured
@click.option(
    "--workers", type=click.IntRange(min=1), metavar="N", help="How many processes; the same as --set workers.count=N."
)
@click.option("--check-only", is_flag=True, help="End when configuration and rules are found to be well.")
def run(conf: str | None, rules: Sequence[str], sets: Sequence[str], workers: int | None, check_only: bool) -> None:
    """Run the daemon in the foreground.

    It ends in good order at TERM or Ctrl-C: what is under way is answered first.
    """
    if workers is not None:
        sets = [*sets, f"workers.count={workers}"]
    config = configuration(conf, rules, sets)
    if not config.listen:
        refuse(["listen: there is no listener, so nobody could bring a message"])
    if check_only:
        click.echo(summary(config, loaded(config)))
        return

    from filterd.daemon.worker import Worker
    from filterd.engine.loader import LoadError
    from filterd.net.listen import BindError

    worker = Worker(config)
    try:
        worker.start()
    except LoadError as error:
        refuse(error.problems)
    except BindError as error:
        refuse((error.strerror or "").splitlines())
    except OSError as error:
        refuse([f"cannot start: {error}"])  # the log's file, say
    worker.run()
