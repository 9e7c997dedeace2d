"""`filterd worker`: one of the processes that the supervisor starts; not for people.

Promises: whatever prevents it from beginning is told to the supervisor in words, and where it hangs or breaks in C code, the
line it was at is left in the file it was given.
"""

import faulthandler
import gc
import os
import signal
import sys
from logging import getLogger
from types import TracebackType
from typing import Any

import click

__all__ = ["worker"]

FIRST_ORDER = 30.0
"""Seconds for the supervisor to say what is to be done."""


@click.command(hidden=True)
@click.option("--link", type=int, required=True, help="The descriptor of the line to the supervisor.")
@click.option("--last-words", type=int, required=True, help="The descriptor of the file for the line it was at.")
@click.option("--name", help="For whoever looks at the list of processes.")
def worker(link: int, last_words: int, name: str | None) -> None:
    """Internal: a process of `filterd run`."""
    os.set_inheritable(last_words, False)
    faulthandler.enable(last_words, all_threads=False)
    faulthandler.register(signal.SIGUSR2, last_words, all_threads=False)
    # What a terminal or a careless `pkill` sends to all is for the supervisor, who tells us what follows from it.
    for number in (signal.SIGINT, signal.SIGHUP, signal.SIGUSR1, signal.SIGQUIT):
        signal.signal(number, signal.SIG_IGN)

    sys.excepthook = _failed

    # What is imported stays: looking for garbage in it meanwhile took an eighth of the time.
    gc.disable()
    from filterd.daemon.link import Link
    from filterd.outcome import RequestFailed
    from filterd.proto.json_lines import ProtocolError

    line = Link(link)
    try:
        begin = line.begin(FIRST_ORDER)
    except (RequestFailed, ProtocolError) as error:
        click.echo(f"filterd worker is started by `filterd run` only: {error}", err=True)
        sys.exit(2)
    os.set_inheritable(begin["texts"], False)
    if begin["do"] == "scout":
        from filterd.daemon.scout import scout

        _imported()
        told = scout(begin)
        line.tell(**told)
        line.close()
        return
    _serve(line, {**begin, "last_words": last_words})


def _failed(kind: type[BaseException], error: BaseException, traceback: TracebackType | None) -> None:
    """A mistake of ours, which ends the process: told in the log as everything else."""
    getLogger("filterd.worker").critical("the worker has failed: %r", error, exc_info=(kind, error, traceback))


def _imported() -> None:
    gc.freeze()
    gc.enable()


def _serve(line: Any, begin: dict[str, Any]) -> None:
    from filterd.daemon.config import ConfigError, default_config_path, load_config
    from filterd.daemon.worker import TrialFailed, Worker
    from filterd.engine.loader import LoadError
    from filterd.engine.texts import Texts

    _imported()
    for door in begin["doors"]:
        # Nothing that a rule starts shall keep an address busy.
        os.set_inheritable(door["descriptor"], False)
    size = os.fstat(begin["texts"]).st_size
    texts = Texts.kept(os.pread(begin["texts"], size, 0))
    os.close(begin["texts"])
    try:
        config = load_config(begin["conf"] or default_config_path(), sets=begin["sets"], rules=begin["rules"], texts=texts)
        one = Worker(config, line, begin, texts)
        one.load()
    except (ConfigError, LoadError, TrialFailed) as error:
        problems = [str(problem) for problem in error.problems]
    except OSError as error:
        problems = [f"cannot start: {error}"]  # the log's file, say
    else:
        one.run()
        return
    line.tell("failed", problems=problems)
    line.close()
    sys.exit(2)
