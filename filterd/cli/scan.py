"""`filterd scan`: messages through the engine in this process, or through a running daemon, and what came of each.

Promises:

* Several messages are scanned at the same time, and shown in the order in which they were named.
* A message that cannot be scanned is told on the standard error stream; the others are scanned all the same.
* No socket is opened for listening: the `[listen]` sections are not looked at.
"""

import os
import signal
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager
from typing import TYPE_CHECKING, Any

import click

from filterd.cli.exits import CLEAN, INTERRUPTED, UNSCANNED, of_action
from filterd.cli.options import configuration, configured
from filterd.cli.request import envelope, requested

if TYPE_CHECKING:
    from filterd.cli.judge import Judge, Judgement
    from filterd.cli.sources import Source
    from filterd.daemon.config import Config
    from filterd.mail.envelope import Envelope

__all__ = ["scan"]

JOBS = 16
"""Messages at a time: enough to keep the processor busy while rules wait for others."""

Show = Callable[[str, bytes, "Judgement"], None]


@click.command()
@click.argument("paths", nargs=-1, metavar="[FILE|DIR|MBOX|-]...")
@requested
@click.option("--symbols", metavar="A,B", help="Run only the rules that make these symbols.")
@click.option("--json", "as_json", is_flag=True, help="One /checkv2 object a line, in the order of the messages.")
@click.option("--mime", is_flag=True, help="The messages themselves, changed as an MTA would after the verdict.")
@click.option("--explain", is_flag=True, help="Also descriptions, weights, thresholds, and rules without a hit.")
@click.option("--trace", is_flag=True, help="Also the time each rule took, and the warnings of rules.")
@click.option("--connect", metavar="URL", help="Ask a running daemon: http://HOST:PORT or unix:/PATH.")
@click.option("--jobs", type=click.IntRange(min=1), default=JOBS, show_default=True, metavar="N", help="Messages at a time.")
@click.option("--exit-code", is_flag=True, help="10 add header or rewrite subject, 11 soft reject or greylist, 12 reject.")
@configured
def scan(
    *,
    paths: Sequence[str],
    symbols: str | None,
    as_json: bool,
    mime: bool,
    explain: bool,
    trace: bool,
    connect: str | None,
    jobs: int,
    exit_code: bool,
    conf: str | None,
    rules: Sequence[str],
    sets: Sequence[str],
    **request: Any,
) -> None:
    """Scan messages and show what was found.

    They are files, all files below folders, mailboxes, or the standard input (-, or nothing named).
    """
    if not paths and sys.stdin.isatty():
        raise click.UsageError("name a file, a folder or a mailbox, or - for the standard input")
    if as_json and mime:
        raise click.UsageError("--json and --mime are two forms of the same answer: choose one")
    asked = envelope(**request)
    only = symbols.replace(",", " ").split() if symbols else ()
    if connect is None:
        judge = _engine(configuration(conf, rules, sets), only, trace=trace)
    elif conf or rules or sets or only:
        raise click.UsageError("--connect asks a daemon, which has its own configuration: no -c, --rules, --set, --symbols")
    else:
        judge = _daemon(connect, profile=not as_json)
    with closing(judge), _interruptible():
        show = _as_json if as_json else _as_mime if mime else _for_people(judge, explain=explain, trace=trace)
        code = _scan_all(paths or ("-",), judge, asked, jobs=jobs, show=show)
    sys.exit(code if exit_code or code == UNSCANNED else CLEAN)


def _engine(config: "Config", only: Sequence[str], *, trace: bool) -> "Judge":
    from filterd.cli.judge import Local

    # What fails is shown with the message, and who scans one file does not care for the daemon's log unless asked.
    level = config.log.level if config.origin("log.level") != "default" else "error"
    return Local(config, only=only, level="warning" if trace and level == "error" else level)


def _daemon(url: str, *, profile: bool) -> "Judge":
    from filterd.cli.remote import Daemon

    try:
        return Daemon(url, profile=profile)
    except ValueError as error:
        raise click.UsageError(f"--connect: {url!r} {error}") from None


def _as_json(name: str, raw: bytes, judgement: "Judgement") -> None:
    click.echo(judgement.reply)


def _as_mime(name: str, raw: bytes, judgement: "Judgement") -> None:
    from filterd.mail.edits import delivered

    click.echo(delivered(raw, judgement.verdict), nl=False)


def _for_people(judge: "Judge", *, explain: bool, trace: bool) -> Show:
    from filterd.cli.table import Report, console

    report, screen = Report(judge.rules, explain=explain, trace=trace), console()
    return lambda name, raw, judgement: screen.print(report.show(name, judgement.verdict))


def _scan_all(paths: Sequence[str], judge: "Judge", asked: "Envelope", *, jobs: int, show: Show) -> int:
    """Scan and show everything; UNSCANNED if something could not be, else the code of the strongest action."""
    from gevent.pool import Pool

    from filterd.cli.judge import Unscanned
    from filterd.cli.progress import Bar
    from filterd.cli.sources import files, messages

    found = files(paths)
    bar = Bar(len(found))

    def sources() -> Iterator["Source"]:
        for file in found:
            for place, source in enumerate(messages(file, judge.limit)):
                bar.grow(place > 0)
                yield source

    def judged(source: "Source") -> tuple["Source", "Judgement | None", str]:
        if source.error:
            return source, None, source.error
        try:
            return source, judge.judge(source.raw, asked), ""
        except Unscanned as error:
            return source, None, str(error)

    codes = {CLEAN}
    with closing(bar):
        # In order, and no more than `jobs` verdicts wait for one that takes longer.
        for source, judgement, error in Pool(jobs).imap(judged, sources(), maxsize=jobs):
            with bar.hidden():
                if judgement is None:
                    click.echo(f"{source.name}: {error}", err=True)
                else:
                    show(source.name, source.raw, judgement)
            bar.step()
            codes.add(UNSCANNED if judgement is None else of_action(judgement.verdict.action))
    return UNSCANNED if UNSCANNED in codes else max(codes)


class _Interrupted(BaseException):
    """Ctrl-C."""


@contextmanager
def _interruptible() -> Iterator[None]:
    """Ctrl-C ends the command. Python alone would raise it in whatever runs just then: a rule would be said to have failed."""
    from gevent import getcurrent

    main = getcurrent()

    def interrupt(number: int, frame: object) -> None:
        main.throw(_Interrupted())

    before = signal.signal(signal.SIGINT, interrupt)
    try:
        yield
    except _Interrupted:
        # At once: an orderly exit would wake the rules left in mid-air, and one that loops would go on.
        sys.stdout.flush()
        os._exit(INTERRUPTED)
    finally:
        signal.signal(signal.SIGINT, before)
