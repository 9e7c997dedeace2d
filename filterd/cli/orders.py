"""`filterd reload`, `status` and `stop`: what a running daemon is told, over its supervisor's socket.

Promises:

* The daemon is found even if its configuration is broken just now: that is when one wants to know.
* Exit code 0 means done; 1 that the daemon could not do it, with its reasons; 2 that no daemon was found.
"""

import os
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, TypeVar

import click

from filterd.cli.exits import USAGE
from filterd.cli.options import path_of
from filterd.net.plain import Socket, ask_unix
from filterd.proto.json_lines import JsonLines, ProtocolError, render

__all__ = ["reload", "status", "stop"]

FAILED = 1

Command = TypeVar("Command", bound=Callable[..., Any])

_OPTIONS = (
    click.option("--set", "sets", multiple=True, metavar="KEY=VALUE", help="As it was given to `filterd run`."),
    click.option("--socket", "place", metavar="PATH", help="The supervisor's socket, if the configuration does not tell."),
    click.option(
        "-c", "--config", "conf", metavar="CONF", help="The daemon's configuration file.  [default: conf/filterd.toml]"
    ),
)


def _finding(command: Command) -> Command:
    for option in _OPTIONS:
        command = option(command)
    return command


@click.command()
@_finding
def reload(conf: str | None, place: str | None, sets: Sequence[str]) -> None:
    """Bring the changed configuration and rules into service.

    New workers are started beside the old ones, which end when the new ones serve; if anything is wrong, they stay.
    """
    answer = _ask(_connected(conf, place, sets), "reload")
    _refuse_if_failed(answer)
    click.echo(f"reloaded: generation {answer['status']['generation']}, {_workers(answer['status'])}")


@click.command()
@_finding
@click.option("--json", "as_json", is_flag=True, help="One JSON object.")
def status(conf: str | None, place: str | None, sets: Sequence[str], as_json: bool) -> None:
    """Show the workers of a running daemon."""
    answer = _ask(_connected(conf, place, sets), "status")
    if as_json:
        click.echo(render(answer), nl=False)
        return
    click.echo(f"filterd {answer['version']}, pid {answer['pid']}, {answer['state']} for {_duration(answer['age'])}")
    for listener in answer["listeners"]:
        click.echo(f"listen.{listener['name']}: {listener['protocol']} on {listener['address']}")
    click.echo(f"generation {answer['generation']}: {_workers(answer)}, {answer['restarts']} started again")
    last = answer["last_reload"]
    if last is not None:
        when = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(last["time"]))
        click.echo(f"last reload: {when}, {'failed' if last['problems'] else 'successful'}")
        for problem in last["problems"]:
            click.echo(f"  {problem}")
    click.echo("number     pid generation state          age    memory  messages under way")
    for worker in answer["workers"]:
        memory = "-" if worker["rss"] is None else f"{worker['rss'] / 2**20:.0f} MiB"
        once = "  runs hooks of scope=once" if worker["runs_once"] else ""
        click.echo(
            f"{worker['number']:>6} {worker['pid']:>7} {worker['generation']:>10} {worker['state']:<9}"
            f"{_duration(worker['age']):>8} {memory:>9} {worker['messages']:>9} {worker['under_way']:>9}{once}"
        )


@click.command()
@_finding
def stop(conf: str | None, place: str | None, sets: Sequence[str]) -> None:
    """End a running daemon, and wait until it has ended: what is under way is answered first."""
    sock = _connected(conf, place, sets)
    _refuse_if_failed(_ask(sock, "stop"))
    # The supervisor hangs up when everything else is done.
    while sock.recv(4096):
        pass
    click.echo("stopped")


def _connected(conf: str | None, place: str | None, sets: Sequence[str]) -> Socket:
    places = [place] if place is not None else _places(path_of(conf), sets)
    for one in places:
        try:
            sock = ask_unix(one)
            click.get_current_context().call_on_close(sock.close)
            return sock
        except FileNotFoundError:
            continue
        except OSError as error:
            click.echo(f"{one}: {error.strerror or error}", err=True)
            sys.exit(USAGE)
    click.echo(f"no filterd runs with {path_of(conf)}: there is no {' or '.join(places)}", err=True)
    sys.exit(USAGE)


def _places(conf: Path, sets: Sequence[str]) -> list[str]:
    from filterd.daemon.config import written_table
    from filterd.daemon.console import default_places
    from filterd.daemon.units import absolute

    section = written_table(conf, sets).get("supervisor")
    written = section.get("socket") if isinstance(section, dict) else None
    return [str(absolute(written))] if isinstance(written, str) and written else [str(one) for one in default_places(conf)]


def _ask(sock: Socket, order: str) -> dict[str, Any]:
    channel = JsonLines()
    try:
        sock.send(render({"do": order}))
        while True:
            for answer in channel.feed(sock.recv(65536)):
                return answer
            if channel.closed:
                click.echo(
                    f"filterd did not answer (it answers root and the user it runs as; you are {os.geteuid()})", err=True
                )
                sys.exit(FAILED)
    except (OSError, ProtocolError) as error:
        click.echo(f"filterd did not answer: {error}", err=True)
        sys.exit(FAILED)


def _refuse_if_failed(answer: dict[str, Any]) -> None:
    for problem in answer["problems"]:
        click.echo(problem, err=True)
    if answer["problems"]:
        sys.exit(FAILED)


def _workers(status: dict[str, Any]) -> str:
    serving = sum(one["state"] == "serving" and one["generation"] == status["generation"] for one in status["workers"])
    return f"{serving} of {status['count']} workers serve"


def _duration(seconds: float) -> str:
    for size, unit in ((86400, "d"), (3600, "h"), (60, "min")):
        if seconds >= 2 * size:
            return f"{seconds / size:.0f} {unit}"
    return f"{seconds:.0f} s"
